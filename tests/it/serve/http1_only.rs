//! Without the feature `http2`.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tower_websocket::{Config, serve};

use super::{
    app, certificates, echoes, start,
    support::{PREFACE, memory},
};
use crate::support::{
    Http,
    http::{Ask, Peer},
    within,
};

#[tokio::test]
async fn http1_clients_are_served() {
    let server = start(app()).await;
    let answer = within(Ask::handshake(Http::One, "/echo").send(&server)).await;
    within(echoes(answer.opened(Http::One))).await;
}

#[tokio::test(start_paused = true)]
async fn http2_clients_are_refused() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    let mut stream = dialer.dial();
    stream.write_all(PREFACE).await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(1), stream.read_to_end(&mut answer));
    ended.await.expect("at once").unwrap();
    // No SETTINGS, which is what HTTP/2 begins with.
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn http2_clients_are_not_accepted() {
    let (mut ours, theirs) = tokio::io::duplex(64 << 10);
    ours.write_all(PREFACE).await.unwrap();
    let accepted = timeout(
        Duration::from_secs(1),
        serve::accept(theirs, Config::default()),
    );
    assert!(accepted.await.expect("at once").is_err());
}

#[tokio::test(start_paused = true)]
async fn tls_offers_http1_alone() {
    let (config, connector) = certificates(&[], &[b"h2", b"http/1.1"]);
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).tls(config).into_future());
    let name = "localhost".try_into().unwrap();
    let stream = within(connector.connect(name, dialer.dial()))
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut peer = Peer::over(stream);
    peer.write(&Ask::handshake(Http::One, "/echo").bytes())
        .await;
    let answer = within(peer.answer()).await;
    within(echoes(answer.opened(Http::One))).await;
}
