//! Blocking sockets on real ones, each in a thread of its own, against the asynchronous server and client.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{Router, routing::any};
use tokio::task::spawn_blocking;
use tower_websocket::{
    CloseCode, CloseFrame, Compression, Config, Error, Message, WebSocketLayer, blocking, handler,
};

use crate::support::{echo, http::Server, within};

type Socket = blocking::WebSocket<TcpStream>;

/// Settings with which messages are compressed, and limits that the longest message just keeps.
fn config(compression: Option<Compression>) -> Config {
    Config::default()
        .subprotocols(["chat.v1"])
        .max_message_size(LONGEST)
        .compression(compression)
}

fn compressions() -> [Option<Compression>; 3] {
    let dedicated = Compression::dedicated().threshold(0);
    [
        None,
        Some(Compression::shared().threshold(0)),
        Some(dedicated),
    ]
}

fn messages() -> Vec<Message> {
    let bytes: Vec<u8> = (0..LONGEST).map(|n| (n * n / 7) as u8).collect();
    let lens = [0, 1, 125, 126, 65_535, 65_536, LONGEST];
    let mut messages: Vec<Message> = lens.map(|len| bytes[..len].into()).into();
    messages.extend(["", "Hello", "Hello", "ä€😀"].map(Message::text));
    messages
}

/// A stream that nobody waits for longer than a test may take.
fn prepared(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

fn connect(address: SocketAddr, path: &str, config: &Config) -> Socket {
    let stream = prepared(TcpStream::connect(address).unwrap());
    blocking::connect(stream, format!("ws://{address}{path}"), config).unwrap()
}

/// A blocking server of one connection, and what came of it.
fn serve<T: Send + 'static>(
    config: Config,
    serve: impl FnOnce(Socket) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        serve(blocking::accept(prepared(stream), &config).unwrap())
    });
    (address, thread)
}

/// Sends back what comes; returns the peer's Close frame once the stream is dropped, for which clients wait.
fn echo_blocking(mut socket: Socket) -> Result<CloseFrame, Error> {
    while let Some(message) = socket.recv()? {
        socket.send(message)?;
    }
    Ok(socket.received_close().unwrap().clone())
}

fn converse(socket: &mut Socket) {
    for message in messages() {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.recv().unwrap(), Some(message));
    }
    socket.ping(b"are you there").unwrap();
    socket.send("last").unwrap();
    assert_eq!(socket.recv().unwrap(), Some(Message::text("last")));
    socket.close((CloseCode::NORMAL, "done")).unwrap();
    assert_eq!(socket.received_close().unwrap().code(), CloseCode::NORMAL);
    assert_eq!(socket.recv().unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_client_talks_to_a_server() {
    for compression in compressions() {
        let layer = WebSocketLayer::new(handler(echo)).config(config(compression.clone()));
        let app = Router::new().route("/echo", any(async || "a page").layer(layer));
        let server = Server::start(app).await;
        let address = server.address;
        let talk = spawn_blocking(move || {
            let mut socket = connect(address, "/echo", &config(compression));
            assert_eq!(socket.subprotocol(), Some("chat.v1"));
            converse(&mut socket);
        });
        within(talk).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_client_is_told_what_refused_it() {
    let app = Router::new().route("/page", any(async || "only a page"));
    let server = Server::start(app).await;
    let address = server.address;
    let refused = spawn_blocking(move || {
        let stream = prepared(TcpStream::connect(address).unwrap());
        let uri = format!("ws://{address}/page");
        let error = blocking::connect(stream, uri, &Config::default()).unwrap_err();
        let response = error.response().unwrap();
        (response.status().as_u16(), response.body().clone())
    });
    let (status, body) = within(refused).await.unwrap();
    assert_eq!((status, &body[..]), (200, &b"only a page"[..]));
}

#[test]
fn blocking_client_talks_to_a_blocking_server() {
    for compression in compressions() {
        let (address, server) = serve(config(compression.clone()), echo_blocking);
        converse(&mut connect(address, "/", &config(compression)));
        assert_eq!(server.join().unwrap().unwrap().reason(), "done");
    }
}

#[test]
fn a_client_that_vanishes_ends_the_server() {
    let (address, server) = serve(Config::default(), echo_blocking);
    drop(connect(address, "/", &Config::default()));
    let error = server.join().unwrap().unwrap_err();
    assert!(error.is_disconnect(), "{error:?}");
}

#[test]
fn what_is_wrong_is_told_with_its_code_though_more_was_sent() {
    let config = Config::default().max_message_size(1000);
    let (address, server) = serve(config, echo_blocking);
    let mut client = connect(address, "/", &Config::default());
    client.send(vec![7; 1001]).unwrap();
    // Unread, it would reset the stream and take the Close frame with it.
    for _ in 0..10 {
        let _closed_perhaps = client.send(vec![7; 1000]);
    }
    while client.recv().unwrap().is_some() {}
    let close = client.received_close().unwrap();
    assert_eq!(close.code(), CloseCode::MESSAGE_TOO_BIG);
    drop(client);
    assert!(server.join().unwrap().unwrap_err().is_protocol());
}

#[cfg(feature = "client")]
#[tokio::test(flavor = "multi_thread")]
async fn client_talks_to_a_blocking_server() {
    use tower_websocket::client::Client;

    use crate::support::{close, echoes};

    for compression in compressions() {
        let (address, server) = serve(config(compression.clone()), echo_blocking);
        let talk = async {
            let client = Client::new().config(config(compression));
            let mut socket = client.connect(format!("ws://{address}/")).await.unwrap();
            assert_eq!(socket.subprotocol(), Some("chat.v1"));
            for message in messages() {
                socket.send(message.clone()).await.unwrap();
                assert_eq!(socket.recv().await.unwrap(), Some(message));
            }
            echoes(&mut socket, "hello").await;
            close(socket).await;
        };
        within(talk).await;
        let ended = spawn_blocking(|| server.join().unwrap().unwrap());
        assert_eq!(within(ended).await.unwrap().code(), CloseCode::NORMAL);
    }
}

/// The longest message.
const LONGEST: usize = 300_000;

/// How long a blocking test may wait for anything.
const LIMIT: Duration = Duration::from_secs(30);
