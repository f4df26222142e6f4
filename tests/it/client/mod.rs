//! The client against servers on real sockets, and against peers in memory that misbehave.

mod answers;
mod cancellation;
mod connection;
mod deadlines;
mod hints;
mod http2_answers;
mod keep_alive;
mod large;
#[cfg(feature = "serve")]
mod last_words;
mod proxies;
mod reconnect;
mod requests;
mod roles;
mod stream_ends;
mod streams;
mod support;
mod tls;
mod ways;

use axum::{Router, routing::any};
use http::{Request, StatusCode, Version};
use tokio::net::TcpStream;
use tower_websocket::{
    Compression, Config, Error, WebSocket, WebSocketLayer,
    client::{self, Client, ConnectError, HttpVersion},
};

use crate::support::{Http, Log, close, echo, echoes, handler, http::Server, on_both, within};

/// An application with an echo, and a page beside it.
fn app() -> Router {
    let config = Config::default()
        .subprotocols(["chat.v1"])
        .compression(Compression::shared());
    let layer = WebSocketLayer::new(handler(echo)).config(config);
    Router::new()
        .route("/echo", any(async || "a page").layer(layer))
        .route("/page", any(async || "only a page"))
}

fn client_of(http: Http) -> Client {
    Client::new().http_version(http.pick(HttpVersion::Http1, HttpVersion::Http2))
}

fn uri(server: &Server, path: &str) -> String {
    format!("ws://{}{path}", server.address)
}

#[tokio::test]
async fn client_talks_to_a_server() {
    on_both(async |http| {
        let server = Server::start(app()).await;
        let mut socket = client_of(http)
            .connect(uri(&server, "/echo"))
            .await
            .unwrap();
        echoes(&mut socket, "hello").await;
        close(socket).await;
    })
    .await;
}

#[tokio::test]
async fn client_connects_with_one_line() {
    let server = Server::start(app()).await;
    let mut socket = client::connect(&uri(&server, "/echo")).await.unwrap();
    echoes(&mut socket, "hello").await;
    close(socket).await;
}

#[tokio::test]
async fn client_sees_the_answer_and_what_was_agreed_on() {
    on_both(async |http| {
        let server = Server::start(app()).await;
        let config = Config::default()
            .subprotocols(["chat.v2", "chat.v1"])
            .compression(Compression::shared());
        let client = client_of(http).config(config);
        let response = client.request(uri(&server, "/echo")).await.unwrap();
        assert_eq!(response.status(), http.accepted());
        assert_eq!(response.version(), http.version());
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v1");
        assert!(response.headers().contains_key("sec-websocket-extensions"));
        let mut socket = response.into_body();
        assert_eq!(socket.subprotocol(), Some("chat.v1"));
        echoes(&mut socket, &"compressed ".repeat(500)).await;
        close(socket).await;
    })
    .await;
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn both_ways_of_compression_are_agreed_on() {
    on_both(async |http| {
        for client in [Compression::shared(), Compression::dedicated()] {
            for server in [Compression::shared(), Compression::dedicated()] {
                let config = Config::default().compression(server);
                let (pen, mut ends) = Log::new();
                let layer = WebSocketLayer::new(handler(echo_compressed))
                    .config(config)
                    .on_end(move |report| pen.write(report.bytes_received));
                let app = Router::new().route("/", any(async || "").layer(layer));
                let server = Server::start(app).await;
                let config = Config::default().compression(client.clone());
                let client = client_of(http).config(config);
                let response = client.request(uri(&server, "/")).await.unwrap();
                let agreed = &response.headers()["sec-websocket-extensions"];
                assert!(agreed.to_str().unwrap().starts_with("permessage-deflate"));
                let mut socket = response.into_body();
                for size in [0, 1, 600, 5000, 100_000, 600] {
                    echoes(&mut socket, &"compressed ".repeat(size / 11)).await;
                }
                close(socket).await;
                let received = ends.next().await;
                assert!(received < 10_000, "{received} of 106,000 bytes");
            }
        }
    })
    .await;
}

/// An echo that looks at what waits to be written.
async fn echo_compressed(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        let len = message.len();
        socket.send(message).await?;
        // Nothing is written while the handler runs.
        let queued = socket.sender().queued_bytes();
        assert!(len < 512 || queued < len / 10, "{queued} of {len} bytes");
    }
    Ok(())
}

#[tokio::test]
async fn refusal_is_an_error_that_holds_the_response() {
    on_both(async |http| {
        let server = Server::start(app()).await;
        let error = client_of(http)
            .connect(uri(&server, "/nowhere"))
            .await
            .unwrap_err();
        assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
        let request = Request::get(uri(&server, "/echo"))
            .header("origin", "http://elsewhere.example")
            .body(())
            .unwrap();
        let error = client_of(http).connect(request).await.unwrap_err();
        let response = error.response().unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(!response.body().is_empty());
    })
    .await;
}

#[tokio::test]
async fn client_connects_over_a_stream_that_is_there() {
    on_both(async |http| {
        let server = Server::start(app()).await;
        let stream = TcpStream::connect(server.address).await.unwrap();
        let response = client_of(http)
            .request_over(stream, "ws://anywhere/echo")
            .await;
        let mut socket = response.unwrap().into_body();
        echoes(&mut socket, "hello").await;
        close(socket).await;
    })
    .await;
}

#[tokio::test]
async fn many_sockets_share_an_http2_connection() {
    let server = Server::start(app()).await;
    let connection = Client::new()
        .connect_http2(uri(&server, "/"))
        .await
        .unwrap();
    let mut sockets: Vec<WebSocket> = Vec::new();
    for _ in 0..50 {
        sockets.push(connection.connect("/echo").await.unwrap());
    }
    for (n, socket) in sockets.iter_mut().enumerate() {
        echoes(socket, &n.to_string()).await;
    }
    drop(connection);
    for mut socket in sockets {
        echoes(&mut socket, "still here").await;
        within(close(socket)).await;
    }
}

#[tokio::test]
async fn server_without_extended_connect_is_told_apart() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let server = tokio::spawn(async {
        let mut connection = h2::server::handshake(theirs).await.unwrap();
        while connection.accept().await.is_some() {}
    });
    let client = Client::new().http_version(HttpVersion::Http2);
    let error = within(client.request_over(ours, "ws://localhost/"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::NoExtendedConnect),
        "{error:?}"
    );
    within(server).await.unwrap();
    assert_eq!(Version::HTTP_2, Http::Two.version());
}
