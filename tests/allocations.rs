//! How often a connection allocates.
//!
//! A binary of its own: its allocator counts, for each thread by itself. The sessions of a test run in
//! the thread of that test, its peers are blocking sockets in another.

#[expect(
    dead_code,
    reason = "these tests need frames, and no transport in memory"
)]
#[path = "it/session_support.rs"]
mod session_support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use allocation_counter::{AllocationInfo, measure};
use axum::{Router, routing::any};
use bytes::Bytes;
use session_support::{binary, text};
use tokio::{net::TcpListener, runtime::Builder, sync::Notify};
use tower_websocket::{Error, Groups, WebSocket, WebSocketLayer, handler};

/// How many bursts come before those that are counted.
const WARM_UP: usize = 50;

/// How many bursts are counted.
const COUNTED: usize = 200;

/// What is not done for a message: a queue grows now and then.
const SLACK: usize = 5;

#[test]
fn a_message_takes_one_allocation_to_receive_and_none_to_send() {
    for len in [0, 20, 125, 1 << 10, 16 << 10, 60 << 10] {
        for frame in [binary(vec![b'x'; len]), text(&"x".repeat(len))] {
            let counted = echoes(&frame, 1);
            // An empty payload takes no memory.
            let least = if len == 0 { 0 } else { COUNTED };
            assert_count(&counted, least, len);
            assert!(counted.count_current.abs() < 5, "{len} B are kept");
        }
    }
}

#[test]
fn messages_of_a_burst_take_one_allocation_each() {
    for len in [20, 125, 1 << 10] {
        let counted = echoes(&binary(vec![b'x'; len]), 20);
        assert_count(&counted, 20 * COUNTED, len);
    }
}

#[test]
fn few_messages_of_a_burst_are_there_at_a_time() {
    let counted = echoes(&binary([0; 1 << 10]), 60);
    let most = counted.bytes_max;
    assert!(most < 16 << 10, "{most} of 61,440 bytes at once");
}

#[test]
fn sending_takes_no_allocation_whether_payloads_are_copied_or_shared() {
    for len in [20, 1000, 20_000] {
        let payload = Bytes::from(vec![0; len]);
        let counted = counted(
            &binary("go"),
            1,
            1,
            3 * (len + header(len)),
            move |mut socket, progress| {
                let payload = payload.clone();
                async move {
                    while socket.recv().await?.is_some() {
                        progress.one_more().await;
                        for _ in 0..3 {
                            socket.send(payload.clone()).await?;
                        }
                        progress.done();
                    }
                    Ok(())
                }
            },
        );
        assert_count(&counted, COUNTED, len);
    }
}

#[test]
fn a_broadcast_allocates_as_often_for_a_hundred_members_as_for_ten() {
    let [ten, hundred] = [10, 100].map(|members| {
        let groups = Groups::new();
        let reply = 1000 + header(1000);
        counted(
            &binary([0; 1000]),
            1,
            members,
            reply,
            move |mut socket, progress| {
                let groups = groups.clone();
                async move {
                    let _member = groups.join("all", &socket.sender());
                    while let Some(message) = socket.recv().await? {
                        progress.one_more().await;
                        groups.broadcast("all", message).await;
                        progress.done();
                    }
                    Ok(())
                }
            },
        )
    });
    let (ten, hundred) = (ten.count_total, hundred.count_total);
    assert!(hundred <= ten + SLACK as u64, "{ten} and {hundred}");
    assert!(ten <= 10 * COUNTED as u64, "{ten} for {COUNTED} broadcasts");
}

/// What echoes take, of bursts of so many frames.
fn echoes(frame: &[u8], messages: usize) -> AllocationInfo {
    let reply = messages * (frame.len() - 4);
    counted(
        &frame.repeat(messages),
        messages,
        1,
        reply,
        |mut socket, progress| async move {
            while let Some(message) = socket.recv().await? {
                progress.one_more().await;
                socket.send(message).await?;
                progress.done();
            }
            Ok(())
        },
    )
}

fn assert_count(counted: &AllocationInfo, least: usize, len: usize) {
    let count = counted.count_total;
    let range = least as u64..=(least + SLACK) as u64;
    assert!(range.contains(&count), "{len} B: {count}, not {range:?}");
}

/// The length of a server's header.
fn header(len: usize) -> usize {
    if len < 126 { 2 } else { 4 }
}

/// How far the handlers are.
#[derive(Default)]
struct Progress {
    messages: AtomicUsize,
    /// So many messages are a burst.
    burst: usize,
    reached: Notify,
    go: Notify,
}

impl Progress {
    /// A message has come. The last one of the warm-up waits until counting has begun.
    async fn one_more(&self) {
        let before = self.messages.fetch_add(1, Ordering::Relaxed);
        if before + 1 == WARM_UP * self.burst {
            self.reached.notify_one();
            self.go.notified().await;
        }
    }

    /// What is to be done for it was done.
    fn done(&self) {
        let messages = self.messages.load(Ordering::Relaxed);
        if messages == (WARM_UP + COUNTED) * self.burst {
            self.reached.notify_one();
        }
    }
}

/// Counts what the server's thread allocates while the first of `peers` sends `burst` over and over,
/// of so many messages, and each of them receives `reply` bytes.
fn counted<F, Fut>(
    burst: &[u8],
    messages: usize,
    peers: usize,
    reply: usize,
    route: F,
) -> AllocationInfo
where
    F: Fn(WebSocket, Arc<Progress>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Error>> + Send + 'static,
{
    let progress = Arc::new(Progress {
        burst: messages,
        ..Progress::default()
    });
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let websocket = {
        let progress = progress.clone();
        WebSocketLayer::new(handler(move |socket| route(socket, progress.clone())))
    };
    let app = Router::new().route("/", any(async || "a page").layer(websocket));
    runtime.spawn(async { axum::serve(listener, app).await });
    let burst = burst.to_vec();
    let peers = thread::spawn(move || drive(address, &burst, peers, reply));
    runtime.block_on(progress.reached.notified());
    let counted = measure(|| {
        progress.go.notify_one();
        runtime.block_on(progress.reached.notified());
    });
    // The peers see the end of their connections.
    drop(runtime);
    peers.join().expect("the peers got what they wait for");
    counted
}

/// Sends bursts and takes the replies until the server ends.
fn drive(address: SocketAddr, burst: &[u8], peers: usize, reply: usize) {
    let mut peers: Vec<_> = (0..peers).map(|_| opened(address)).collect();
    let mut received = vec![0; reply];
    for _ in 0..WARM_UP + COUNTED {
        peers[0].write_all(burst).expect("it reads");
        for peer in &mut peers {
            if peer.read_exact(&mut received).is_err() {
                // The server does not wait until the last reply has left.
                return;
            }
        }
    }
}

/// A connection after its opening handshake.
fn opened(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}
