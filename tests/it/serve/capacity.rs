//! A limit of the connections that a server has.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
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
