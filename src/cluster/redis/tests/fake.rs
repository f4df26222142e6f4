//! A server that says what it is told to.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex as FairMutex, watch},
    task::JoinSet,
};

/// What a client sent: its command and arguments.
pub(super) type Order = Vec<Vec<u8>>;

/// Returns the answer to an order; `None` for the usual one.
type Answers = dyn Fn(&Order) -> Option<Vec<u8>> + Send + Sync;

/// A server on a port of 127.0.0.1, gone when dropped.
pub(super) struct Fake {
    pub(super) port: u16,
    shared: Arc<Shared>,
    /// How many connections are open.
    open: watch::Receiver<usize>,
    _serving: JoinSet<()>,
}

struct Shared {
    orders: Mutex<Vec<Order>>,
    /// Where to write to connections that subscribe, or read.
    subscribers: Mutex<Vec<Arc<FairMutex<OwnedWriteHalf>>>>,
    answers: Box<Answers>,
}

impl Fake {
    pub(super) async fn start(
        answers: impl Fn(&Order) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, answers)
    }

    pub(super) fn on(
        listener: TcpListener,
        answers: impl Fn(&Order) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            orders: Mutex::default(),
            subscribers: Mutex::default(),
            answers: Box::new(answers),
        });
        let (opened, open) = watch::channel(0);
        let all = shared.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (all, opened) = (all.clone(), opened.clone());
                connections.spawn(async move {
                    opened.send_modify(|open| *open += 1);
                    let _broken = all.serve(stream).await;
                    opened.send_modify(|open| *open -= 1);
                });
            }
        });
        Self {
            port,
            shared,
            open,
            _serving: serving,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the orders that begin so.
    pub(super) fn orders(&self, verb: &str) -> Vec<Order> {
        let orders = self.shared.orders.lock().unwrap();
        let orders = orders.iter().filter(|order| order[0] == verb.as_bytes());
        orders.cloned().collect()
    }

    /// Says something to every connection that has subscribed.
    pub(super) async fn say(&self, what: &[u8]) {
        let subscribers = self.shared.subscribers.lock().unwrap().clone();
        for subscriber in subscribers {
            // It may be closed.
            let _sent = subscriber.lock().await.write_all(what).await;
        }
    }

    /// Closes every connection that has subscribed, or reads.
    pub(super) async fn hang_up(&self) {
        let subscribers = self.shared.subscribers.lock().unwrap().clone();
        for subscriber in subscribers {
            subscriber.lock().await.shutdown().await.unwrap();
        }
    }

    pub(super) async fn wait_until_open(&self, connections: usize) {
        let mut open = self.open.clone();
        open.wait_for(|open| *open == connections).await.unwrap();
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let (reader, writer) = stream.into_split();
        let (mut reader, writer) = (BufReader::new(reader), Arc::new(FairMutex::new(writer)));
        loop {
            let order = read(&mut reader).await?;
            if order[0].ends_with(b"SUBSCRIBE") || order[0] == b"XREAD" {
                let mut subscribers = self.subscribers.lock().unwrap();
                if !subscribers.iter().any(|other| Arc::ptr_eq(other, &writer)) {
                    subscribers.push(writer.clone());
                }
            }
            let answer = (self.answers)(&order).unwrap_or_else(|| usual(&order));
            self.orders.lock().unwrap().push(order);
            writer.lock().await.write_all(&answer).await?;
            if answer == HANG_UP {
                return writer.lock().await.shutdown().await;
            }
        }
    }
}

async fn read(stream: &mut BufReader<OwnedReadHalf>) -> io::Result<Order> {
    let mut order = Vec::new();
    for _ in 0..number(stream).await? {
        let mut argument = vec![0; number(stream).await? + 2];
        stream.read_exact(&mut argument).await?;
        argument.truncate(argument.len() - 2);
        order.push(argument);
    }
    Ok(order)
}

/// Reads a line such as `*3` or `$7`.
async fn number(stream: &mut BufReader<OwnedReadHalf>) -> io::Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let number = line.get(1..).and_then(|number| number.trim().parse().ok());
    number.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn usual(order: &Order) -> Vec<u8> {
    let each = |kind| {
        order[1..]
            .iter()
            .flat_map(move |topic| push(kind, topic, b"1"))
    };
    match &order[0][..] {
        b"HELLO" => hello("master"),
        b"PUBLISH" | b"SPUBLISH" => b":1\r\n".to_vec(),
        b"SUBSCRIBE" => each("subscribe").collect(),
        b"UNSUBSCRIBE" => each("unsubscribe").collect(),
        b"SSUBSCRIBE" => each("ssubscribe").collect(),
        b"SUNSUBSCRIBE" => each("sunsubscribe").collect(),
        _ => b"+OK\r\n".to_vec(),
    }
}

/// Returns an answer to `HELLO`.
pub(super) fn hello(role: &str) -> Vec<u8> {
    format!(
        "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$4\r\nrole\r\n${}\r\n{role}\r\n",
        role.len()
    )
    .into()
}

/// Returns what a server pushes, with two things in it.
pub(super) fn push(kind: &str, first: &[u8], second: &[u8]) -> Vec<u8> {
    let mut push = b">3\r\n".to_vec();
    for part in [kind.as_bytes(), first, second] {
        push.extend(format!("${}\r\n", part.len()).bytes());
        push.extend(part);
        push.extend(b"\r\n");
    }
    push
}

/// The answer after which it closes the connection.
pub(super) const HANG_UP: &[u8] = b"-BYE\r\n";

/// No answer at all.
pub(super) const SILENCE: &[u8] = b"";
