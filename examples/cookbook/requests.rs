//! Requests and answers over one socket, in both directions: many at once, answered in any
//! order, each with a deadline.
//!
//! Run: `cargo run --example requests --features client,json`. A client and a server ask each
//! other, and it ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, routing::any, serve::ListenerExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_websocket::{
    CloseCode, Message, Sender, WebSocket, WebSocketLayer, client, handler, json::JsonError,
};

/// How long a call waits for its answer, the wait for its turn included; and how long an answer
/// may take here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How many calls of this side are in flight, and how many of the peer's are worked on.
pub(crate) const AT_ONCE: usize = 32;

/// `{"id":7,"ask":"add","with":[1,2]}`, then `{"id":7,"answer":3}` or
/// `{"id":7,"error":"not numbers"}`; and `"ping"`, the heartbeat of a page, then `"pong"`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Packet {
    Ask { id: u64, ask: String, with: Value },
    Answer { id: u64, answer: Value },
    Failed { id: u64, error: String },
    Beat(Beat),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Beat {
    Ping,
    Pong,
}

#[derive(Debug, PartialEq)]
pub(crate) enum CallError {
    /// The peer has answered with an error.
    Failed(String),
    TimedOut,
    /// The connection has ended: the peer may have done what was asked, or not.
    Ended,
}

type Answer = Result<Value, CallError>;

/// Asks the peer; cheap to clone.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Shared>);

struct Shared {
    sender: Sender,
    /// One permit for each call that may be in flight; closed at the end.
    turns: Semaphore,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
}

impl Calls {
    /// Asks the peer, and waits for its answer. Dropping the future forgets the call: a late
    /// answer is discarded.
    pub(crate) async fn call(&self, ask: &str, with: Value) -> Answer {
        let answer = timeout(PATIENCE, self.ask(ask.to_owned(), with)).await;
        answer.unwrap_or(Err(CallError::TimedOut))
    }

    async fn ask(&self, ask: String, with: Value) -> Answer {
        let Ok(_turn) = self.0.turns.acquire().await else {
            return Err(CallError::Ended);
        };
        let mut waiting = self.0.wait();
        let id = waiting.id;
        // A `Value` always has a JSON.
        let sent = self
            .0
            .sender
            .send_json(&Packet::Ask { id, ask, with })
            .await;
        sent.map_err(|_| CallError::Ended)?;
        (&mut waiting.answer).await.unwrap_or(Err(CallError::Ended))
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) -> Waiting<'_> {
        let (sender, answer) = oneshot::channel();
        let mut pending = self.pending();
        pending.last += 1;
        let id = pending.last;
        // After the end the sender is dropped here, and the answer is that.
        if !self.turns.is_closed() {
            pending.waiting.insert(id, sender);
        }
        Waiting {
            shared: self,
            id,
            answer,
        }
    }

    fn settle(&self, id: u64, answer: Answer) {
        if let Some(waiting) = self.pending().waiting.remove(&id) {
            let _gave_up = waiting.send(answer);
        }
    }
}

/// A call in flight: forgotten when it is dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.pending().waiting.remove(&self.id);
    }
}

/// Fails what is pending, however the conversation ends.
struct End(Calls);

impl Drop for End {
    fn drop(&mut self) {
        let shared = &self.0.0;
        shared.turns.close();
        shared.pending().waiting.clear();
    }
}

/// Makes of a socket what asks the peer, and the future that receives, which has to run.
/// `answer` is for what the peer asks; what is being answered when the connection ends is
/// dropped.
pub(crate) fn calls<F, Fut>(
    mut socket: WebSocket,
    answer: F,
) -> (Calls, impl Future<Output = Result<(), JsonError>>)
where
    F: Fn(String, Value) -> Fut,
    Fut: Future<Output = Result<Value, String>> + Send + 'static,
{
    let calls = Calls(Arc::new(Shared {
        sender: socket.sender(),
        turns: Semaphore::new(AT_ONCE),
        pending: Mutex::default(),
    }));
    let end = End(calls.clone());
    let run = async move {
        let shared = &end.0.0;
        let mut answering = JoinSet::new();
        while let Some(packet) = socket.recv_json::<Packet>().await? {
            while answering.try_join_next().is_some() {}
            match packet {
                Packet::Ask { id, ask, with } if answering.len() < AT_ONCE => {
                    answering.spawn(reply(socket.sender(), id, answer(ask, with)));
                }
                Packet::Ask { id, .. } => refuse(&socket, id)?,
                Packet::Answer { id, answer } => shared.settle(id, Ok(answer)),
                Packet::Failed { id, error } => shared.settle(id, Err(CallError::Failed(error))),
                Packet::Beat(Beat::Ping) => {
                    // It asks again if there is no room.
                    let _full = socket.try_send(Message::json(&Packet::Beat(Beat::Pong))?);
                }
                Packet::Beat(Beat::Pong) => {}
            }
        }
        Ok(())
    };
    (calls, run)
}

async fn reply(sender: Sender, id: u64, answer: impl Future<Output = Result<Value, String>>) {
    let packet = match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Packet::Answer { id, answer },
        Ok(Err(error)) => Packet::Failed { id, error },
        Err(_) => {
            let error = "took too long".to_owned();
            Packet::Failed { id, error }
        }
    };
    let _ended = sender.send_json(&packet).await;
}

/// Refuses without waiting: the answers to our own calls are behind this one.
fn refuse(socket: &WebSocket, id: u64) -> Result<(), JsonError> {
    let error = "busy".to_owned();
    let busy = Message::json(&Packet::Failed { id, error })?;
    if socket.try_send(busy).is_err() {
        socket.close((CloseCode::POLICY_VIOLATION, "asks and does not read"));
    }
    Ok(())
}

async fn serve(socket: WebSocket) -> Result<(), JsonError> {
    let (calls, run) = calls(socket, answer);
    let greet = async {
        match calls.call("name", Value::Null).await {
            Ok(name) => println!("server: the client is {name}"),
            Err(error) => println!("server: the client has no name: {error:?}"),
        }
    };
    tokio::join!(run, greet).0
}

/// What the server can be asked.
async fn answer(ask: String, with: Value) -> Result<Value, String> {
    match ask.as_str() {
        "add" => {
            let numbers: Vec<i64> = serde_json::from_value(with).map_err(|it| it.to_string())?;
            let sum = numbers
                .iter()
                .try_fold(0i64, |sum, it| sum.checked_add(*it));
            Ok(json!(sum.ok_or("too large")?))
        }
        "wait" => {
            let milliseconds = with.as_u64().ok_or("not a number")?;
            sleep(Duration::from_millis(milliseconds)).await;
            Ok(json!(milliseconds))
        }
        _ => Err(format!("nothing here is called {ask}")),
    }
}

pub(crate) fn app() -> Router {
    let layer = WebSocketLayer::new(handler(serve));
    Router::new().route("/", any(async || "a page").layer(layer))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/", listener.local_addr()?);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    tokio::spawn(axum::serve(listener, app()).into_future());

    let socket = client::connect(url).await?;
    let sender = socket.sender();
    let (calls, run) = calls(socket, async |ask: String, _| match ask.as_str() {
        "name" => Ok(json!("ada")),
        _ => Err(format!("nothing here is called {ask}")),
    });
    let ask = async {
        let (slow, sum, unknown) = tokio::join!(
            calls.call("wait", json!(200)), // answered last
            calls.call("add", json!([1, 2, 3])),
            calls.call("fly", Value::Null),
        );
        println!("client: {slow:?}, {sum:?}, {unknown:?}");
        sender.close(CloseCode::NORMAL);
    };
    tokio::join!(run, ask).0?;
    sender.closed().await;
    Ok(())
}
