//! How connections ended that no layer sees.

use std::{convert::Infallible, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    sync::oneshot,
    time::sleep,
};
use tower::service_fn;
use tower_websocket::{
    serve,
    serve::{ConnectionEnd, PerConnection, Serve},
    session::Drain,
};

use super::{
    app, certificates, echoes,
    support::{Dialer, Memory, PREFACE, memory},
};
use crate::support::{
    Http, Log,
    http::{Ask, Http2, Peer},
    within,
};

/// A server of this application that writes down how each connection ended.
fn server(app: Router) -> (Serve<Memory, Router>, Dialer, Log<String>) {
    let (pen, log) = Log::new();
    let (listener, dialer) = memory();
    let serving = serve(listener, app).on_connection_end(move |report| {
        let end = match &report.end {
            ConnectionEnd::Tls(_) => "Tls".to_owned(),
            ConnectionEnd::Http(_) => "Http".to_owned(),
            end => format!("{end:?}"),
        };
        assert_eq!(
            report.end.error().is_some(),
            matches!(&*end, "Tls" | "Http")
        );
        pen.write(format!("{end} {}", report.lasted.as_secs()));
    });
    (serving, dialer, log)
}

async fn say(dialer: &Dialer, bytes: &[u8]) -> DuplexStream {
    let mut stream = dialer.dial();
    stream.write_all(bytes).await.unwrap();
    stream
}

#[tokio::test(start_paused = true)]
async fn each_connection_is_told_of_once() {
    let (serving, dialer, mut log) = server(app());
    let serving = serving.keep_alive_timeout(Duration::from_secs(30));
    tokio::spawn(serving.into_future());
    let plain = Ask::plain(Http::One, "/echo").bytes();
    let mut log_of = async |stream| {
        let end = within(log.next()).await;
        drop(stream);
        sleep(Duration::from_secs(60)).await;
        end
    };
    // The client says nothing, too little, and nothing more.
    assert_eq!(
        log_of(say(&dialer, b"").await).await,
        "Timeout(NoRequest) 10"
    );
    let begun = say(&dialer, b"GET / HTTP/1.1\r\n").await;
    assert_eq!(log_of(begun).await, "Timeout(Head) 10");
    assert_eq!(log_of(say(&dialer, &plain).await).await, "Timeout(Idle) 30");
    // It speaks no HTTP, and goes away in the middle.
    assert_eq!(
        log_of(say(&dialer, b"SSH-2.0-x\r\n\r\n").await).await,
        "Http 0"
    );
    let nonsense = [PREFACE, b"nonsense that is no frame"].concat();
    assert_eq!(log_of(say(&dialer, &nonsense).await).await, "Http 0");
    let mut begun = say(&dialer, b"GET / HTTP/1.1\r\n").await;
    begun.shutdown().await.unwrap();
    assert_eq!(log_of(begun).await, "Http 0");
    // All is well.
    let last = Ask::plain(Http::One, "/echo").header("connection", "close");
    assert_eq!(log_of(say(&dialer, &last.bytes()).await).await, "Closed 0");
    let http2 = Http2::connect(dialer.dial()).await;
    let answer = http2.send(Ask::handshake(Http::Two, "/echo")).await;
    echoes(answer.opened(Http::Two)).await;
    drop(http2);
    assert_eq!(within(log.next()).await, "Closed 0");
    // Over HTTP/1.1 a WebSocket goes on, and tells of its own end.
    let mut peer = Peer::over(dialer.dial());
    peer.write(&Ask::handshake(Http::One, "/echo").bytes())
        .await;
    let mut peer = peer.answer().await.opened(Http::One);
    assert_eq!(within(log.next()).await, "Upgraded 0");
    peer.echoes("on").await;
    peer.close().await;
    sleep(Duration::from_secs(60)).await;
    assert!(log.is_empty());
}

#[tokio::test]
async fn websocket_over_tcp_is_upgraded_too() {
    let (pen, mut log) = Log::new();
    let serving = serve("127.0.0.1:0", app()).on_connection_end(move |report| {
        pen.write(format!("{:?} {:?}", report.peer, report.end));
    });
    let serving = serving.bind().await.unwrap();
    let address = serving.local_addr().unwrap();
    tokio::spawn(serving.into_future());
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let ours = stream.local_addr().unwrap();
    let mut peer = Peer::over(stream);
    peer.write(&Ask::handshake(Http::One, "/echo").bytes())
        .await;
    let mut peer = within(peer.answer()).await.opened(Http::One);
    within(peer.echoes("on")).await;
    assert_eq!(within(log.next()).await, format!("Some({ours}) Upgraded"));
}

#[tokio::test(start_paused = true)]
async fn failed_tls_is_told_of() {
    let (serving, dialer, mut log) = server(app());
    let (config, _) = certificates(&[], &[]);
    tokio::spawn(serving.tls(config).into_future());
    let plain = say(&dialer, &Ask::plain(Http::One, "/echo").bytes()).await;
    assert_eq!(within(log.next()).await, "Tls 0");
    let silent = say(&dialer, b"").await;
    assert_eq!(within(log.next()).await, "Timeout(TlsHandshake) 10");
    drop((plain, silent));
}

#[tokio::test(start_paused = true)]
async fn panic_and_a_stop_are_told_of() {
    async fn panics() {
        panic!("as ordered");
    }
    async fn hangs() {
        std::future::pending().await
    }
    let router = Router::new()
        .route("/panic", get(panics))
        .route("/hang", get(hangs));
    let (serving, dialer, mut log) = server(router);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = serving.drain(Drain::default().timeout(Duration::from_secs(5)));
    let serving = serving.graceful_shutdown(async {
        let _told = stopped.await;
    });
    let serving = tokio::spawn(serving.into_future());
    let panicked = say(&dialer, &Ask::plain(Http::One, "/panic").bytes()).await;
    assert_eq!(within(log.next()).await, "Panicked 0");
    let hanging = say(&dialer, &Ask::plain(Http::One, "/hang").bytes()).await;
    sleep(Duration::from_secs(1)).await;
    stop.send(()).unwrap();
    assert_eq!(within(log.next()).await, "Aborted 6");
    within(serving).await.unwrap().unwrap();
    drop((panicked, hanging));
}

#[tokio::test(start_paused = true)]
async fn maker_of_services_that_waits_is_ended_by_the_stop_and_by_the_deadline() {
    let (pen, mut log) = Log::new();
    let (listener, dialer) = memory();
    let make = service_fn(async |()| std::future::pending::<Result<Router, Infallible>>().await);
    let serving = serve(listener, PerConnection(make)).on_connection_end(move |report| {
        let end = match &report.end {
            ConnectionEnd::Service(error) => format!("{:?}", error.kind()),
            end => format!("{end:?}"),
        };
        pen.write(format!("{end} {}", report.lasted.as_secs()));
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(
        serving
            .graceful_shutdown(async { stopped.await.unwrap() })
            .into_future(),
    );
    let first = dialer.dial();
    assert_eq!(within(log.next()).await, "TimedOut 10");
    let second = dialer.dial();
    sleep(Duration::from_secs(3)).await;
    stop.send(()).unwrap();
    assert_eq!(within(log.next()).await, "Closed 3");
    let stopped = within(serving).await.unwrap().unwrap();
    assert_eq!(
        (stopped.connections.ended, stopped.connections.aborted),
        (1, 0)
    );
    drop((first, second));
}
