//! A limit of the connections that a server has.

use std::time::Duration;

use axum::{Router, body::Body, extract::Request, response::Response, routing::any};
use http::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    time::timeout,
};
use tower_websocket::serve;

use super::{
    app, certificates,
    support::{Dialer, PREFACE, memory, raw_frame},
};
use crate::support::{
    Http,
    http::{Ask, Http2, Peer},
    on_both, within,
};

/// A WebSocket, and what has to be kept for it.
async fn open(dialer: &Dialer, http: Http) -> (Peer, Option<Http2>) {
    if http == Http::Two {
        let http2 = Http2::connect(dialer.dial()).await;
        let answer = http2.send(Ask::handshake(http, "/echo")).await;
        return (answer.opened(http), Some(http2));
    }
    let mut peer = Peer::over(dialer.dial());
    peer.write(&Ask::handshake(http, "/echo").bytes()).await;
    (peer.answer().await.opened(http), None)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_accepted_at_the_limit_until_a_connection_ends() {
    on_both(async |http| {
        let (listener, dialer) = memory();
        tokio::spawn(serve(listener, app()).max_connections(2).into_future());
        let mut first = open(&dialer, http).await;
        let mut second = open(&dialer, http).await;
        let request = match http {
            Http::One => Ask::handshake(http, "/echo").bytes(),
            Http::Two => [PREFACE, &raw_frame(4, 0, 0, b"")].concat(),
        };
        let mut third = dialer.dial();
        third.write_all(&request).await.unwrap();
        let mut answer = [0; 1];
        let nothing = timeout(Duration::from_secs(1), third.read(&mut answer));
        assert!(nothing.await.is_err());
        first.0.echoes("still there").await;
        second.0.echoes("so am I").await;
        drop(first);
        // It was not lost.
        within(third.read_exact(&mut answer)).await.unwrap();
        second.0.echoes("I still am").await;
        drop((second, third));
        open(&dialer, http).await.0.echoes("there is room").await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn place_of_what_was_no_websocket_is_free_again() {
    let (listener, dialer) = memory();
    let (config, _) = certificates(&[], &[]);
    let serving = serve(listener, app()).max_connections(1).tls(config);
    tokio::spawn(serving.into_future());
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"", b"\x16\x03\x01"] {
        let mut stream = dialer.dial();
        stream.write_all(said).await.unwrap();
        let mut peer = Peer::over(stream);
        // An alert of TLS, if anything.
        within(peer.rest()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn server_at_its_limit_stops_when_it_should() {
    let (listener, dialer) = memory();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = serve(listener, app()).max_connections(1);
    let serving = serving.graceful_shutdown(async {
        let _told = stopped.await;
    });
    let serving = tokio::spawn(serving.into_future());
    let (mut peer, _) = open(&dialer, Http::One).await;
    stop.send(()).unwrap();
    assert_eq!(peer.closed().await.0, 1001);
    let stopped = within(serving).await.unwrap().unwrap();
    assert_eq!(stopped.websockets.ended, 1);
}

#[tokio::test(start_paused = true)]
async fn upgrade_that_is_no_websocket_of_ours_has_its_place_until_it_ends() {
    async fn raw(mut request: Request) -> Response {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let _ended = copy(&mut stream, &mut sink()).await;
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        let response = response.header("connection", "upgrade");
        response
            .header("upgrade", "raw")
            .body(Body::empty())
            .unwrap()
    }
    let (listener, dialer) = memory();
    let app = Router::new().route("/", any(raw));
    tokio::spawn(serve(listener, app).max_connections(1).into_future());
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n";
    let mut first = dialer.dial();
    first.write_all(request).await.unwrap();
    let mut answer = [0; 12];
    within(first.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    let mut second = dialer.dial();
    second.write_all(request).await.unwrap();
    let nothing = timeout(Duration::from_secs(1), second.read_exact(&mut answer));
    assert!(nothing.await.is_err());
    drop(first);
    within(second.read_exact(&mut answer)).await.unwrap();
}
