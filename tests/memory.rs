//! What a hostile peer can make a connection allocate.
//!
//! A binary of its own: its allocator counts, and nothing else may run meanwhile.

#[expect(dead_code, reason = "these tests need less of it than the others")]
#[path = "it/session_support.rs"]
mod session_support;

use std::{
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use axum::{Router, routing::any};
use http::Request;
use peak_alloc::PeakAlloc;
use session_support::{
    Frame, Peer, Plan, Reports, SHAPES, Shape, Wire, binary, client_frame, client_header, close,
    echo, hold_over, idle, ping, serve, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpListener,
    runtime::Builder,
    sync::oneshot,
    time::sleep,
};
use tower::service_fn;
use tower_websocket::{Config, Error, PathParams, WebSocket, WebSocketLayer, handler};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs one measurement, on a runtime of its own.
fn alone(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(test);
}

/// The only test, so that the harness itself has nothing to allocate meanwhile.
#[test]
fn the_heap_stays_where_it_is_promised_to_stay() {
    a_thousand_connections_that_declare_a_huge_frame_cost_next_to_nothing();
    a_message_in_one_byte_fragments_peaks_below_twice_the_limit();
    endless_empty_fragments_cost_nothing_and_are_1009();
    a_large_frame_peaks_below_twice_its_size_however_it_arrives();
    a_million_pings_of_a_peer_that_reads_nothing_leave_the_heap_flat();
    messages_that_nobody_receives_are_bounded();
    a_connection_that_ends_frees_everything_though_a_sender_is_kept();
    idle_connections_own_no_buffers_after_traffic();
    an_idle_connection_of_an_axum_app_takes_at_most_a_thousand_bytes();
}

/// Measures how far the heap rises above where it is.
struct Rise(usize);

impl Rise {
    fn begin() -> Self {
        ALLOCATOR.reset_peak_usage();
        Self(ALLOCATOR.current_usage())
    }

    fn peak(&self) -> usize {
        ALLOCATOR.peak_usage().saturating_sub(self.0)
    }

    fn now(&self) -> usize {
        ALLOCATOR.current_usage().saturating_sub(self.0)
    }
}

/// A connection over a small pipe, of which the test knows the size.
async fn small(shape: Shape, config: Config) -> (Peer, WebSocket, Reports) {
    let (ours, theirs) = duplex(PIPE);
    let (socket, reports) = hold_over(shape, config, theirs).await;
    (Peer::new(ours), socket, reports)
}

fn a_thousand_connections_that_declare_a_huge_frame_cost_next_to_nothing() {
    alone(async {
        for shape in SHAPES {
            let config = Config::default()
                .max_message_size(1 << 30)
                .ping_interval(None);
            let mut held = vec![];
            for _ in 0..1000 {
                held.push(small(shape, config.clone()).await);
            }
            // The first one fills what belongs to the thread.
            let header = [client_header(0x82, 1 << 30), b"x".to_vec()].concat();
            held[0].0.send(&header).await;
            idle().await;
            // The pipes' buffers are not the connections'.
            let rise = Rise::begin();
            let mut pipes = 0;
            for (peer, _, _) in &mut held {
                peer.send(&header).await;
                pipes += 64;
            }
            idle().await;
            let each = (rise.now() - pipes) / 1000;
            assert!(each < 1000, "{each} bytes for one byte");
        }
    });
}

fn a_message_in_one_byte_fragments_peaks_below_twice_the_limit() {
    alone(async {
        for shape in SHAPES {
            for first in [0x02, 0x01] {
                let limit = 64 << 10;
                let config = Config::default()
                    .max_message_size(limit)
                    .max_fragments(None);
                let config = config.max_fragments(1 << 20);
                let (mut peer, mut socket, _reports) = small(shape, config).await;
                peer.send(client_frame(first, "x")).await;
                idle().await;
                let rise = Rise::begin();
                let fragment = client_frame(0x00, "x").repeat(100);
                let mut sent = 1;
                while sent + 100 < limit {
                    peer.send(&fragment).await;
                    sent += 100;
                }
                idle().await;
                let peak = rise.peak();
                assert!(peak <= 2 * limit, "{peak} bytes for {limit}");
                peer.send(client_frame(0x00, "x").repeat(limit + 1 - sent))
                    .await;
                assert_eq!(peer.frame().await.code(), Some(1009));
                assert!(
                    within(socket.recv())
                        .await
                        .expect_err("too big")
                        .is_protocol()
                );
            }
        }
    });
}

fn endless_empty_fragments_cost_nothing_and_are_1009() {
    alone(async {
        for shape in SHAPES {
            let (mut peer, _socket, _reports) = small(shape, Config::default()).await;
            peer.send(client_frame(0x02, "")).await;
            idle().await;
            let rise = Rise::begin();
            let fragments = client_frame(0x00, "").repeat(128);
            for _ in 0..127 {
                peer.send(&fragments).await;
            }
            idle().await;
            let peak = rise.peak();
            assert!(peak < 16 << 10, "{peak} bytes");
            peer.send(&fragments).await;
            assert_eq!(peer.frame().await.code(), Some(1009));
        }
    });
}

fn a_large_frame_peaks_below_twice_its_size_however_it_arrives() {
    alone(async {
        for shape in SHAPES {
            for (pieces, size) in [(1, 40_000), (1400, 1 << 20), (60_000, 1 << 20)] {
                let (mut peer, mut socket, _reports) = small(shape, Config::default()).await;
                // What belongs to the thread and to the pipe is there before.
                peer.send(binary(vec![0; 60_000])).await;
                within(socket.recv()).await.expect("a message");
                let piece = vec![0; pieces];
                let rise = Rise::begin();
                peer.send(client_header(0x82, size)).await;
                let mut left = size as usize;
                while left > 0 {
                    let len = piece.len().min(left);
                    peer.send(&piece[..len]).await;
                    left -= len;
                }
                idle().await;
                let peak = rise.peak();
                let most = 2 * size as usize + 2 * PIPE;
                assert!(
                    peak <= most,
                    "{peak} bytes for {size} in pieces of {pieces}"
                );
                let message = within(socket.recv()).await.expect("a message");
                assert_eq!(message.map(|message| message.len()), Some(size as usize));
            }
        }
    });
}

fn a_million_pings_of_a_peer_that_reads_nothing_leave_the_heap_flat() {
    alone(async {
        for shape in SHAPES {
            let config = Config::default()
                .control_frame_rate(None)
                .write_timeout(None);
            let (ours, theirs) = duplex(1000);
            let _reports = serve(shape, config, handler(echo), theirs).await;
            let mut peer = Peer::new(ours);
            let pings = ping([7; 5]).repeat(1000);
            peer.send(&pings).await;
            idle().await;
            let rise = Rise::begin();
            for _ in 0..1000 {
                peer.send(&pings).await;
            }
            idle().await;
            let peak = rise.peak();
            assert!(peak < 8 << 10, "{peak} bytes");
        }
    });
}

/// Writes until the server has stopped reading, and gives the bytes it took.
async fn fill(stream: &mut DuplexStream, piece: &[u8]) -> usize {
    let mut taken = 0;
    // A write that is cut short is the last one.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(10), stream.write_all(piece)).await
    {
        written.expect("the server is there");
        taken += piece.len();
        assert!(taken < 64 << 20, "reading never stops");
    }
    taken
}

fn messages_that_nobody_receives_are_bounded() {
    alone(async {
        for shape in SHAPES {
            for payload in [0, 1, 100, 5000] {
                let read_ahead = 64 << 10;
                let (mut peer, socket, _reports) = small(shape, Config::default()).await;
                let rise = Rise::begin();
                fill(&mut peer.stream, &binary(vec![0; payload]).repeat(10)).await;
                let peak = rise.peak();
                // The inbox, what was read and not decoded, the scratch, and the pipe.
                let most = 3 * read_ahead + 64 * 1024 + 2 * PIPE + 100_000;
                assert!(peak < most, "{peak} bytes of messages of {payload}");
                drop(socket);
            }
        }
    });
}

fn a_connection_that_ends_frees_everything_though_a_sender_is_kept() {
    alone(async {
        for shape in SHAPES {
            let mut kept = vec![];
            for round in 0..3 {
                let rise = Rise::begin();
                {
                    let (ours, theirs) = duplex(1000);
                    let wire = Wire::new(theirs, Plan::default());
                    let (socket, mut reports) = hold_over(shape, Config::default(), wire).await;
                    let mut peer = Peer::new(ours);
                    peer.send(client_frame(0x02, vec![1; 600])).await;
                    socket.try_send(vec![2; 900_000]).expect("there is room");
                    kept.push(socket.sender());
                    let mut piece = [0; 500];
                    peer.stream.read_exact(&mut piece).await.expect("it writes");
                    // The peer reads no more: the write timeout ends it.
                    reports.first().await;
                    sleep(Duration::from_secs(1)).await;
                }
                let left = rise.now();
                // The first round fills what belongs to the thread.
                assert!(
                    round == 0 || left < 5000,
                    "{left} bytes are left in round {round}"
                );
            }
        }
    });
}

fn idle_connections_own_no_buffers_after_traffic() {
    alone(async {
        for shape in SHAPES {
            let mut held = vec![];
            for _ in 0..100 {
                let (ours, theirs) = duplex(64 << 10);
                let config = Config::default().ping_interval(None);
                let reports = serve(shape, config, handler(echo), theirs).await;
                held.push((Peer::new(ours), reports));
            }
            for (peer, _) in &mut held {
                // Fills the pipe's own buffers, both ways.
                peer.send(binary(vec![0; 30_000])).await;
                peer.frame().await;
            }
            idle().await;
            let rise = Rise::begin();
            for (peer, _) in &mut held {
                peer.send(binary(vec![1; 20_000])).await;
                assert_eq!(peer.frame().await, Frame::binary(vec![1; 20_000]));
            }
            idle().await;
            let each = rise.now() / 100;
            assert!(each < 100, "{each} bytes are kept by each");
            let (mut peer, reports) = held.pop().expect("a connection");
            peer.send(close(1000, "")).await;
            peer.finish().await;
            peer.rest().await;
            reports.only().await;
        }
    });
}

/// What a pipe holds here.
const PIPE: usize = 4 << 10;

/// The handler of the measured app: it keeps a room, and shares a count.
fn count(
    request: Request<WebSocket>,
    total: Arc<AtomicUsize>,
) -> impl Future<Output = Result<(), Error>> + Send {
    let (head, mut socket) = request.into_parts();
    let params = head.extensions.get::<PathParams>();
    let room: Box<str> = params
        .and_then(|params| params.get("room"))
        .unwrap_or_default()
        .into();
    drop(head);
    async move {
        while let Some(message) = socket.recv().await? {
            total.fetch_add(room.len(), Ordering::Relaxed);
            socket.send(message).await?;
        }
        Ok(())
    }
}

/// Opens a connection to the measured app, and has 100 bytes echoed.
fn echoed(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = "GET /rooms/lobby HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = [0; 1024];
    let mut len = 0;
    while !answer[..len].ends_with(b"\r\n\r\n") {
        len += stream.read(&mut answer[len..]).expect("it answers");
    }
    let mut frame = [b'x'; 106];
    frame[..6].copy_from_slice(b"\x82\xe4\0\0\0\0");
    stream.write_all(&frame).expect("it reads");
    stream.read_exact(&mut answer[..102]).expect("it echoes");
    stream
}

fn an_idle_connection_of_an_axum_app_takes_at_most_a_thousand_bytes() {
    const CONNECTIONS: usize = 200;
    alone(async {
        let (addresses, listens) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = thread::spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let total = Arc::new(AtomicUsize::new(0));
                let route = service_fn(move |request| count(request, total.clone()));
                let layer = WebSocketLayer::new(route).path("/rooms/{room}");
                let page = any(async || "a page").layer(layer);
                let app: Router = Router::new().route("/rooms/{room}", page);
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("its address");
                addresses.send(address).expect("the test waits");
                let serve = axum::serve(listener, app).with_graceful_shutdown(async {
                    let _over = stopped.await;
                });
                serve.await.expect("it serves");
            });
        });
        let address = listens.recv().expect("it listens");
        let mut held = Vec::with_capacity(4 * CONNECTIONS);
        let mut least = usize::MAX;
        for _ in 0..4 {
            // The first round warms the threads' buffers up; the least of the others counts.
            let rise = Rise::begin();
            held.extend((0..CONNECTIONS).map(|_| echoed(address)));
            least = least.min(rise.now() / CONNECTIONS);
        }
        assert!(least <= 1000, "{least} bytes");
        drop(held);
        stop.send(()).expect("it serves");
        server.join().expect("it ends");
    });
}
