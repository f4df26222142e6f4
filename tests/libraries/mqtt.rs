//! MQTT: the bytes of the standard (3.1.1), between a WebSocket and a broker that knows TCP alone.

#[path = "../../examples/cookbook/mqtt.rs"]
#[expect(dead_code, reason = "its `main` is for those who run it")]
mod program;

use axum::Router;
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower_websocket::{
    CloseCode, Config, WebSocketLayer,
    client::{Client, HttpVersion},
    handler,
    session::ByteStream,
};

use crate::support::{Server, VERSIONS, within};

/// CONNECT (§3.1) of the client `a`, with a clean session and 60 seconds of keep alive.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
/// CONNACK (§3.2): accepted.
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
/// SUBSCRIBE (§3.8) to `t`, and its SUBACK (§3.9).
const SUBSCRIBE: &[u8] = b"\x82\x06\x00\x01\x00\x01t\x00";
const SUBACK: &[u8] = b"\x90\x03\x00\x01\x00";
/// PUBLISH (§3.3) of `hello` to `t`.
const PUBLISH: &[u8] = b"\x30\x08\x00\x01thello";
/// DISCONNECT (§3.14).
const DISCONNECT: &[u8] = b"\xe0\x00";

/// A broker of one client at a time, and a server before it.
struct Gateway {
    broker: TcpListener,
    server: Server,
}

impl Gateway {
    async fn start() -> Self {
        let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = broker.local_addr().unwrap();
        let route = handler(move |socket| program::carry(socket, address));
        let app = WebSocketLayer::new(route).config(program::config());
        let app = Router::new().route_service("/", app.endpoint());
        let server = Server::serve(app).await;
        Self { broker, server }
    }

    /// Connects a client; returns both ends.
    async fn connect(&self, version: HttpVersion) -> (ByteStream, TcpStream) {
        let socket = self.server.connect(version, &["mqtt"]).await;
        assert_eq!(socket.subprotocol(), Some("mqtt"));
        let (broker, _) = within(self.broker.accept()).await.unwrap();
        (socket.into_byte_stream(), broker)
    }
}

async fn expect(from: &mut (impl AsyncReadExt + Unpin), packet: &[u8]) {
    let mut read = vec![0; packet.len()];
    within(from.read_exact(&mut read)).await.unwrap();
    assert_eq!(read, packet);
}

#[tokio::test]
async fn packets_pass_both_ways_and_disconnect_is_the_end() {
    let gateway = Gateway::start().await;
    for version in VERSIONS {
        let (mut client, mut broker) = gateway.connect(version).await;
        // Packets need not be messages (§6.0): one in pieces, and two in one.
        let (first, rest) = CONNECT.split_at(3);
        client.write_all(first).await.unwrap();
        client.write_all(&[rest, SUBSCRIBE].concat()).await.unwrap();
        expect(&mut broker, CONNECT).await;
        expect(&mut broker, SUBSCRIBE).await;
        broker.write_all(CONNACK).await.unwrap();
        broker.write_all(&[SUBACK, PUBLISH].concat()).await.unwrap();
        expect(&mut client, CONNACK).await;
        expect(&mut client, SUBACK).await;
        expect(&mut client, PUBLISH).await;
        client.write_all(DISCONNECT).await.unwrap();
        let client = tokio::spawn(async move { client.shutdown().await });
        expect(&mut broker, DISCONNECT).await;
        assert_eq!(within(broker.read(&mut [0])).await.unwrap(), 0);
        drop(broker);
        within(client).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn client_that_vanishes_is_a_reset_to_the_broker() {
    let gateway = Gateway::start().await;
    let (mut client, mut broker) = gateway.connect(HttpVersion::Http1).await;
    client.write_all(CONNECT).await.unwrap();
    expect(&mut broker, CONNECT).await;
    client.get_ref().abort();
    let read = within(broker.read(&mut [0])).await;
    read.expect_err("not the regular end, after which no will is published");
}

#[tokio::test]
async fn broker_that_is_away_is_1013_and_other_subprotocols_are_refused() {
    let Gateway { broker, server } = Gateway::start().await;
    drop(broker);
    for version in VERSIONS {
        let mut socket = server.connect(version, &["mqtt"]).await;
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        let close = socket.received_close().unwrap();
        assert_eq!(close.code(), CloseCode::TRY_AGAIN_LATER);

        let config = Config::default().subprotocols(["mqttv3.1"]);
        let client = Client::new().http_version(version).config(config);
        let connected = client.connect(format!("ws://{}/", server.address));
        let refused = within(connected).await.unwrap_err();
        assert_eq!(refused.status(), Some(StatusCode::BAD_REQUEST));
    }
}
