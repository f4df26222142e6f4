//! Streams of the application's own, and how TCP is made.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr},
    task::{Context, Poll},
};

use http::{Uri, Version};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
};
use tower::{Service, ServiceExt, service_fn};
use tower_websocket::client::{Client, ConnectError, HttpVersion};

use super::{
    app, client_of,
    support::served,
    tls::{self, BOTH},
};
use crate::support::{Log, Pen, close, echoes, http::Server, on_both, within};

/// Connects to an application in memory, once it is ready.
#[derive(Clone)]
struct Memory {
    pen: Pen<String>,
    ready: bool,
}

impl Service<Uri> for Memory {
    type Response = DuplexStream;
    type Error = Infallible;
    type Future = std::future::Ready<Result<DuplexStream, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if std::mem::replace(&mut self.ready, true) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        assert!(self.ready, "it was not asked whether it is ready");
        self.pen.write(uri.to_string());
        std::future::ready(Ok(served(app())))
    }
}

#[tokio::test(start_paused = true)]
async fn connector_makes_the_streams_once_it_is_ready() {
    on_both(async |http| {
        let (pen, mut log) = Log::new();
        let client = client_of(http).connector(Memory { pen, ready: false });
        for _ in 0..2 {
            let mut socket = client.connect("ws://nowhere.example/echo").await.unwrap();
            echoes(&mut socket, "hello").await;
            close(socket).await;
            assert_eq!(log.next().await, "http://nowhere.example:80/");
        }
        let mut sessions = client.reconnect("ws://nowhere.example:7/echo");
        let session = within(sessions.next()).await.unwrap().unwrap();
        close(session.socket).await;
        assert_eq!(log.next().await, "http://nowhere.example:7/");
        let connection = client.connect_http2("ws://nowhere.example").await.unwrap();
        close(connection.connect("/echo").await.unwrap()).await;
        assert_eq!(log.next().await, "http://nowhere.example:80/");
        // Where it leads, it knows alone.
        let client = client.connection_info(true);
        let socket = client.connect("ws://nowhere.example/echo").await.unwrap();
        assert_eq!(socket.info().unwrap().peer_addr(), None);
        close(socket).await;
    })
    .await;
}

#[tokio::test]
async fn connector_of_hyper_is_one_and_tls_is_done_over_it() {
    let server = tls::Server::start(BOTH, true).await;
    let (pen, mut log) = Log::new();
    // One that takes no `https`, as by default.
    let connector = HttpConnector::new()
        .map_response(TokioIo::into_inner)
        .map_request(move |uri: Uri| {
            pen.write(uri.to_string());
            uri
        });
    for version in [
        HttpVersion::Http1,
        HttpVersion::Http2,
        HttpVersion::Negotiated,
    ] {
        let client = server.client(version).connector(connector.clone());
        let response = within(client.request(server.uri("localhost")))
            .await
            .unwrap();
        assert_eq!(
            response.version() == Version::HTTP_2,
            version != HttpVersion::Http1
        );
        let mut socket = response.into_body();
        echoes(&mut socket, "hello").await;
        close(socket).await;
        let expected = format!("http://localhost:{}/", server.address.port());
        assert_eq!(log.next().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_secured_get_no_tls() {
    on_both(async |http| {
        let (pen, mut log) = Log::new();
        let client = client_of(http).secured(true);
        let mut socket = client
            .connect_over(served(app()), "wss://server/echo")
            .await
            .unwrap();
        echoes(&mut socket, "hello").await;
        close(socket).await;
        let connection = client.connect_http2_over(served(app()), "wss://server/");
        close(connection.await.unwrap().connect("/echo").await.unwrap()).await;
        let client = client.connector(Memory { pen, ready: false });
        close(client.connect("wss://server/echo").await.unwrap()).await;
        assert_eq!(log.next().await, "https://server:443/");
    })
    .await;
}

#[tokio::test]
async fn plain_tcp_and_a_proxys_way_are_never_taken_for_secured() {
    let server = Server::start(app()).await;
    let client = Client::new().secured(true);
    let uri = format!("wss://{}/echo", server.address);
    let error = within(client.connect(&uri)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn failure_of_a_connector_is_one_to_connect() {
    for (kind, temporary) in [
        (io::ErrorKind::ConnectionRefused, true),
        (io::ErrorKind::Unsupported, false),
    ] {
        let connector = service_fn(move |_: Uri| {
            let error: Result<DuplexStream, tower::BoxError> =
                Err(io::Error::new(kind, "no way").into());
            std::future::ready(error)
        });
        let client = Client::new().connector(connector);
        let error = client.connect("ws://server/").await.unwrap_err();
        let ConnectError::Connect(below) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(
            (below.kind(), below.to_string()),
            (kind, "no way".to_owned())
        );
        assert_eq!(error.is_temporary(), temporary);
    }
}

#[tokio::test]
async fn tls_is_done_over_a_stream_for_wss() {
    let server = tls::Server::start(BOTH, true).await;
    for version in [
        HttpVersion::Http1,
        HttpVersion::Http2,
        HttpVersion::Negotiated,
    ] {
        let client = server.client(version);
        let stream = TcpStream::connect(server.address).await.unwrap();
        // The name is that of the certificate, and leads nowhere.
        let response = within(client.request_over(stream, "wss://localhost:1/"))
            .await
            .unwrap();
        assert_eq!(
            response.version() == Version::HTTP_2,
            version != HttpVersion::Http1
        );
        let mut socket = response.into_body();
        echoes(&mut socket, "hello").await;
        close(socket).await;
        let stream = TcpStream::connect(server.address).await.unwrap();
        let connection = client
            .connect_http2_over(stream, "wss://localhost/")
            .await
            .unwrap();
        close(connection.connect("/").await.unwrap()).await;
        let stream = TcpStream::connect(server.address).await.unwrap();
        let error = within(client.connect_over(stream, "wss://elsewhere.example/")).await;
        let error = error.unwrap_err();
        assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
    }
    // Without TLS it is as before.
    let stream = TcpStream::connect(server.address).await.unwrap();
    let error = within(Client::new().connect_over(stream, "ws://localhost/")).await;
    assert!(matches!(error.unwrap_err(), ConnectError::Io(_)));
}

/// All of 127.0.0.0/8 is this machine.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn address_to_connect_from_is_chosen() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("ws://{}/", listener.local_addr().unwrap());
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let client = Client::new().local_address(from);
    let connecting = tokio::spawn(async move { client.connect(uri).await });
    let (_stream, address) = within(listener.accept()).await.unwrap();
    assert_eq!(address.ip(), from);
    connecting.abort();
}
