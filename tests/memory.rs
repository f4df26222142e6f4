//! What a hostile peer can make a connection allocate.
//!
//! A binary of its own: its allocator counts, and nothing else may run meanwhile.

#[expect(dead_code, reason = "these tests need less of it than the others")]
#[path = "it/session/support.rs"]
mod support;

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
use support::{
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
use tower_websocket::{
    Compression, Config, Error, Groups, PathParams, SlowMember, WebSocket, WebSocketLayer, handler,
    testing,
};

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
    an_echo_takes_the_memory_of_the_one_before();
    joining_and_leaving_leave_nothing_behind_on_a_living_connection();
    a_member_that_reads_nothing_costs_what_is_kept_for_it();
    a_broadcast_is_there_once_for_all_members();
    an_idle_connection_of_an_axum_app_takes_at_most_a_thousand_bytes();
    #[cfg(feature = "serve")]
    an_idle_connection_of_a_server_of_ours_takes_no_more();
    #[cfg(feature = "axum")]
    {
        extract::an_idle_connection_takes_no_more_than_with_the_layer();
        extract::an_idle_connection_with_settings_of_its_own_takes_as_much_as_documented();
    }
    #[cfg(feature = "deflate")]
    {
        compression::a_bomb_of_1_gib_takes_no_more_than_a_message_may();
        compression::a_message_that_inflates_to_the_limit_peaks_at_twice_its_size();
        compression::a_message_in_progress_takes_one_decompressor();
        compression::an_idle_connection_takes_nothing_for_shared_compression();
        compression::an_idle_connection_takes_what_is_documented_for_takeover();
    }
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

/// Buffers, queues and inboxes come from the thread: what an echo takes anew is its payload, and
/// where that is large hardly anything.
fn an_echo_takes_the_memory_of_the_one_before() {
    alone(async {
        for (len, most) in [(125, 125), (1 << 20, 1000)] {
            for shape in SHAPES {
                let (mut peer, theirs) = duplex(PIPE);
                let config = Config::default().ping_interval(None);
                let reports = serve(shape, config, handler(echo), theirs).await;
                let frame = binary(vec![7; len]);
                let mut answer = vec![0; frame.len() - 4];
                // The first few fill what belongs to the thread, and the pipe's own buffers.
                let mut rise = Rise::begin();
                for round in 0..8 {
                    if round == 4 {
                        rise = Rise::begin();
                    }
                    within(peer.write_all(&frame)).await.expect("it reads");
                    within(peer.read_exact(&mut answer))
                        .await
                        .expect("it echoes");
                    assert!(answer.ends_with(&[7; 125]));
                }
                let peak = rise.peak();
                assert!(peak <= most, "{peak} bytes for {len}, {shape:?}");
                drop(peer);
                reports.only().await;
            }
        }
    });
}

fn joining_and_leaving_leave_nothing_behind_on_a_living_connection() {
    alone(async {
        let groups: Groups<u32> = Groups::new();
        let (_client, server) = testing::pair(Config::default());
        let sender = server.sender();
        let stays = groups.join(0, &sender).expect("it is open");
        drop(groups.join(1, &sender));
        let rise = Rise::begin();
        for key in 1..100_000 {
            let membership = groups.join(key % 100 + 1, &sender).expect("it is open");
            drop(membership);
        }
        let left = rise.now();
        assert!(left < 1000, "{left} bytes are left");
        drop(stays);
    });
}

fn a_member_that_reads_nothing_costs_what_is_kept_for_it() {
    alone(async {
        let groups: Groups<u8> = Groups::builder()
            .slow_members(|_| SlowMember::Conflate)
            .build();
        let config = Config::default()
            .max_send_queue(10_000)
            .write_timeout(None)
            .ping_interval(None);
        let (_peer, socket, _reports) = small(Shape::H1, config).await;
        let sender = socket.sender();
        while socket.try_send(vec![0; 1000]).is_ok() {
            idle().await;
        }
        let membership = groups.join(0, &sender).expect("it is open");
        let kept = groups.broadcast(&0, vec![1; 1000]).await;
        assert_eq!((kept.sent, kept.dropped), (1, 0));
        let rise = Rise::begin();
        for _ in 0..10_000 {
            groups.broadcast(&0, vec![1; 1000]).await;
        }
        let left = rise.now();
        assert!(left < 2000, "{left} bytes for one message");
        drop(membership);
        for _ in 0..10_000 {
            let membership = groups.join(0, &sender).expect("it is open");
            let kept = groups.broadcast(&0, vec![1; 1000]).await;
            assert_eq!((kept.sent, kept.dropped), (1, 0));
            drop(membership);
        }
        let left = rise.now();
        assert!(left < 2000, "{left} bytes for members that have left");
    });
}

fn a_broadcast_is_there_once_for_all_members() {
    alone(async {
        const LEN: usize = 200_000;
        let compressed = Config::default().compression(Compression::shared());
        for config in [Config::default(), compressed] {
            let groups: Groups<u8> = Groups::new();
            let config = config.write_timeout(None).ping_interval(None);
            let mut members = vec![];
            for _ in 0..200 {
                let (client, server) = testing::pair(config.clone());
                let membership = groups.join(0, &server.sender()).expect("it is open");
                members.push((client, server, membership));
            }
            // Half of it can be compressed away.
            let mut seed = 1_u32;
            let news = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b'a' + (seed >> 28) as u8
            });
            let news: Vec<_> = news.take(LEN).collect();
            let rise = Rise::begin();
            // Queued, and not written yet.
            let delivery = groups.broadcast(&0, news).await;
            assert_eq!(delivery.sent, 200);
            // The message, its one wire form, and what compresses it.
            let peak = rise.peak();
            assert!(peak < 6 * LEN, "{peak} bytes for {LEN}");
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

/// Opens a connection to the measured app with some more headers; gives the answer, too.
fn opened(address: SocketAddr, headers: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!(
        "GET /rooms/lobby HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = [0; 1024];
    let mut len = 0;
    while !answer[..len].ends_with(b"\r\n\r\n") {
        len += stream.read(&mut answer[len..]).expect("it answers");
    }
    let answer = str::from_utf8(&answer[..len]).expect("a head");
    (stream, answer.to_owned())
}

/// Opens a connection to the measured app, and has 100 bytes echoed.
fn echoed(address: SocketAddr) -> TcpStream {
    let (mut stream, _) = opened(address, "");
    let mut frame = [b'x'; 106];
    frame[..6].copy_from_slice(b"\x82\xe4\0\0\0\0");
    stream.write_all(&frame).expect("it reads");
    let mut answer = [0; 102];
    stream.read_exact(&mut answer).expect("it echoes");
    stream
}

/// The heap that an idle connection of an axum app takes once `open` has had something echoed.
fn idle_connection(connections: usize, config: Config, open: fn(SocketAddr) -> TcpStream) -> usize {
    idle_connection_of(measured(config), connections, open)
}

/// The measured app.
fn measured(config: Config) -> Router {
    let total = Arc::new(AtomicUsize::new(0));
    let route = service_fn(move |request| count(request, total.clone()));
    let layer = WebSocketLayer::new(route)
        .config(config)
        .path("/rooms/{room}");
    let page = any(async || "a page").layer(layer);
    Router::new().route("/rooms/{room}", page)
}

/// The heap that an idle connection of this app takes.
fn idle_connection_of(app: Router, connections: usize, open: fn(SocketAddr) -> TcpStream) -> usize {
    let serve = async |listener, app, stop: Stop| {
        let serve = axum::serve(listener, app).with_graceful_shutdown(async {
            let _over = stop.await;
        });
        serve.await.expect("it serves");
    };
    idle_connection_with(serve, app, connections, open)
}

type Stop = oneshot::Receiver<()>;

/// The heap that an idle connection of this app takes, on such a server.
fn idle_connection_with(
    serve: impl AsyncFnOnce(TcpListener, Router, Stop) + Send + 'static,
    app: Router,
    connections: usize,
    open: fn(SocketAddr) -> TcpStream,
) -> usize {
    let (addresses, listens) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = thread::spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("its address");
            addresses.send(address).expect("the test waits");
            serve(listener, app, stopped).await;
        });
    });
    let address = listens.recv().expect("it listens");
    let mut held = Vec::with_capacity(4 * connections);
    let mut least = usize::MAX;
    for _ in 0..4 {
        // The first round warms the threads' buffers up; the least of the others counts.
        let rise = Rise::begin();
        held.extend((0..connections).map(|_| open(address)));
        least = least.min(rise.now() / connections);
    }
    drop(held);
    stop.send(()).expect("it serves");
    server.join().expect("it ends");
    least
}

fn an_idle_connection_of_an_axum_app_takes_at_most_a_thousand_bytes() {
    let bytes = idle_connection(200, Config::default(), echoed);
    assert!(bytes <= 1000, "{bytes} bytes");
}

/// Its streams are watched until the handshake is answered, and TCP as it is from then on.
#[cfg(feature = "serve")]
fn an_idle_connection_of_a_server_of_ours_takes_no_more() {
    let serve = async |listener, app, stop: Stop| {
        // Not gracefully: there would be a registry.
        tokio::select! {
            ended = tower_websocket::serve(listener, app) => drop(ended.expect("it serves")),
            _over = stop => {}
        }
    };
    let app = measured(Config::default());
    let bytes = idle_connection_with(serve, app, 200, echoed);
    assert!(bytes <= 1000, "{bytes} bytes");
}

#[cfg(feature = "axum")]
mod extract {
    use tower_websocket::extract::WebSocketUpgrade;

    use super::*;

    fn app(set: fn(WebSocketUpgrade) -> WebSocketUpgrade) -> Router {
        let chat = any(async move |ws: WebSocketUpgrade| {
            set(ws).on_upgrade(async |mut socket: WebSocket| {
                while let Some(message) = socket.recv().await? {
                    socket.send(message).await?;
                }
                Ok::<_, Error>(())
            })
        });
        Router::new().route("/rooms/{room}", chat)
    }

    pub(super) fn an_idle_connection_takes_no_more_than_with_the_layer() {
        let bytes = idle_connection_of(app(|ws| ws), 200, echoed);
        assert!(bytes <= 1000, "{bytes} bytes");
    }

    pub(super) fn an_idle_connection_with_settings_of_its_own_takes_as_much_as_documented() {
        let bytes = idle_connection_of(app(|ws| ws.max_message_size(4096)), 200, echoed);
        assert!(bytes <= 1000 + 450, "{bytes} bytes");
    }
}

#[cfg(feature = "deflate")]
mod compression {
    use std::time::Instant;

    use bytes::{Buf, BytesMut};
    use tower_websocket::{
        Compression, Event, ProtocolError,
        protocol::{Connection, Decoder, DeflateParams, Role},
    };

    use super::*;

    /// What a compressed message of more than 1 GiB of zeroes begins with, in 1 MiB.
    ///
    /// A block with codes of its own (RFC 1951 §3.2.7), in which a match of 258 bytes takes two
    /// bits, both 0.
    fn bomb() -> Vec<u8> {
        let mut bits = Vec::new();
        let mut add = |value: usize, count: u32| {
            bits.extend((0..count).map(|bit| value >> bit & 1));
        };
        add(0b100, 3);
        // 286 lengths, one distance, 18 lengths of the codes for those.
        add(29, 5);
        add(0, 5);
        add(14, 4);
        // Of these 18 takes one bit, 2 and 1 take two.
        for index in 0..18 {
            add(
                match index {
                    2 => 1,
                    15 | 17 => 2,
                    _ => 0,
                },
                3,
            );
        }
        // The byte 0 takes two bits, the end too; the longest match takes one, and its distance.
        let [one, two] = [0b01, 0b11];
        add(two, 2);
        add(0, 1);
        add(138 - 11, 7);
        add(0, 1);
        add(117 - 11, 7);
        add(two, 2);
        add(0, 1);
        add(28 - 11, 7);
        add(one, 2);
        add(one, 2);
        // A byte to refer to.
        add(0b01, 2);
        let start = bits.chunks(8).map(|bits| {
            let bits = bits.iter().enumerate();
            bits.fold(0, |byte, (index, bit)| byte | (*bit as u8) << index)
        });
        let mut bytes: Vec<_> = start.collect();
        bytes.resize(1 << 20, 0);
        bytes
    }

    /// A message in frames of `size` bytes.
    fn fragments(payload: &[u8], size: usize) -> Vec<u8> {
        let last = payload.chunks(size).count() - 1;
        let frames = payload.chunks(size).enumerate().map(|(index, piece)| {
            let first = if index == 0 { 0x42 } else { 0x00 };
            let fin = if index == last { 0x80 } else { 0x00 };
            client_frame(first | fin, piece)
        });
        frames.collect::<Vec<_>>().concat()
    }

    /// Feeds a decoder with `read` bytes at a time: what comes of it, and how far the heap rose.
    fn decode(
        mut decoder: Decoder,
        bytes: &[u8],
        read: usize,
    ) -> (Result<Option<Event>, ProtocolError>, usize) {
        let mut input = BytesMut::with_capacity(bytes.len());
        let rise = Rise::begin();
        for piece in bytes.chunks(read) {
            input.extend_from_slice(piece);
            match decoder.decode(&mut input) {
                Ok(None) => {}
                decoded => return (decoded, rise.peak()),
            }
        }
        (Ok(None), rise.peak())
    }

    const PARAMS: [DeflateParams; 2] = [
        DeflateParams {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        },
        DeflateParams {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        },
    ];

    const ANSWER: &str = "permessage-deflate\r\n";

    pub(super) fn a_bomb_of_1_gib_takes_no_more_than_a_message_may() {
        let bomb = bomb();
        let config = Config::default().max_message_size(bomb.len());
        for params in PARAMS {
            for size in [bomb.len(), bomb.len() / 1000] {
                let frames = fragments(&bomb, size);
                for read in [frames.len(), 1000] {
                    let decoder = Decoder::new(Role::Server, &config).deflate(params);
                    let (decoded, peak) = decode(decoder, &frames, read);
                    let limit = bomb.len() as u64;
                    assert_eq!(decoded, Err(ProtocolError::InflatedTooBig { limit }));
                    assert!(peak < bomb.len() + (1 << 20), "{peak} bytes");
                }
            }
        }
    }

    pub(super) fn a_message_that_inflates_to_the_limit_peaks_at_twice_its_size() {
        let limit = 4 << 20;
        let config = Config::default()
            .max_message_size(limit)
            .compression(Compression::shared());
        for params in PARAMS {
            let now = Instant::now();
            let mut client = Connection::new(Role::Client, config.clone(), now).deflate(params);
            client.send(vec![0; limit]).expect("it is open");
            let queue = client.poll_transmit().expect("a message waits");
            let frame = queue.copy_to_bytes(queue.len());
            let decoder = Decoder::new(Role::Server, &config).deflate(params);
            let (decoded, peak) = decode(decoder, &frame, 1000);
            let Ok(Some(Event::Message(message))) = decoded else {
                panic!("a message");
            };
            assert_eq!(message.len(), limit);
            // The decompressor, its output, and what it remembers.
            let most = 2 * limit + (256 << 10);
            assert!(peak < most, "{peak} bytes");
        }
    }

    pub(super) fn a_message_in_progress_takes_one_decompressor() {
        let config = Config::default();
        for params in PARAMS {
            let mut decoders: Vec<_> = (0..100)
                .map(|_| Decoder::new(Role::Server, &config).deflate(params))
                .collect();
            let mut begun = BytesMut::from(&client_frame(0x42, "").repeat(100)[..]);
            let rise = Rise::begin();
            for decoder in &mut decoders {
                let mut frame = begun.split_to(6);
                assert_eq!(decoder.decode(&mut frame), Ok(None));
            }
            let each = rise.now() / decoders.len();
            assert!(each < 64 << 10, "{each} bytes");
        }
    }

    /// Opens a connection with compression, and has messages of these lengths echoed, compressed
    /// both ways.
    fn echoed_compressed(
        address: SocketAddr,
        params: DeflateParams,
        answer: &str,
        lens: &[usize],
    ) -> TcpStream {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let (mut stream, head) = opened(address, offer);
        assert!(head.contains(answer), "{head}");
        let config = Config::default().compression(Compression::shared());
        let mut client = Connection::new(Role::Client, config, Instant::now()).deflate(params);
        for len in lens {
            client.send("x".repeat(*len)).expect("it is open");
            let queue = client.poll_transmit().expect("a message waits");
            let frame = queue.copy_to_bytes(queue.len());
            assert_eq!(frame[0], 0xc1);
            stream.write_all(&frame).expect("it reads");
            let mut header = [0; 2];
            stream.read_exact(&mut header).expect("it echoes");
            assert!(header[0] == 0xc1 && header[1] < 100, "{header:?}");
            let mut payload = vec![0; header[1].into()];
            stream.read_exact(&mut payload).expect("it echoes");
        }
        stream
    }

    pub(super) fn an_idle_connection_takes_nothing_for_shared_compression() {
        let without = idle_connection(200, Config::default(), echoed);
        let config = Config::default().compression(Compression::shared());
        let with = idle_connection(200, config, |address| {
            let no_takeover = "permessage-deflate; server_no_context_takeover; \
                               client_no_context_takeover\r\n";
            echoed_compressed(address, PARAMS[0], no_takeover, &[1000])
        });
        assert!(with <= without + 64, "{with} bytes instead of {without}");
    }

    pub(super) fn an_idle_connection_takes_what_is_documented_for_takeover() {
        type Open = fn(SocketAddr) -> TcpStream;
        let short: Open = |address| echoed_compressed(address, PARAMS[1], ANSWER, &[1000]);
        let long: Open = |address| echoed_compressed(address, PARAMS[1], ANSWER, &[9000, 1000]);
        let config = |settings| Config::default().compression(settings);
        // The connection, what it remembers of 1000 bytes each way, and some order around it.
        let remembered = 1000 + 2 * 1000;
        let bytes = idle_connection(20, config(Compression::dedicated()), short);
        assert!(
            (remembered..remembered + 1000).contains(&bytes),
            "{bytes} bytes"
        );
        // With more than 8 KiB to remember it gets a compressor.
        // What it remembers grows by doubling.
        let remembered = 1000 + 2 * 18_000;
        let own = (136 << 10) + 4 * (1 << 15) + 7 * (1 << (8 + 6));
        let bytes = idle_connection(20, config(Compression::dedicated()), long);
        assert!(
            (own / 2..own + remembered + 1000).contains(&bytes),
            "{bytes} bytes"
        );
        // Enough for the windows of all, and for compressors of the first few.
        let settings = Compression::dedicated().max_memory(2 * 80 * (64 << 10));
        let bytes = idle_connection(20, config(settings), long);
        assert!(
            (remembered..remembered + 1000).contains(&bytes),
            "{bytes} bytes"
        );
    }
}
