//! Messages that arrive although connections break: numbered, acknowledged, sent again after
//! coming back, and heard once.
//!
//! Run: `cargo run --example resend --features client,json`. A client cuts its connection again
//! and again, and misses nothing.

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, routing::any, serve::ListenerExt};
use http::Request;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, select, sync::Notify, time::sleep};
use tower::service_fn;
use tower_websocket::{
    CloseCode, Message, Receiver, Sender, WebSocket, WebSocketLayer, client, json::JsonError,
    service::PathParams,
};

/// How many messages wait for the other side's acknowledgement.
pub(crate) const MAX_KEPT: usize = 1000;
/// The sides do not remember the same: the application has to begin anew, with a conversation
/// of another name.
pub(crate) const FORGOTTEN: CloseCode = CloseCode::new(4410).expect("4000 to 4999 are ours");

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Packet {
    /// The first on each connection, of both sides: which memory this is, which one the other side
    /// has, if that is known, and the last that was heard of it.
    /// `{"resume":{"me":5,"you":8,"heard":17}}`
    Resume {
        me: u64,
        you: Option<u64>,
        heard: u64,
    },
    Say(u64, String),
    /// Has heard all up to this one.
    Ack(u64),
    /// `"ping"`, the heartbeat of a page, is answered by `"pong"`.
    Ping,
    Pong,
}

/// One side of a conversation, which outlives its connections.
#[derive(Default)]
pub(crate) struct End {
    state: Mutex<State>,
    changed: Notify,
    /// One connection at a time.
    turn: tokio::sync::Mutex<()>,
}

struct State {
    /// A random number for this memory; 53 bits, which scripts have as well.
    me: u64,
    /// The other side's, once it is known.
    you: Option<u64>,
    said: u64,
    kept: VecDeque<(u64, String)>,
    heard: u64,
    connection: Option<Sender>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            me: RandomState::new().hash_one(()) >> 11,
            you: None,
            said: 0,
            kept: VecDeque::new(),
            heard: 0,
            connection: None,
        }
    }
}

impl State {
    /// Whether each side is the one that the other remembers. If so, forgets what the other side
    /// has.
    fn agree(&mut self, me: u64, you: Option<u64>, heard: u64) -> bool {
        let is_known = self.you.is_none_or(|it| it == me);
        let knows_us = you.map_or(heard == 0, |it| it == self.me);
        if !is_known || !knows_us || !self.acknowledge(heard) {
            return false;
        }
        self.you = Some(me);
        true
    }

    /// Forgets what the other side has; `false`, and forgets nothing, if that was never said.
    fn acknowledge(&mut self, number: u64) -> bool {
        if number > self.said {
            return false;
        }
        while self.kept.front().is_some_and(|(first, _)| *first <= number) {
            self.kept.pop_front();
        }
        true
    }
}

impl End {
    /// Says something, now or once there is a connection again; `false` if too much waits
    /// already.
    pub(crate) fn say(&self, text: impl Into<String>) -> bool {
        let mut state = self.lock();
        if state.kept.len() >= MAX_KEPT {
            return false;
        }
        state.said += 1;
        let number = state.said;
        state.kept.push_back((number, text.into()));
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Talks over a connection until that ends; one before it is aborted. `hear` gets each
    /// message once, in order. Returns `false` if the sides do not remember the same: to come
    /// back is of no use then.
    pub(crate) async fn run(
        &self,
        socket: WebSocket,
        hear: impl FnMut(String),
    ) -> Result<bool, JsonError> {
        let (sender, mut receiver) = socket.split();
        let before = self.lock().connection.replace(sender.clone());
        if let Some(before) = before {
            before.abort(); // half open, most likely
        }
        let _turn = self.turn.lock().await;
        let (resume, heard) = {
            let State { me, you, heard, .. } = *self.lock();
            (Packet::Resume { me, you, heard }, heard)
        };
        sender.send_json(&resume).await?;
        let mut theirs = 0;
        let agreed = match receiver.recv_json().await? {
            Some(Packet::Resume { me, you, heard }) => {
                theirs = heard;
                self.lock().agree(me, you, heard)
            }
            Some(_) => false,
            None => return Ok(is_remembered(&receiver)),
        };
        if agreed {
            let send = async {
                let _ended = self.send(&sender, heard, theirs).await;
                pending().await // that ends `receive` as well, which knows the reason
            };
            let ended = select! {
                ended = self.receive(&sender, &mut receiver, hear) => ended?,
                never = send => never,
            };
            if ended {
                return Ok(is_remembered(&receiver));
            }
        }
        sender.close((FORGOTTEN, "begin anew"));
        while receiver.recv().await?.is_some() {}
        Ok(false)
    }

    /// Returns whether the connection has ended; `false` if what comes does not fit.
    async fn receive(
        &self,
        sender: &Sender,
        receiver: &mut Receiver,
        mut hear: impl FnMut(String),
    ) -> Result<bool, JsonError> {
        let mut agreed = true;
        while agreed {
            let Some(packet) = receiver.recv_json::<Packet>().await? else {
                return Ok(true);
            };
            let heard = self.lock().heard;
            match packet {
                Packet::Say(number, _) if number <= heard => {} // once more
                Packet::Say(number, text) if number == heard + 1 => {
                    hear(text);
                    // In a database: in one transaction with what was heard.
                    self.lock().heard = number;
                }
                Packet::Ack(number) => agreed = self.lock().acknowledge(number),
                Packet::Ping => {
                    let _full = sender.try_send(Message::json(&Packet::Pong)?);
                }
                Packet::Pong => {}
                Packet::Say(..) | Packet::Resume { .. } => agreed = false,
            }
            self.changed.notify_one();
        }
        Ok(false)
    }

    /// Sends what was not yet sent over this connection, and acknowledges, for several messages
    /// at once.
    async fn send(&self, sender: &Sender, heard: u64, theirs: u64) -> Result<(), JsonError> {
        let (mut sent, mut acknowledged) = (theirs, heard);
        loop {
            let (heard, next) = {
                let state = self.lock();
                let next = state.kept.iter().find(|(number, _)| *number > sent);
                (state.heard, next.cloned())
            };
            if heard > acknowledged {
                sender.send_json(&Packet::Ack(heard)).await?;
                acknowledged = heard;
            }
            let Some((number, text)) = next else {
                self.changed.notified().await;
                continue;
            };
            sender.send_json(&Packet::Say(number, text)).await?;
            sent = number;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the other side has not closed because it does not remember.
fn is_remembered(receiver: &Receiver) -> bool {
    receiver
        .received_close()
        .is_none_or(|close| close.code() != FORGOTTEN)
}

/// Conversations by their name. A server that runs for long drops those that were left long
/// ago.
#[derive(Clone, Default)]
pub(crate) struct Ends(Arc<Mutex<HashMap<String, Arc<End>>>>);

impl Ends {
    pub(crate) fn of(&self, name: &str) -> Arc<End> {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.entry(name.to_owned()).or_default().clone()
    }
}

/// Answers whatever it hears. The name in the path is a secret, or belongs to a user that the
/// handshake has shown.
pub(crate) fn app(ends: &Ends) -> Router {
    let ends = ends.clone();
    let talk = move |request: Request<WebSocket>| {
        let (head, socket) = request.into_parts();
        let params = head.extensions.get::<PathParams>();
        let end = params
            .and_then(|params| params.get("name"))
            .map(|name| ends.of(name));
        async move {
            let Some(end) = end else { return Ok(()) };
            let ended = end.run(socket, |text| {
                let _full = end.say(format!("{text}, heard"));
            });
            ended.await.map(drop)
        }
    };
    let layer = WebSocketLayer::new(service_fn(talk));
    Router::new().route("/talk/{name}", any(async || "a page").layer(layer))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/talk/secret", listener.local_addr()?);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    tokio::spawn(axum::serve(listener, app(&Ends::default())).into_future());

    let end = End::default();
    end.say("message 1");
    let (mut heard, mut connections) = (0, 0);
    while heard < 10 {
        connections += 1;
        let socket = client::connect(url.as_str()).await?;
        let sender = socket.sender();
        let ended = end.run(socket, |text| {
            println!("connection {connections}: {text}");
            heard += 1;
            if heard % 3 == 0 || heard == 10 {
                sender.abort(); // what a tunnel does to a phone
            }
            end.say(format!("message {}", heard + 1));
        });
        match ended.await {
            Ok(true) => println!("connection {connections} has ended"),
            Ok(false) => return Err("the other side does not remember: begin anew".into()),
            Err(error) => println!("connection {connections}: {error}"),
        }
        sleep(Duration::from_millis(100)).await; // `client::reconnect` has pauses that grow
    }
    Ok(())
}
