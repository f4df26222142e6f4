//! A server that stops in good order.

use std::{convert::Infallible, future::pending, io, time::Duration};

use axum::{
    Router,
    routing::{any, get},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::service_fn;
use tower_websocket::{
    Connections, WebSocket, WebSocketLayer, endpoint, serve::Stopped, session::Drain,
};

use super::{
    app, certificates, echoes,
    support::{Dialer, memory},
};
use crate::support::{
    Http, Log, Pen, echo, handler,
    http::{Ask, Http2, Peer},
    on_both, within,
};

/// A server that a test stops.
pub(super) struct Serving {
    dialer: Dialer,
    signal: oneshot::Sender<()>,
    task: JoinHandle<io::Result<Stopped>>,
}

impl Serving {
    pub(super) fn start(app: Router) -> Self {
        let (listener, dialer) = memory();
        let (signal, stop) = oneshot::channel();
        let server = tower_websocket::serve(listener, app)
            .drain(Drain::default().timeout(Duration::from_secs(10)))
            .graceful_shutdown(async {
                let _stop: Result<(), _> = stop.await;
            });
        Self {
            dialer,
            signal,
            task: tokio::spawn(server.into_future()),
        }
    }

    pub(super) async fn open(&self, http: Http, path: &str) -> Peer {
        let answer = self.ask(Ask::handshake(http, path), http).await;
        answer.opened(http)
    }

    async fn ask(&self, ask: Ask, http: Http) -> crate::support::http::Answer {
        let stream = self.dialer.dial();
        if http == Http::Two {
            return within(Http2::connect(stream).await.send(ask)).await;
        }
        let mut peer = Peer::over(stream);
        peer.write(&ask.bytes()).await;
        within(peer.answer()).await
    }

    /// Stops it. What it says in the end, and how long that took.
    pub(super) async fn stop(self) -> (Stopped, Duration) {
        let start = Instant::now();
        self.signal.send(()).unwrap();
        let stopped = within(self.task).await.unwrap().unwrap();
        assert!(self.dialer.is_closed(), "it does not listen any more");
        (stopped, start.elapsed())
    }
}

/// Answers the Close that has to come, and sees the end.
pub(super) async fn say_goodbye(mut peer: Peer) {
    let (opcode, payload) = peer.frame().await.unwrap();
    assert_eq!((opcode, &payload[..2]), (8, &1001u16.to_be_bytes()[..]));
    peer.send(8, &payload).await;
    assert_eq!(peer.frame().await, None);
    peer.end().await;
}

#[tokio::test(start_paused = true)]
async fn websockets_of_both_versions_are_closed_with_1001() {
    let serving = Serving::start(app());
    let mut goodbyes = Vec::new();
    for http in [Http::One, Http::Two, Http::One] {
        let mut peer = serving.open(http, "/echo").await;
        peer.send(1, b"hello").await;
        assert_eq!(within(peer.frame()).await, Some((1, "hello".into())));
        goodbyes.push(tokio::spawn(say_goodbye(peer)));
    }
    let (stopped, time) = serving.stop().await;
    assert_eq!(stopped.websockets.ended, 3, "{stopped:?}");
    assert_eq!(stopped.websockets.aborted, 0);
    assert_eq!(stopped.connections.ended, 1, "{stopped:?}");
    assert_eq!(stopped.connections.aborted, 0);
    assert!(time < Duration::from_secs(1), "{time:?}");
    for goodbye in goodbyes {
        within(goodbye).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_answer_the_close_is_not_waited_for_longer_than_that() {
    on_both(async |http| {
        let serving = Serving::start(app());
        let _silent = serving.open(http, "/echo").await;
        let (stopped, time) = serving.stop().await;
        assert_eq!(stopped.websockets.ended, 1, "{stopped:?}");
        assert_eq!(stopped.connections.aborted, 0, "{stopped:?}");
        // `Config::close_timeout`, and on HTTP/1.1 `Config::linger`.
        let seconds = time.as_secs_f32();
        assert!((4.9..7.1).contains(&seconds), "{seconds} s");
    })
    .await;
}

/// Tells when it is dropped.
struct Witness(Pen<()>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.write(());
    }
}

/// A handler that never ends by itself, and the log of its drops.
fn stuck() -> (Router, Log<()>) {
    let (pen, log) = Log::new();
    let stuck = move |socket: WebSocket| {
        let witness = Witness(pen.clone());
        async move {
            let _alive = (socket, witness);
            pending::<()>().await;
        }
    };
    let route = endpoint(handler(stuck));
    (Router::new().route_service("/stuck", route), log)
}

#[tokio::test(start_paused = true)]
async fn stuck_handlers_are_aborted_at_the_deadline() {
    on_both(async |http| {
        let (app, mut dropped) = stuck();
        let serving = Serving::start(app);
        let _peer = serving.open(http, "/stuck").await;
        let (stopped, time) = serving.stop().await;
        dropped.next().await;
        assert_eq!(stopped.websockets.ended, 0, "{stopped:?}");
        assert_eq!(stopped.websockets.aborted, 1, "{stopped:?}");
        assert!(time >= Duration::from_secs(10), "{time:?}");
        assert!(time <= Duration::from_secs(12), "{time:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn registry_that_a_layer_has_of_its_own_is_drained_too() {
    on_both(async |http| {
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(echo)).connections(&connections);
        let serving = Serving::start(Router::new().route("/own", any(async || "").layer(layer)));
        let goodbye = tokio::spawn(say_goodbye(serving.open(http, "/own").await));
        assert_eq!(connections.len(), 1);
        let (stopped, time) = serving.stop().await;
        assert_eq!(stopped.websockets.ended, 1, "{stopped:?}");
        assert!(time < Duration::from_secs(1), "{time:?}");
        assert!(connections.is_draining());
        within(goodbye).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connections_of_a_server_see_the_websockets_of_its_layers() {
    let connections = Connections::new();
    let (listener, dialer) = memory();
    let serving = tower_websocket::serve(listener, app()).connections(&connections);
    tokio::spawn(serving.into_future());
    let mut peer = Peer::over(dialer.dial());
    peer.write(&Ask::handshake(Http::One, "/echo").bytes())
        .await;
    let peer = within(peer.answer()).await.opened(Http::One);
    assert_eq!(connections.len(), 1);
    let sender = connections.iter().next().unwrap();
    sender.send("from outside").await.unwrap();
    let mut peer = peer;
    let frame = within(peer.frame()).await;
    assert_eq!(frame, Some((1, "from outside".into())));
}

/// A page that takes that long.
fn slow(time: Duration) -> Router {
    let page = move || async move {
        sleep(time).await;
        "done"
    };
    Router::new().route("/", get(page))
}

/// Asks for the page, on a connection of its own; the body of the response, as far as it comes.
async fn ask(stream: DuplexStream, http: Http) -> Option<String> {
    let ask = Ask::plain(http, "/");
    if http == Http::Two {
        let http2 = Http2::connect(stream).await;
        let answer = http2.try_send(ask).await;
        return answer.ok().map(|answer| answer.text().to_owned());
    }
    let mut peer = Peer::over(stream);
    peer.write(&ask.bytes()).await;
    let response = peer.rest().await;
    let response = str::from_utf8(&response).unwrap();
    let body = response.rsplit("\r\n\r\n").next();
    body.map(str::to_owned).filter(|body| !body.is_empty())
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_there_are_finished() {
    on_both(async |http| {
        let serving = Serving::start(slow(Duration::from_secs(5)));
        let asking = tokio::spawn(ask(serving.dialer.dial(), http));
        sleep(Duration::from_secs(1)).await;
        let (stopped, time) = serving.stop().await;
        assert_eq!(stopped.connections.ended, 1, "{stopped:?}");
        assert_eq!(stopped.connections.aborted, 0);
        assert!(time <= Duration::from_secs(5), "{time:?}");
        assert_eq!(within(asking).await.unwrap().as_deref(), Some("done"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_take_too_long_are_aborted() {
    on_both(async |http| {
        let serving = Serving::start(slow(Duration::from_secs(1000)));
        let asking = tokio::spawn(ask(serving.dialer.dial(), http));
        sleep(Duration::from_secs(1)).await;
        let (stopped, time) = serving.stop().await;
        assert_eq!(stopped.connections.ended, 0, "{stopped:?}");
        assert_eq!(stopped.connections.aborted, 1);
        assert!(time >= Duration::from_secs(10), "{time:?}");
        assert!(time <= Duration::from_secs(12), "{time:?}");
        assert_eq!(within(asking).await.unwrap(), None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn idle_connections_end_at_once() {
    let serving = Serving::start(app());
    let silent = serving.dialer.dial();
    let mut half = serving.dialer.dial();
    half.write_all(b"PRI * HTTP").await.unwrap();
    let mut kept = serving.dialer.dial();
    kept.write_all(&Ask::plain(Http::One, "/echo").bytes())
        .await
        .unwrap();
    let mut response = [0; 4096];
    assert_ne!(within(kept.read(&mut response)).await.unwrap(), 0);
    let http2 = within(Http2::connect(serving.dialer.dial())).await;
    let (stopped, time) = serving.stop().await;
    assert_eq!(stopped.connections.ended, 4, "{stopped:?}");
    assert_eq!(stopped.connections.aborted, 0);
    assert_eq!(time, Duration::ZERO);
    for mut stream in [silent, half, kept] {
        assert_eq!(within(stream.read(&mut response)).await.unwrap(), 0);
    }
    drop(http2);
}

#[tokio::test(start_paused = true)]
async fn connection_in_the_tls_handshake_ends_at_once() {
    let (config, _) = certificates(&[], &[]);
    let (listener, dialer) = memory();
    let serving = tower_websocket::serve(listener, app())
        .tls(config)
        .graceful_shutdown(sleep(Duration::from_secs(1)));
    let mut stream = dialer.dial();
    stream.write_all(&[0x16, 3, 1, 1, 0]).await.unwrap();
    let start = Instant::now();
    let stopped = within(serving.into_future()).await.unwrap();
    assert_eq!(stopped.connections.ended, 1, "{stopped:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn connections_go_on_when_the_server_is_dropped() {
    on_both(async |http| {
        let serving = Serving::start(app());
        let peer = serving.open(http, "/echo").await;
        serving.task.abort();
        assert!(within(serving.task).await.unwrap_err().is_cancelled());
        assert!(serving.dialer.is_closed());
        sleep(Duration::from_millis(10)).await;
        echoes(peer).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn tunnel_that_is_no_websocket_is_aborted_at_the_deadline() {
    // Upgraded by the application itself: hyper waits for it on HTTP/2, and no registry knows it.
    let tunnel = service_fn(async |mut request: axum::extract::Request| {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let _open = upgrade.await;
            pending::<()>().await;
        });
        Ok::<_, Infallible>(axum::response::Response::new(axum::body::Body::empty()))
    });
    let serving = Serving::start(Router::new().fallback_service(tunnel));
    let ask = Ask::handshake(Http::Two, "/").protocol("other");
    let _answer = serving.ask(ask, Http::Two).await;
    let (stopped, time) = serving.stop().await;
    assert_eq!(stopped.connections.aborted, 1, "{stopped:?}");
    assert!(time <= Duration::from_secs(12), "{time:?}");
}
