//! async-graphql: subscriptions by both protocols of GraphQL over WebSocket.

use std::future::ready;

use async_graphql::{
    EmptyMutation, Object, Schema, Subscription,
    http::{ALL_WEBSOCKET_PROTOCOLS, WebSocket as GraphqlSocket, WsMessage},
};
use futures_util::{SinkExt, Stream, StreamExt, stream};
use serde_json::{Value, json};
use tower_websocket::{
    CloseCode, CloseFrame, Error, Event, WebSocket,
    client::HttpVersion,
    session::{EventSocket, EventStream},
};

use crate::support::{Server, VERSIONS, within};

struct Query;

#[Object]
impl Query {
    async fn answer(&self) -> i32 {
        42
    }
}

struct Numbers;

#[Subscription]
impl Numbers {
    /// The numbers below `end`, and without one all that there are.
    async fn numbers(&self, end: Option<i32>) -> impl Stream<Item = i32> {
        stream::iter(0..end.unwrap_or(i32::MAX))
    }
}

/// Answers the requests of one connection, as long as the client wants.
async fn graphql(socket: WebSocket) -> Result<(), Error> {
    let Some(protocol) = socket.subprotocol().and_then(|name| name.parse().ok()) else {
        socket.close((NO_SUBPROTOCOL, "no subprotocol"));
        return Ok(());
    };
    let schema = Schema::new(Query, EmptyMutation, Numbers);
    let (sink, stream) = socket.into_events().split();
    GraphqlSocket::new(schema, messages(stream), protocol)
        .map(|message| Ok(event(message)))
        .forward(sink)
        .await
}

/// The messages of a connection, up to its end, whichever it is.
fn messages(stream: EventStream) -> impl Stream<Item: AsRef<[u8]>> + Unpin {
    stream.filter_map(|event| ready(event.ok().and_then(Event::into_message)))
}

fn event(message: WsMessage) -> Event {
    match message {
        WsMessage::Text(text) => text.into(),
        WsMessage::Close(code, reason) => {
            let code = CloseCode::new(code);
            Event::Close(code.map(|code| CloseFrame::new(code, reason)))
        }
    }
}

/// What the protocol graphql-transport-ws closes with where no subprotocol was agreed on.
const NO_SUBPROTOCOL: CloseCode = CloseCode::new(4406).unwrap();

/// A server that takes both protocols.
pub(crate) async fn start() -> Server {
    Server::start(&ALL_WEBSOCKET_PROTOCOLS, graphql).await
}

async fn connect(server: &Server, version: HttpVersion, protocol: &'static str) -> EventSocket {
    let socket = server.connect(version, &[protocol]).await;
    assert_eq!(socket.subprotocol(), Some(protocol));
    socket.into_events()
}

async fn ask(client: &mut EventSocket, value: Value) {
    client.send(value.to_string().into()).await.unwrap();
}

async fn next(client: &mut EventSocket) -> Event {
    within(client.next()).await.unwrap().unwrap()
}

async fn answer(client: &mut EventSocket) -> Value {
    let message = next(client).await.into_message().unwrap();
    serde_json::from_slice(message.as_ref()).unwrap()
}

async fn initialised(server: &Server, version: HttpVersion, protocol: &'static str) -> EventSocket {
    let mut client = connect(server, version, protocol).await;
    ask(&mut client, json!({"type": "connection_init"})).await;
    assert_eq!(answer(&mut client).await["type"], "connection_ack");
    client
}

#[tokio::test]
async fn subscription_is_served_by_both_protocols() {
    let mut server = start().await;
    for version in VERSIONS {
        for (protocol, start, data) in [
            ("graphql-transport-ws", "subscribe", "next"),
            ("graphql-ws", "start", "data"),
        ] {
            let mut client = initialised(&server, version, protocol).await;
            let payload = json!({"query": "subscription { numbers(end: 3) }"});
            let request = json!({"type": start, "id": "1", "payload": payload});
            ask(&mut client, request).await;
            for number in 0..3 {
                let answer = answer(&mut client).await;
                assert_eq!(
                    (&answer["type"], &answer["id"]),
                    (&json!(data), &json!("1"))
                );
                assert_eq!(answer["payload"]["data"]["numbers"], number);
            }
            let complete = json!({"type": "complete", "id": "1"});
            assert_eq!(answer(&mut client).await, complete);
            client.close().await.unwrap();
            assert_eq!(next(&mut client).await, CloseCode::NORMAL.into());
            server.ended().await.unwrap();
        }
    }
}

#[tokio::test]
async fn server_closes_with_the_codes_of_the_protocol() {
    let server = start().await;
    for version in VERSIONS {
        for (message, code, reason) in [
            ("{\"type\":\"connection_init\"}", 4429, "Too many"),
            ("no JSON", 1002, "expected"),
        ] {
            let mut client = initialised(&server, version, "graphql-transport-ws").await;
            client.send(message.into()).await.unwrap();
            let Event::Close(Some(frame)) = next(&mut client).await else {
                panic!("no Close with a code");
            };
            assert_eq!(frame.code().as_u16(), code);
            assert!(frame.reason().starts_with(reason), "{frame}");
            assert!(client.next().await.is_none());
        }
        let other = server.connect(version, &[]).await;
        let close = next(&mut other.into_events()).await;
        assert_eq!(
            close,
            CloseFrame::new(NO_SUBPROTOCOL, "no subprotocol").into()
        );
    }
}

#[tokio::test]
async fn client_that_leaves_ends_an_endless_subscription() {
    let mut server = start().await;
    for version in VERSIONS {
        let mut client = initialised(&server, version, "graphql-transport-ws").await;
        let payload = json!({"query": "subscription { numbers }"});
        let request = json!({"type": "subscribe", "id": "1", "payload": payload});
        ask(&mut client, request).await;
        for number in 0..1000 {
            let answer = answer(&mut client).await;
            assert_eq!(answer["payload"]["data"]["numbers"], number);
        }
        client.send(CloseCode::GOING_AWAY.into()).await.unwrap();
        // What was on its way before is passed over.
        assert_eq!(next(&mut client).await, CloseCode::GOING_AWAY.into());
        assert!(server.ended().await.unwrap_err().is_closed());
    }
}
