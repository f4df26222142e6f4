//! Clients that make the request with a library of their own: hyper as kube-client has it, hyper's connections, reqwest.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Version, header};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpStream;
use tower_websocket::{
    Compression, Config, WebSocket, WebSocketLayer,
    handshake::{client, deflate, extensions, key},
    protocol::Role,
};

use crate::support::{
    close, echo, echoes, handler,
    http::{KEY, Server},
    within,
};

/// A server that agrees on everything.
async fn server() -> Server {
    let config = Config::default()
        .subprotocols(["v4.channel.k8s.io"])
        .compression(Compression::dedicated().threshold(0));
    let layer = WebSocketLayer::new(handler(echo))
        .config(config)
        .path("/exec");
    Server::start(layer.endpoint()).await
}

/// The lines of a handshake over HTTP/1.1, as a client writes them that has no library for it.
fn by_hand(uri: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::get(uri).body(Empty::new()).unwrap();
    for (name, value) in LINES {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    request
}

const LINES: [(header::HeaderName, &str); 5] = [
    (header::CONNECTION, "Upgrade"),
    (header::UPGRADE, "websocket"),
    (header::SEC_WEBSOCKET_VERSION, "13"),
    (header::SEC_WEBSOCKET_KEY, KEY),
    (header::SEC_WEBSOCKET_PROTOCOL, "v4.channel.k8s.io"),
];

/// Has messages of several sizes echoed, and closes.
async fn converse(mut socket: WebSocket) {
    for size in [0, 1, 125, 126, 70_000, 1 << 20] {
        echoes(&mut socket, &"x".repeat(size)).await;
    }
    close(socket).await;
}

/// kube-client's way: hyper-util's client with its pool, the request and the check by hand.
#[tokio::test]
async fn client_of_hyper_util_upgrades_by_hand() {
    let server = server().await;
    within(async {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let uri = format!("http://{}/exec", server.address);
        let response = client.request(by_hand(&uri)).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers();
        assert_eq!(headers["sec-websocket-accept"], key::accept(KEY.as_bytes()));
        let protocol = headers["sec-websocket-protocol"]
            .to_str()
            .unwrap()
            .to_owned();
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        let session = WebSocket::over(TokioIo::new(upgraded), Role::Client);
        let socket = session.subprotocol(&*protocol).spawn().unwrap();
        assert_eq!(socket.subprotocol(), Some("v4.channel.k8s.io"));
        converse(socket).await;
    })
    .await;
}

/// The configuration of a client that offers all that the server takes.
fn config() -> Config {
    Config::default()
        .subprotocols(["v4.channel.k8s.io"])
        .compression(Compression::dedicated().threshold(0))
}

#[tokio::test]
async fn connection_of_hyper_over_http1_is_a_client() {
    let server = server().await;
    within(async {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let request = Request::get("ws://localhost/exec").body(Empty::<Bytes>::new());
        let (mut head, body) = request.unwrap().into_parts();
        let offer = client::offer(&mut head, &config()).unwrap();
        let request = Request::from_parts(head, body);
        let response = sender.send_request(request).await.unwrap();
        assert!(offer.is_accepted(response.status()));
        let (head, body) = response.into_parts();
        let accepted = offer.check(&head).unwrap();
        let response = http::Response::from_parts(head, body);
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        let session = WebSocket::over_upgraded(upgraded, Role::Client).config(config());
        let socket = session.negotiated(accepted).spawn().unwrap();
        assert!(socket.is_compressed());
        assert_eq!(socket.subprotocol(), Some("v4.channel.k8s.io"));
        converse(socket).await;
    })
    .await;
}

#[tokio::test]
async fn connection_of_hyper_over_http2_has_many_clients() {
    let server = server().await;
    within(async {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let connecting = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = connecting.await.unwrap();
        tokio::spawn(connection);
        let uri = format!("http://{}/exec", server.address);
        // `:protocol` may be sent once the server's SETTINGS came (RFC 8441 §3): with the first answer they have.
        let plain = Request::get(&uri)
            .version(Version::HTTP_2)
            .body(Empty::<Bytes>::new());
        let refused = sender.send_request(plain.unwrap()).await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let mut sockets = Vec::new();
        for _ in 0..3 {
            let request = Request::get(&uri)
                .version(Version::HTTP_2)
                .body(Empty::new());
            let (mut head, body) = request.unwrap().into_parts();
            let offer = client::offer(&mut head, &config()).unwrap();
            let websocket = hyper::ext::Protocol::from_static("websocket");
            head.extensions.insert(websocket);
            assert_eq!(head.method, Method::CONNECT);
            let request = Request::from_parts(head, body);
            let mut response = sender.send_request(request).await.unwrap();
            let upgrade = hyper::upgrade::on(&mut response);
            let accepted = offer.check(&response.into_parts().0).unwrap();
            let session = WebSocket::over_upgraded(upgrade.await.unwrap(), Role::Client);
            let session = session.config(config()).negotiated(accepted);
            sockets.push(session.spawn().unwrap());
        }
        for socket in sockets {
            assert!(socket.is_compressed());
            converse(socket).await;
        }
    })
    .await;
}

/// reqwest has the response and the stream; the extension is agreed on by `handshake::deflate` alone.
#[tokio::test]
async fn response_of_reqwest_becomes_a_client() {
    let server = server().await;
    within(async {
        let settings = Compression::dedicated().threshold(0);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.get(format!("http://{}/exec", server.address));
        for (name, value) in LINES {
            request = request.header(name, value);
        }
        let offer = deflate::offer(&settings);
        let request = request.header(header::SEC_WEBSOCKET_EXTENSIONS, offer);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let answered = extensions::parse(response.headers()).unwrap();
        let agreement = deflate::agree(&answered, Some(&settings)).unwrap();
        drop(answered);
        let peer = response.remote_addr();
        let upgraded = response.upgrade().await.unwrap();
        let session = WebSocket::over(upgraded, Role::Client)
            .config(Config::default().compression(settings))
            .deflate(agreement)
            .peer_addr(peer);
        let socket = session.spawn().unwrap();
        assert!(socket.is_compressed());
        assert_eq!(socket.peer_addr(), Some(server.address));
        converse(socket).await;
    })
    .await;
}
