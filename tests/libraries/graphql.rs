//! async-graphql: subscriptions by both protocols of GraphQL over WebSocket.

#[path = "programs/graphql.rs"]
#[expect(dead_code, reason = "its `main` is for those who run it")]
mod program;

use async_graphql::http::ALL_WEBSOCKET_PROTOCOLS;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tower_websocket::{CloseCode, CloseFrame, Event, client::HttpVersion, session::EventSocket};

use crate::support::{Server, VERSIONS, within};

/// A server that takes both protocols.
pub(crate) async fn start() -> Server {
    let schema = program::schema();
    let run = move |socket| program::graphql(schema.clone(), socket);
    Server::start(&ALL_WEBSOCKET_PROTOCOLS, run).await
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
            CloseFrame::new(program::NO_SUBPROTOCOL, "no subprotocol").into()
        );
    }
}

#[tokio::test]
async fn query_that_is_too_complex_is_an_error() {
    let server = start().await;
    let mut client = initialised(&server, VERSIONS[0], "graphql-transport-ws").await;
    for (fields, errors) in [(200, false), (201, true)] {
        let fields = String::from_iter((0..fields).map(|field| format!("a{field}: answer ")));
        let payload = json!({"query": format!("{{ {fields} }}")});
        let request = json!({"type": "subscribe", "id": "1", "payload": payload});
        ask(&mut client, request).await;
        let next = answer(&mut client).await;
        assert_eq!(next["payload"]["errors"].is_array(), errors, "{next}");
        assert_eq!(answer(&mut client).await["type"], "complete");
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
