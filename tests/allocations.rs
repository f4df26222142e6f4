//! How often a connection allocates.
//!
//! A binary of its own: its allocator counts, for each thread by itself. The sessions of a test run in
//! the thread of that test, its peers in another: blocking sockets, or streams of HTTP/2.
//!
//! Over HTTP/2 hyper and h2 allocate in the same thread, and are counted with the session.

#[expect(
    dead_code,
    reason = "these tests need frames, and no transport in memory"
)]
#[path = "it/session/support.rs"]
mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use allocation_counter::{AllocationInfo, measure};
use axum::{Router, routing::any, serve::ListenerExt};
use bytes::Bytes;
use support::{binary, close, text};
use tokio::{net::TcpListener, runtime::Builder, sync::Notify, task::yield_now, time::timeout};
use tower_websocket::{Error, Groups, Message, WebSocket, WebSocketLayer, handler};

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
            let counted = echoes(Http::One, &frame, 1);
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
        let counted = echoes(Http::One, &binary(vec![b'x'; len]), 20);
        assert_count(&counted, 20 * COUNTED, len);
    }
}

#[test]
fn few_messages_of_a_burst_are_there_at_a_time() {
    let counted = echoes(Http::One, &binary([0; 1 << 10]), 60);
    let most = counted.bytes_max;
    assert!(most < 16 << 10, "{most} of 61,440 bytes at once");
}

/// serde_json writes the string out, as `Debug` does, and is asked twice. Of that nothing is kept, nor copied.
#[test]
fn what_is_wrong_with_json_takes_no_more_than_serde_json_does() {
    const LEN: u64 = 1 << 20;
    let json = "\u{7f}".repeat(LEN as usize);
    let message = Message::text(format!("\"{json}\""));
    let mut alone = measure(|| {
        let read = serde_json::from_slice::<u32>(message.as_bytes());
        assert!(read.is_err());
    });
    let counted = measure(|| {
        let error = message.to_json::<u32>().expect_err("a string is no number");
        assert_eq!(
            error.to_string(),
            "invalid type: string \"…\", expected u32 (line 1, column 1048578)"
        );
    });
    alone.bytes_max += 4 << 10;
    assert!(
        counted.bytes_max <= alone.bytes_max,
        "{} of {} bytes at once",
        counted.bytes_max,
        alone.bytes_max
    );
}

#[test]
fn sending_takes_no_allocation_whether_payloads_are_copied_or_shared() {
    for len in [20, 1000, 20_000] {
        assert_count(&sends(Http::One, len), COUNTED, len);
    }
}

#[test]
fn a_broadcast_allocates_as_often_for_a_hundred_members_as_for_ten() {
    let [ten, hundred] = [10, 100].map(|members| broadcasts(Http::One, members).count_total);
    assert!(hundred <= ten + SLACK as u64, "{ten} and {hundred}");
    assert!(ten <= 10 * COUNTED as u64, "{ten} for {COUNTED} broadcasts");
}

#[test]
fn an_exchange_over_http2_takes_hypers_allocations_and_one_for_the_message() {
    // hyper and h2 take two for each write, and now and then a buffer of 8 KiB to read into. A
    // large message comes in pieces and leaves in writes of 16 KiB.
    for (len, most) in [
        (0, 2.1),
        (20, 3.1),
        (125, 3.1),
        (1 << 10, 3.4),
        (16 << 10, 13.0),
        (60 << 10, 30.0),
    ] {
        let counted = echoes(Http::Two, &binary(vec![b'x'; len]), 1);
        assert_at_most(&counted, COUNTED, most, len);
        assert!(counted.count_current.abs() < 5, "{len} B are kept");
    }
}

#[test]
fn messages_of_a_burst_over_http2_take_one_allocation_each() {
    // Beside the two for each write, and what is read into.
    for (len, most) in [(0, 0.15), (20, 1.15), (125, 1.2), (1 << 10, 1.6)] {
        let counted = echoes(Http::Two, &binary(vec![b'x'; len]), 20);
        assert_at_most(&counted, 20 * COUNTED, most, len);
    }
}

#[test]
fn sending_over_http2_takes_hypers_allocations_alone() {
    // One for the message received; three short ones leave in one write, 60,000 bytes in four.
    for (len, most) in [(20, 3.1), (1000, 3.1), (20_000, 11.5)] {
        assert_at_most(&sends(Http::Two, len), COUNTED, most, len);
    }
}

#[test]
fn a_broadcast_over_http2_takes_hypers_allocations_for_each_member() {
    let [ten, hundred] = [10, 100].map(|members| {
        let counted = broadcasts(Http::Two, members);
        counted.count_total as f64 / COUNTED as f64
    });
    let each = (hundred - ten) / 90.0;
    assert!(each <= 2.1, "{each} for each member");
    assert!(ten <= 31.0, "{ten} for ten members");
}

#[test]
fn a_connection_takes_47_allocations_to_open_and_close() {
    // With those of axum, hyper and tokio, which are two thirds of them.
    let each = connections();
    assert!(each <= 47.5, "{each}");
}

/// What a connection takes over HTTP/1.1, from being accepted to being closed.
fn connections() -> f64 {
    let ended = Arc::new((AtomicUsize::new(0), Notify::new()));
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let count = ended.clone();
    let websocket = WebSocketLayer::new(handler(async |mut socket: WebSocket| {
        while socket.recv().await?.is_some() {}
        Ok::<_, Error>(())
    }));
    let websocket = websocket.on_end(move |_| {
        let before = count.0.fetch_add(1, Ordering::Relaxed);
        if [WARM_UP, WARM_UP + COUNTED].contains(&(before + 1)) {
            count.1.notify_one();
        }
    });
    let app = Router::new().route("/", any(async || "a page").layer(websocket));
    runtime.spawn(async { axum::serve(listener, app).await });
    let peer = thread::spawn(move || {
        for _ in 0..WARM_UP + COUNTED {
            let mut stream = opened(address);
            stream.write_all(&close(1000, "")).expect("it reads");
            // The server ends it, or itself.
            let _ended = stream.read_to_end(&mut Vec::new());
        }
    });
    let reached = || runtime.block_on(async { timeout(GUARD, ended.1.notified()).await });
    reached().expect("connections warm it up");
    let counted = measure(|| reached().expect("connections are counted"));
    peer.join().expect("the peer got what it waits for");
    counted.count_total as f64 / COUNTED as f64
}

/// What echoes take, of bursts of so many frames.
fn echoes(http: Http, frame: &[u8], messages: usize) -> AllocationInfo {
    let reply = messages * (frame.len() - 4);
    counted(
        http,
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

/// What it takes to receive a short message and to send three of this length.
fn sends(http: Http, len: usize) -> AllocationInfo {
    let payload = Bytes::from(vec![0; len]);
    let reply = 3 * (len + header(len));
    counted(
        http,
        &binary("go"),
        1,
        1,
        reply,
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
    )
}

/// What it takes to receive 1,000 bytes and to broadcast them.
fn broadcasts(http: Http, members: usize) -> AllocationInfo {
    let groups = Groups::new();
    let reply = 1000 + header(1000);
    counted(
        http,
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
}

/// No more than so many for each message.
fn assert_at_most(counted: &AllocationInfo, messages: usize, most: f64, len: usize) {
    let each = counted.count_total as f64 / messages as f64;
    assert!(each <= most, "{len} B: {each}, not {most}");
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

/// How the peers are connected.
#[derive(Clone, Copy, Debug)]
enum Http {
    /// Each by HTTP/1.1.
    One,
    /// Each by a stream of one HTTP/2 connection.
    Two,
}

/// Counts what the server's thread allocates while the first of `peers` sends `burst` over and over,
/// of so many messages, and each of them receives `reply` bytes.
fn counted<F, Fut>(
    http: Http,
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
    // Or an exchange over HTTP/2 takes 40 ms: windows and data are written by turns.
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("it is TCP"));
    let websocket = {
        let progress = progress.clone();
        WebSocketLayer::new(handler(move |socket| route(socket, progress.clone())))
    };
    let app = Router::new().route("/", any(async || "a page").layer(websocket));
    runtime.spawn(async { axum::serve(listener, app).await });
    let burst = burst.to_vec();
    let peers = thread::spawn(move || match http {
        Http::One => drive(address, &burst, peers, reply),
        Http::Two => drive_http2(address, burst.into(), peers, reply),
    });
    let reached = || runtime.block_on(async { timeout(GUARD, progress.reached.notified()).await });
    reached().expect("the handlers warm up");
    let counted = measure(|| {
        progress.go.notify_one();
        reached().expect("the handlers get their messages");
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
    stream.set_read_timeout(Some(GUARD)).expect("it is TCP");
    stream.set_write_timeout(Some(GUARD)).expect("it is TCP");
    stream.set_nodelay(true).expect("it is TCP");
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

/// As [`drive`], over HTTP/2.
fn drive_http2(address: SocketAddr, burst: Bytes, peers: usize, reply: usize) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let exchanging = async {
        let mut peers = opened_http2(address, peers).await;
        for _ in 0..WARM_UP + COUNTED {
            peers[0].0.send_data(burst.clone(), false)?;
            for (_, recv) in &mut peers {
                let mut left = reply;
                while left > 0 {
                    let data = recv.data().await.ok_or(h2::Reason::CANCEL)??;
                    // Without its window the server stops after 64 KiB.
                    recv.flow_control().release_capacity(data.len())?;
                    left -= data.len();
                }
            }
        }
        Ok::<(), h2::Error>(())
    };
    let exchanged = runtime
        .expect("a runtime")
        .block_on(async { timeout(GUARD, exchanging).await });
    // The server does not wait until the last reply has left.
    let _ended = exchanged.expect("the server answers");
}

type Stream = (h2::SendStream<Bytes>, h2::RecvStream);

/// Streams of one connection after their opening handshakes.
async fn opened_http2(address: SocketAddr, peers: usize) -> Vec<Stream> {
    let stream = tokio::net::TcpStream::connect(address).await;
    let stream = stream.expect("it listens");
    stream.set_nodelay(true).expect("it is TCP");
    let (mut streams, connection) = h2::client::handshake(stream).await.expect("it is HTTP/2");
    tokio::spawn(connection);
    // RFC 8441 §3: not before the server's SETTINGS.
    while !streams.is_extended_connect_protocol_enabled() {
        streams = streams.ready().await.expect("it is open");
        yield_now().await;
    }
    let mut opened = Vec::new();
    for _ in 0..peers {
        let mut request = http::Request::connect("http://localhost/")
            .header("sec-websocket-version", "13")
            .body(())
            .expect("a request");
        let protocol = h2::ext::Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
        streams = streams.ready().await.expect("it is open");
        let (response, send) = streams.send_request(request, false).expect("it is open");
        let response = response.await.expect("it answers");
        assert_eq!(response.status(), 200);
        opened.push((send, response.into_body()));
    }
    opened
}

/// Longer than anything here takes.
const GUARD: Duration = Duration::from_secs(60);
