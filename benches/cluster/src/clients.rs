//! Clients that join a room and count what comes, in a thread of their own.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    sync::{Notify, oneshot},
    task::{JoinSet, LocalSet},
    time::timeout,
};

use crate::Outcome;

/// What is spoken in the WebSocket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// The first message names the room.
    Plain,
    /// Socket.IO 4: the event `join` names the room.
    SocketIo,
}

/// Clients, until they are dropped.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

#[derive(Default)]
struct Shared {
    count: AtomicU64,
    target: AtomicU64,
    reached: Notify,
    ended: AtomicU64,
}

impl Clients {
    /// Connects one for each room.
    pub(crate) fn start(protocol: Protocol, port: u16, rooms: Vec<String>) -> Self {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let theirs = shared.clone();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            LocalSet::new().block_on(&runtime, async {
                let mut clients = JoinSet::new();
                for room in rooms {
                    match connect(protocol, port).await {
                        Ok(stream) => {
                            clients.spawn_local(client(protocol, stream, room, theirs.clone()));
                        }
                        Err(error) => eprintln!("client: {error}"),
                    }
                }
                // Dropped, and nothing else.
                let _dropped = stopped.await;
            });
        });
        Self {
            shared,
            _stop: stop,
        }
    }

    /// Returns how many messages came.
    pub(crate) fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Returns how many connections ended by themselves.
    pub(crate) fn ended(&self) -> u64 {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// Waits until so many messages came in all; reports whether they did within 20 seconds.
    pub(crate) async fn until(&self, target: u64) -> bool {
        self.shared.target.store(target, Ordering::SeqCst);
        let reached = async {
            while self.shared.count.load(Ordering::SeqCst) < target {
                self.shared.reached.notified().await;
            }
        };
        timeout(Duration::from_secs(20), reached).await.is_ok()
    }
}

/// Connects, with the opening handshake.
async fn connect(protocol: Protocol, port: u16) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    let path = match protocol {
        Protocol::Plain => "/",
        Protocol::SocketIo => "/socket.io/?EIO=4&transport=websocket",
    };
    stream.write_all(opening(port, path).as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 101") {
        return Ok(stream);
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&head).into_owned(),
    ))
}

pub(crate) fn opening(port: u16, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

async fn client(protocol: Protocol, stream: TcpStream, room: String, shared: Arc<Shared>) {
    // It ended, whatever the reason.
    let _ended = serve(protocol, stream, &room, &shared).await;
    shared.ended.fetch_add(1, Ordering::Relaxed);
}

async fn serve(protocol: Protocol, mut stream: TcpStream, room: &str, shared: &Shared) -> Outcome {
    if protocol == Protocol::Plain {
        stream.write_all(&text(room)).await?;
    }
    let mut bytes = Vec::with_capacity(4096);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        let (mut at, mut messages) = (0, 0);
        while let Some((opcode, payload, len)) = frame(&bytes[at..]) {
            let answer = match (protocol, opcode, payload) {
                (Protocol::Plain, 1 | 2, _) => {
                    messages += 1;
                    None
                }
                (Protocol::SocketIo, 1, [b'4', b'2', ..]) => {
                    messages += 1;
                    None
                }
                (Protocol::SocketIo, 1, [b'0', ..]) => Some("40".to_owned()),
                (Protocol::SocketIo, 1, [b'4', b'0', ..]) => {
                    Some(format!("42[\"join\",\"{room}\"]"))
                }
                (Protocol::SocketIo, 1, [b'2']) => Some("3".to_owned()),
                (_, 8, _) => return Ok(()),
                _ => None,
            };
            at += len;
            if let Some(answer) = answer {
                stream.write_all(&text(&answer)).await?;
            }
        }
        bytes.drain(..at);
        if messages > 0 {
            let count = shared.count.fetch_add(messages, Ordering::SeqCst) + messages;
            if count >= shared.target.load(Ordering::SeqCst) {
                shared.reached.notify_one();
            }
        }
    }
}

/// Reads a frame of a server: its opcode, its payload, and how long it is in all.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (len, head) = match second {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => return None,
        len => (usize::from(len), 2),
    };
    let payload = bytes.get(head..head + len)?;
    Some((first & 15, payload, head + len))
}

/// Makes a frame of a client, with a mask of zeros.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap_or(0).min(125);
    let mut frame = vec![0x81, 0x80 | len, 0, 0, 0, 0];
    frame.extend(&payload.as_bytes()[..usize::from(len)]);
    frame
}
