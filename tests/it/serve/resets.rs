//! Clients that open and reset, or never end their headers (T26).

use std::time::Duration;

use axum::Router;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    runtime::Handle,
    task::JoinHandle,
    time::sleep,
};
use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer};
use tower_websocket::{Connections, Drain, WebSocketLayer, handler, serve};

use super::support::{Dialer, PREFACE, memory, raw_frame};
use crate::support::{
    Http, echo,
    http::{Ask, Http2, Peer},
    within,
};

const PERMITS: usize = 8;

/// A server whose places are counted.
struct Counted {
    dialer: Dialer,
    connections: Connections,
    tasks: usize,
}

impl Counted {
    async fn start() -> Self {
        let connections = Connections::new();
        let route = ServiceBuilder::new()
            .layer(ConcurrencyLimitLayer::new(PERMITS))
            .service(handler(echo));
        let websocket = WebSocketLayer::new(route).connections(&connections);
        let app = Router::new().route_service("/echo", websocket.endpoint());
        let (listener, dialer) = memory();
        tokio::spawn(serve(listener, app).into_future());
        settle().await;
        let tasks = Handle::current().metrics().num_alive_tasks();
        Self {
            dialer,
            connections,
            tasks,
        }
    }

    /// Nothing is left of what clients did: no task, no place, no permit.
    async fn assert_nothing_leaked(self) {
        sleep(Duration::from_secs(120)).await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), self.tasks);
        assert!(self.connections.is_empty());
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

fn handshake() -> Vec<u8> {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/echo"),
        ("sec-websocket-version", "13"),
    ];
    fields.map(|(name, value)| field(name, value)).concat()
}

fn headers(stream: u32) -> Vec<u8> {
    raw_frame(1, 4, stream, &handshake())
}

fn reset(stream: u32) -> Vec<u8> {
    raw_frame(3, 0, stream, &8u32.to_be_bytes())
}

/// Numbers of the streams of a client, `count` from the `from`th on.
fn streams(from: u32, count: u32) -> impl Iterator<Item = u32> {
    (from..from + count).map(|number| 2 * number + 1)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_streams_reset_at_once_leak_nothing() {
    let server = Counted::start().await;
    let mut dialed = 0;
    for _ in 0..100 {
        let mut client = Raw::dial(&server.dialer).await;
        dialed += 1;
        let flood: Vec<_> = streams(0, 100)
            .flat_map(|stream| [headers(stream), reset(stream)].concat())
            .collect();
        let _ended = client.send(&flood).await;
        client.leave().await;
    }
    assert_eq!(dialed, 100);
    server.assert_nothing_leaked().await;
}

#[tokio::test(start_paused = true)]
async fn client_that_goes_on_resetting_is_cut_off() {
    let server = Counted::start().await;
    let mut client = Raw::dial(&server.dialer).await;
    let mut sent = 0;
    loop {
        let flood: Vec<_> = streams(sent, 100)
            .flat_map(|stream| [headers(stream), reset(stream)].concat())
            .collect();
        if !client.send(&flood).await {
            break;
        }
        sent += 100;
        assert!(sent < 10_000, "nobody minds");
    }
    client.leave().await;
    server.assert_nothing_leaked().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_websockets_opened_and_reset_leak_nothing() {
    let server = Counted::start().await;
    let mut client = Raw::dial(&server.dialer).await;
    for round in 0..1250 {
        let numbers = || streams(round * PERMITS as u32, PERMITS as u32);
        let opening: Vec<_> = numbers().flat_map(headers).collect();
        if !client.send(&opening).await {
            panic!("cut off in round {round}");
        }
        assert_eq!(server.connections.len(), PERMITS, "round {round}");
        let resetting: Vec<_> = numbers().flat_map(reset).collect();
        assert!(client.send(&resetting).await, "cut off in round {round}");
        assert_eq!(server.connections.len(), 0, "round {round}");
    }
    assert_eq!(server.connections.counters().accepted, 10_000);
    client.leave().await;
    server.assert_nothing_leaked().await;
}

#[tokio::test(start_paused = true)]
async fn endless_continuation_frames_are_cut_off() {
    for piece in [field("x-filler", &"x".repeat(100)), Vec::new()] {
        let server = Counted::start().await;
        let mut client = Raw::dial(&server.dialer).await;
        assert!(client.send(&raw_frame(1, 0, 1, &handshake())).await);
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
