//! A gateway between clients and upstreams, on real sockets.

mod ends;
mod failures;
mod promises;
mod requests;
mod spliced;
mod traffic;

use std::net::SocketAddr;

use axum::Router;
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::service_fn;
use tower_websocket::{
    Config, WebSocket, WebSocketLayer,
    client::{Client, HttpVersion},
    forward::Forward,
    handshake::key,
};

use crate::{
    session::support::Failure,
    support::{Http, http::Server, within},
};

/// A client that speaks this version.
fn client(http: Http) -> Client {
    Client::new().http_version(http.pick(HttpVersion::Http1, HttpVersion::Http2))
}

fn uri(address: SocketAddr, path: &str) -> String {
    format!("ws://{address}{path}")
}

/// A gateway to a server that is asked by this version.
fn to(address: SocketAddr, http: Http) -> Forward {
    Forward::to(uri(address, "/")).unwrap().client(client(http))
}

/// A server for all that a layer takes.
async fn served<H>(layer: WebSocketLayer<H>) -> Server
where
    H: tower::Service<Request<WebSocket>, Response = ()> + Clone + Send + Sync + 'static,
    H::Error: Into<tower::BoxError>,
    H::Future: Send + 'static,
{
    Server::start(Router::new().fallback_service(layer.endpoint())).await
}

async fn gateway(forward: Forward) -> Server {
    served(forward.layer()).await
}

/// A server that has a connection and the head of its request handled by `function`.
async fn upstream<F, Fut>(config: Config, function: F) -> Server
where
    F: Fn(http::request::Parts, WebSocket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let route = service_fn(move |request: Request<WebSocket>| {
        let (head, socket) = request.into_parts();
        let handled = function(head, socket);
        async move {
            handled.await;
            Ok::<_, Failure>(())
        }
    });
    served(WebSocketLayer::new(route).config(config)).await
}

/// Runs a test with every version on each side, each with a guard against hanging.
async fn on_all(mut test: impl AsyncFnMut(Http, Http)) {
    for here in [Http::One, Http::Two] {
        for there in [Http::One, Http::Two] {
            // Told only of a test that fails.
            println!("over {here:?} to {there:?}");
            within(test(here, there)).await;
        }
    }
}

/// Does so with messages that are passed on, and with bytes.
async fn on_all_ways(mut test: impl AsyncFnMut(Http, Http, bool)) {
    for end_to_end in [false, true] {
        println!("end to end: {end_to_end}");
        on_all(async |here, there| test(here, there, end_to_end).await).await;
    }
}

/// A server of HTTP/1.1 that answers one request with what is made of its head, and gives the connection.
async fn answering(
    answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, impl Future<Output = TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = answer(str::from_utf8(&head).unwrap());
        stream.write_all(&answer).await.unwrap();
        stream
    });
    (address, async { serving.await.unwrap() })
}

/// The right answer to a request, with more lines, each with its end.
fn accepting(head: &str, more: &str) -> String {
    let key = field(head, "sec-websocket-key").unwrap();
    let accept = key::accept(key.as_bytes());
    let accept = accept.to_str().unwrap();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// A field of a request.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let line = lines.find(|(field, _)| field.eq_ignore_ascii_case(name));
    line.map(|(_, value)| value)
}
