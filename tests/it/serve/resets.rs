//! Clients that open and reset, or never end their headers (T26).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    runtime::Handle,
    task::JoinHandle,
    time::sleep,
};
use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer};
use tower_websocket::{
    Config, Connections, Error, Groups, Handshake, WebSocket, WebSocketLayer, serve, session::Drain,
};

use super::support::{Dialer, PREFACE, memory, raw_frame};
use crate::{
    crowd::Kept,
    support::{
        Http, echo, handler,
        http::{Ask, Http2, Peer},
        within,
    },
};

const PERMITS: usize = 8;

/// How many streams are reset.
const STREAMS: usize = 10_000;

/// Longer than any test waits before a reset.
const HOUR: Duration = Duration::from_secs(3600);

/// A server whose places are counted.
struct Counted {
    dialer: Dialer,
    connections: Connections,
    groups: Groups,
    /// Held by the route service and by each of its handlers.
    kept: Kept,
    handles: usize,
    /// How many handshakes reached the hook of `/slow`.
    asked: Arc<AtomicUsize>,
    tasks: usize,
}

impl Counted {
    async fn start() -> Self {
        let (connections, groups) = (Connections::new(), Groups::new());
        let (value, kept) = Kept::new();
        let route = {
            let groups = groups.clone();
            ServiceBuilder::new()
                .layer(ConcurrencyLimitLayer::new(PERMITS))
                .service(handler(move |socket| {
                    member(socket, groups.clone(), value.clone())
                }))
        };
        let websocket = WebSocketLayer::new(route).connections(&connections);
        let patient = Config::default().ready_timeout(HOUR);
        let asked = Arc::<AtomicUsize>::default();
        let slow = {
            let asked = asked.clone();
            websocket.clone().on_handshake(move |handshake: Handshake| {
                asked.fetch_add(1, Ordering::Relaxed);
                async {
                    sleep(HOUR).await;
                    handshake.accept()
                }
            })
        };
        let app = Router::new()
            .route_service("/echo", websocket.clone().endpoint())
            .route_service("/wait", websocket.config(patient).endpoint())
            .route_service("/slow", slow.endpoint());
        let (listener, dialer) = memory();
        tokio::spawn(serve(listener, app).into_future());
        settle().await;
        let tasks = Handle::current().metrics().num_alive_tasks();
        Self {
            dialer,
            connections,
            groups,
            handles: kept.count(),
            kept,
            asked,
            tasks,
        }
    }

    fn accepted(&self) -> usize {
        self.connections.counters().accepted as usize
    }

    /// Nothing is left of what clients did: no task, no place, no permit, no membership.
    async fn assert_nothing_leaked(self) {
        sleep(Duration::from_secs(120)).await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), self.tasks);
        assert!(self.connections.is_empty());
        assert!(self.groups.is_empty());
        assert_eq!(self.kept.count(), self.handles);
        // Places of a limit of open connections: as many as there were, and no more.
        let http2 = Http2::connect(self.dialer.dial()).await;
        let mut peers = Vec::new();
        for _ in 0..PERMITS {
            let answer = within(http2.send(Ask::handshake(Http::Two, "/echo"))).await;
            peers.push(answer.opened(Http::Two));
        }
        let full = within(http2.send(Ask::handshake(Http::Two, "/echo"))).await;
        assert_eq!(full.status, 503);
        drop((peers, http2));
        sleep(Duration::from_secs(120)).await;
        let drained = within(self.connections.drain(Drain::default())).await;
        assert_eq!((drained.ended, drained.aborted), (0, 0));
    }
}

/// An echo that is in a group.
async fn member(socket: WebSocket, groups: Groups, _value: Arc<()>) -> Result<(), Error> {
    let _membership = groups.join("all".to_owned(), &socket.sender());
    echo(socket).await
}

async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// An HTTP/2 client that says whatever it likes, and only looks whether it is listened to.
struct Raw {
    writer: tokio::io::WriteHalf<DuplexStream>,
    reading: JoinHandle<()>,
}

impl Raw {
    async fn dial(dialer: &Dialer) -> Self {
        let (mut reader, mut writer) = tokio::io::split(dialer.dial());
        let reading = tokio::spawn(async move {
            let mut read = [0; 4096];
            while matches!(reader.read(&mut read).await, Ok(len) if len > 0) {}
        });
        let settings = raw_frame(4, 0, 0, b"");
        let preface = [PREFACE, &settings].concat();
        writer.write_all(&preface).await.unwrap();
        Self { writer, reading }
    }

    /// Sends, and lets the server do what it does; `false` once the connection has ended.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.writer.write_all(bytes).await.is_ok();
        settle().await;
        sent && !self.reading.is_finished()
    }

    async fn leave(mut self) {
        let _gone = self.writer.shutdown().await;
        drop(self.writer);
        self.reading.abort();
    }
}

/// A field that is not indexed (RFC 7541 §6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0, name.len() as u8];
    field.extend(name.as_bytes());
    field.push(value.len() as u8);
    field.extend(value.as_bytes());
    field
}

fn handshake(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("sec-websocket-version", "13"),
    ];
    fields.map(|(name, value)| field(name, value)).concat()
}

fn headers(stream: u32, path: &str) -> Vec<u8> {
    raw_frame(1, 4, stream, &handshake(path))
}

fn reset(stream: u32) -> Vec<u8> {
    raw_frame(3, 0, stream, &8u32.to_be_bytes())
}

/// Numbers of the streams of a client, `count` from the `from`th on.
fn streams(from: u32, count: u32) -> impl Iterator<Item = u32> {
    (from..from + count).map(|number| 2 * number + 1)
}

/// The streams of each round of as many as there are permits.
fn rounds() -> impl Iterator<Item = std::ops::Range<u32>> {
    let starts = (0..STREAMS as u32).step_by(PERMITS);
    starts.map(|start| start..start + PERMITS as u32)
}

/// The same frame for some streams.
fn each(numbers: std::ops::Range<u32>, frame: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    streams(numbers.start, numbers.len() as u32)
        .flat_map(frame)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_handshakes_reset_in_the_same_write_leak_nothing() {
    let server = Counted::start().await;
    let mut client = Raw::dial(&server.dialer).await;
    for numbers in rounds() {
        // Fewer than h2 ends the connection for.
        let both = each(numbers.clone(), |stream| {
            [headers(stream, "/echo"), reset(stream)].concat()
        });
        assert!(client.send(&both).await, "cut off at {numbers:?}");
        assert_eq!(server.connections.len(), 0, "{numbers:?}");
    }
    // Each was answered, though nobody was there any more.
    assert_eq!(server.accepted(), STREAMS);
    client.leave().await;
    server.assert_nothing_leaked().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_handshakes_reset_while_the_hook_runs_leak_nothing() {
    let server = Counted::start().await;
    let mut client = Raw::dial(&server.dialer).await;
    for numbers in rounds() {
        let opening = each(numbers.clone(), |stream| headers(stream, "/slow"));
        assert!(client.send(&opening).await, "cut off at {numbers:?}");
        assert_eq!(server.asked.load(Ordering::Relaxed), numbers.end as usize);
        assert!(client.send(&each(numbers, reset)).await);
    }
    assert_eq!(
        (server.asked.load(Ordering::Relaxed), server.accepted()),
        (STREAMS, 0)
    );
    client.leave().await;
    server.assert_nothing_leaked().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_handshakes_reset_while_they_wait_for_a_place_leak_nothing() {
    let server = Counted::start().await;
    let http2 = Http2::connect(server.dialer.dial()).await;
    let mut peers = Vec::new();
    for _ in 0..PERMITS {
        let answer = within(http2.send(Ask::handshake(Http::Two, "/echo"))).await;
        peers.push(answer.opened(Http::Two));
    }
    let handles = server.kept.count();
    let mut client = Raw::dial(&server.dialer).await;
    for numbers in rounds() {
        let opening = each(numbers.clone(), |stream| headers(stream, "/wait"));
        assert!(client.send(&opening).await, "cut off at {numbers:?}");
        // Each waits with a route service of its own.
        assert_eq!(server.kept.count(), handles + PERMITS, "{numbers:?}");
        assert!(client.send(&each(numbers, reset)).await);
        assert_eq!(server.kept.count(), handles);
    }
    assert_eq!(server.accepted(), PERMITS);
    client.leave().await;
    drop((peers, http2));
    server.assert_nothing_leaked().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_websockets_opened_and_reset_leak_nothing() {
    let server = Counted::start().await;
    let mut client = Raw::dial(&server.dialer).await;
    for numbers in rounds() {
        let opening = each(numbers.clone(), |stream| headers(stream, "/echo"));
        assert!(client.send(&opening).await, "cut off at {numbers:?}");
        assert_eq!(server.connections.len(), PERMITS, "{numbers:?}");
        assert_eq!(server.groups.member_count("all"), PERMITS, "{numbers:?}");
        assert!(client.send(&each(numbers.clone(), reset)).await);
        assert_eq!(server.connections.len(), 0, "{numbers:?}");
        assert_eq!(server.groups.member_count("all"), 0, "{numbers:?}");
    }
    assert_eq!(server.accepted(), STREAMS);
    client.leave().await;
    server.assert_nothing_leaked().await;
}

#[tokio::test(start_paused = true)]
async fn clients_that_reset_a_hundred_streams_at_once_are_cut_off_and_leak_nothing() {
    let server = Counted::start().await;
    for _ in 0..STREAMS / 100 {
        let mut client = Raw::dial(&server.dialer).await;
        let flood = each(0..100, |stream| {
            [headers(stream, "/echo"), reset(stream)].concat()
        });
        assert!(!client.send(&flood).await, "it is not cut off");
        client.leave().await;
    }
    server.assert_nothing_leaked().await;
}

#[tokio::test(start_paused = true)]
async fn endless_continuation_frames_are_cut_off() {
    for piece in [field("x-filler", &"x".repeat(100)), Vec::new()] {
        let server = Counted::start().await;
        let mut client = Raw::dial(&server.dialer).await;
        assert!(client.send(&raw_frame(1, 0, 1, &handshake("/echo"))).await);
        let mut sent = 0;
        while client.send(&raw_frame(9, 0, 1, &piece)).await {
            sent += 1;
            assert!(sent < 1_000, "nobody minds");
        }
        client.leave().await;
        server.assert_nothing_leaked().await;
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_are_too_large_do_not_reach_the_application() {
    let server = Counted::start().await;
    let mut peer = Peer::over(server.dialer.dial());
    let mut request = Ask::handshake(Http::One, "/echo").bytes();
    request.truncate(request.len() - 2);
    for number in 0..200 {
        request.extend(format!("x-{number}: y\r\n").bytes());
    }
    request.extend(b"\r\n");
    peer.write(&request).await;
    // hyper's limit: 100 fields.
    assert_eq!(within(peer.answer()).await.status, 431);
    server.assert_nothing_leaked().await;
}
