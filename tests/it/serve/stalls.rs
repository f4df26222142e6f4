//! Streams that stand still, and their siblings on the same HTTP/2 connection (T21, T22).

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{DuplexStream, duplex},
    sync::Notify,
    time::{sleep, timeout},
};
use tower_websocket::{Error, WebSocket, endpoint, serve};

use super::support::memory;
use crate::support::{
    Http, Log, echo, handler,
    http::{Ask, Http2, Peer, frame},
    within,
};

/// An echo, a handler that receives nothing until it is told to, and one that sends without end.
fn app(wake: &Arc<Notify>) -> (Router, Log<u32>) {
    let (pen, log) = Log::new();
    let wake = wake.clone();
    let sleeping = move |mut socket: WebSocket| {
        let (wake, pen) = (wake.clone(), pen.clone());
        async move {
            wake.notified().await;
            while let Some(_message) = socket.recv().await? {
                pen.write(1);
            }
            Ok::<(), Error>(())
        }
    };
    let sending = async |socket: WebSocket| {
        loop {
            socket.send(vec![7; 16 << 10]).await?;
        }
        #[expect(unreachable_code, reason = "names the type")]
        Ok::<(), Error>(())
    };
    let app = Router::new()
        .route_service("/echo", endpoint(handler(echo)))
        .route_service("/sleeping", endpoint(handler(sleeping)))
        .route_service("/sending", endpoint(handler(sending)));
    (app, log)
}

fn served(app: Router) -> DuplexStream {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app).into_future());
    dialer.dial()
}

/// The same app on hyper-util's server as it comes.
fn on_plain_hyper(app: Router) -> DuplexStream {
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(async {
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http2().enable_connect_protocol();
        let app = TowerToHyperService::new(app);
        let _gone = server
            .serve_connection_with_upgrades(TokioIo::new(theirs), app)
            .await;
    });
    ours
}

async fn connect(stream: DuplexStream) -> Http2 {
    // Not the client's own window is in question.
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(64 << 20);
    within(Http2::connect_with(&builder, stream)).await
}

async fn open(http2: &Http2, path: &str) -> Peer {
    let answer = within(http2.send(Ask::handshake(Http::Two, path))).await;
    answer.opened(Http::Two)
}

/// Whether an echo goes on, on a stream that is open and on a new one.
async fn siblings_live(http2: &Http2, sibling: &mut Peer) -> bool {
    let going_on = async {
        for _ in 0..20 {
            let sent = sibling.try_write(&frame(1, &[b'x'; 100]));
            if !sent || sibling.frame().await.is_none() {
                return false;
            }
        }
        let ask = Ask::handshake(Http::Two, "/echo");
        let Ok(answer) = http2.try_send(ask).await else {
            return false;
        };
        let mut peer = answer.opened(Http::Two);
        peer.send(1, b"hello").await;
        peer.frame().await == Some((1, "hello".into()))
    };
    timeout(Duration::from_secs(5), going_on)
        .await
        .unwrap_or(false)
}

/// Lets everybody do all they can: the clock moves when nobody has anything to do.
async fn settle() {
    sleep(Duration::from_millis(100)).await;
}

/// Small messages, each byte in a DATA frame of its own, to a handler that sleeps. Whether siblings
/// live, and whether all messages arrive in the end.
async fn flood(serving: impl Fn(Router) -> DuplexStream) -> (bool, bool) {
    const MESSAGES: usize = 40_000;
    let wake = Arc::new(Notify::new());
    let (app, mut log) = app(&wake);
    let http2 = connect(serving(app)).await;
    let mut sibling = open(&http2, "/echo").await;
    let mut flooding = open(&http2, "/sleeping").await;
    let message = frame(1, b"x");
    let mut sent = 0;
    'flood: for _ in 0..MESSAGES {
        for byte in &message {
            if !flooding.try_write(&[*byte]) {
                break 'flood;
            }
        }
        sent += 1;
        if sent % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    settle().await;
    let live = siblings_live(&http2, &mut sibling).await;
    if !live {
        return (false, false);
    }
    wake.notify_one();
    for _ in 0..MESSAGES {
        log.next().await;
    }
    (live, sent == MESSAGES)
}

#[tokio::test(start_paused = true)]
async fn flood_of_tiny_data_frames_leaves_siblings_running() {
    assert_eq!(flood(served).await, (true, true));
}

/// Why the windows of `serve` differ from hyper's.
#[tokio::test(start_paused = true)]
async fn flood_of_tiny_data_frames_ends_a_connection_with_the_windows_of_hyper() {
    assert_eq!(flood(on_plain_hyper).await, (false, false));
}

/// A message of 16 KiB.
fn large() -> Vec<u8> {
    let mut message = vec![0x82, 0xfe, 0x40, 0, 0, 0, 0, 0];
    message.resize(8 + (16 << 10), 0);
    message
}

/// So many handlers that never receive, each with a peer that sends it that many times 16 KiB.
async fn stall(streams: usize, messages: usize, serving: impl Fn(Router) -> DuplexStream) -> bool {
    let (app, _log) = app(&Arc::default());
    let http2 = connect(serving(app)).await;
    let mut sibling = open(&http2, "/echo").await;
    let mut stalled = Vec::new();
    let message = large();
    for _ in 0..streams {
        let mut peer = open(&http2, "/sleeping").await;
        for _ in 0..messages {
            peer.write(&message).await;
        }
        stalled.push(peer);
    }
    settle().await;
    siblings_live(&http2, &mut sibling).await
}

#[tokio::test(start_paused = true)]
async fn handlers_that_never_receive_leave_siblings_running() {
    assert!(stall(1, 512, served).await);
    assert!(stall(2, 512, served).await);
}

#[tokio::test(start_paused = true)]
async fn handlers_that_never_receive_leave_the_last_stream_running() {
    // Of 200 two are the siblings. What is sent is more than what is read ahead and the window.
    assert!(stall(198, 20, served).await);
}

/// Why the windows of `serve` differ from hyper's. The first stream leaves as much of the
/// connection's window as was read ahead on it.
#[tokio::test(start_paused = true)]
async fn handlers_that_never_receive_starve_siblings_with_the_windows_of_hyper() {
    assert!(!stall(2, 512, on_plain_hyper).await);
}

#[tokio::test(start_paused = true)]
async fn peer_that_never_reads_leaves_siblings_running() {
    let (app, _log) = app(&Arc::default());
    let http2 = connect(served(app)).await;
    let mut sibling = open(&http2, "/echo").await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        stalled.push(open(&http2, "/sending").await);
    }
    settle().await;
    assert!(siblings_live(&http2, &mut sibling).await);
    // The stalled ones are given up, `Config::write_timeout`, and their siblings live on.
    sleep(Duration::from_secs(15)).await;
    assert!(siblings_live(&http2, &mut sibling).await);
}
