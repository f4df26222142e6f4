//! JSON over a connection: what an application gets, and what it gets instead.

use std::pin::pin;

use serde::{Deserialize, Serialize};
use tower_websocket::{
    CloseCode, Error, Message, PreparedMessage, WebSocket, endpoint,
    json::{InvalidJson, JsonError},
};

use crate::session::support::client_frame;
use crate::support::{
    Http, Log, handler,
    http::{Ask, Server},
    on_both, open, poll_times,
};

#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Order {
    item: String,
    pieces: u32,
}

fn tea(pieces: u32) -> Order {
    let item = "tea".to_owned();
    Order { item, pieces }
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// Sends back what it understands, and says what it does not.
async fn shop(mut socket: WebSocket) -> Result<(), JsonError> {
    loop {
        match socket.recv_json::<Order>().await {
            Ok(Some(order)) => socket.send_json(&order).await?,
            Ok(None) => return Ok(()),
            Err(JsonError::Invalid(error)) => socket.send(error.to_string()).await?,
            Err(error) => return Err(error),
        }
    }
}

#[tokio::test]
async fn bad_json_is_told_with_its_place_and_the_connection_goes_on() {
    on_both(async |http| {
        let server = Server::start(endpoint(handler(shop))).await;
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        let json = br#"{"item":"tea","pieces":3}"#;
        for (opcode, sent, reply) in [
            (TEXT, &json[..], &json[..]),
            (BINARY, json, json),
            (
                TEXT,
                br#"{"item": "secret", "pieces": "secret"}"#,
                "invalid type: string \"…\", expected u32, at pieces (line 1, column 37)"
                    .as_bytes(),
            ),
            (
                TEXT,
                b"{",
                b"EOF while parsing an object (line 1, column 1)",
            ),
            (TEXT, b"", b"EOF while parsing a value (line 1, column 0)"),
            (
                TEXT,
                br#"{"pieces": 1}"#,
                b"missing field `item` (line 1, column 13)",
            ),
            (BINARY, b"\xff", b"expected value (line 1, column 1)"),
            (TEXT, json, json),
        ] {
            peer.send(opcode, sent).await;
            let (opcode, payload) = peer.frame().await.unwrap();
            assert_eq!(
                (opcode, payload.escape_ascii().to_string()),
                (TEXT, reply.escape_ascii().to_string())
            );
        }
        peer.send(CLOSE, &1000u16.to_be_bytes()).await;
        assert_eq!(peer.closed().await.0, 1000);
    })
    .await;
}

/// A handler that ends with what was wrong.
async fn strict(mut socket: WebSocket) -> Result<(), JsonError> {
    while socket.recv_json::<Order>().await?.is_some() {}
    Ok(())
}

#[tokio::test]
async fn handler_that_ends_with_bad_json_closes_with_1007() {
    on_both(async |http| {
        let server = Server::start(endpoint(handler(strict))).await;
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        peer.send(TEXT, br#"{"item": "tea", "pieces": 3}"#).await;
        peer.send(TEXT, b"hello").await;
        let (code, reason) = peer.closed().await;
        assert_eq!(code, 1007);
        assert_eq!(reason, "not the JSON that was expected");
    })
    .await;
}

#[tokio::test]
async fn handler_that_cannot_make_json_closes_with_1011() {
    async fn fails(socket: WebSocket) -> Result<(), JsonError> {
        socket
            .send_json(&std::collections::HashMap::from([((1, 2), 3)]))
            .await
    }
    on_both(async |http| {
        let server = Server::start(endpoint(handler(fails))).await;
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        assert_eq!(peer.closed().await.0, 1011);
    })
    .await;
}

/// An error of this side, or of another peer's message, is not the peer's.
#[tokio::test]
async fn handler_that_reads_bad_json_of_somebody_else_closes_with_1011() {
    async fn stored(_socket: WebSocket) -> Result<(), JsonError> {
        Ok(Message::text("half {").to_json::<Order>().map(drop)?)
    }
    async fn relays(_socket: WebSocket) -> Result<(), JsonError> {
        let other = endpoint(handler(async |socket: WebSocket| {
            let _sent = socket.send("half {").await;
            socket.closed().await;
        }));
        let mut upstream = open(other, Http::One, "/").await;
        upstream.recv_json::<Order>().await.map(drop)
    }
    on_both(async |http| {
        let server = Server::start(endpoint(handler(stored))).await;
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        assert_eq!(peer.closed().await.0, 1011);
        let server = Server::start(endpoint(handler(relays))).await;
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        assert_eq!(peer.closed().await.0, 1011);
    })
    .await;
}

#[tokio::test]
async fn nested_json_ends_neither_the_connection_nor_the_process() {
    on_both(async |http| {
        let server = Server::start(endpoint(handler(async |mut socket: WebSocket| {
            let error = socket.recv_json::<serde_json::Value>().await.unwrap_err();
            assert!(error.is_invalid());
            socket.send(&error.to_string()[..24]).await
        })))
        .await;
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        peer.write(&client_frame(0x81, vec![b'['; 60_000])).await;
        let (_, told) = peer.frame().await.unwrap();
        assert!(told.starts_with(b"recursion limit exceeded"), "{told:?}");
        peer.close().await;
    })
    .await;
}

#[tokio::test]
async fn failure_of_the_connection_is_told_from_bad_json() {
    on_both(async |http| {
        let (pen, mut log) = Log::new();
        let app = endpoint(handler(move |mut socket: WebSocket| {
            let pen = pen.clone();
            async move { pen.write(socket.recv_json::<Order>().await) }
        }));
        let client = open(app.clone(), http, "/").await;
        client.abort();
        let error = log.next().await.unwrap_err();
        assert!(!error.is_invalid());
        assert!(
            matches!(error, JsonError::Connection(Error::Io(_))),
            "{error:?}"
        );
        let client = open(app, http, "/").await;
        client.close(CloseCode::NORMAL);
        assert_eq!(log.next().await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn values_go_both_ways_in_whole_and_in_halves() {
    on_both(async |http| {
        let mut client = open(endpoint(handler(shop)), http, "/").await;
        client.send_json(&tea(1)).await.unwrap();
        assert_eq!(client.recv_json().await.unwrap(), Some(tea(1)));
        client
            .send(PreparedMessage::json(&tea(2)).unwrap())
            .await
            .unwrap();
        let message = client.recv().await.unwrap().unwrap();
        assert_eq!(message, Message::json(&tea(2)).unwrap());
        let (sender, mut receiver) = client.split();
        // What is sent is not borrowed while it waits.
        let sending = {
            let order = tea(3);
            sender.send_json(&order)
        };
        sending.await.unwrap();
        assert_eq!(receiver.recv_json().await.unwrap(), Some(tea(3)));
        sender.close(CloseCode::NORMAL);
        assert_eq!(receiver.recv_json::<Order>().await.unwrap(), None);
        let error = sender.send_json(&tea(4)).await.unwrap_err();
        assert!(matches!(error, JsonError::Connection(Error::Closed)));
    })
    .await;
}

#[tokio::test]
async fn dropped_future_takes_no_message_along() {
    on_both(async |http| {
        let mut client = open(endpoint(handler(shop)), http, "/").await;
        {
            let mut receiving = pin!(client.recv_json::<Order>());
            let waiting = poll_times(receiving.as_mut(), 0);
            assert!(waiting.await.is_none());
        }
        client.send_json(&tea(1)).await.unwrap();
        assert_eq!(client.recv_json().await.unwrap(), Some(tea(1)));
    })
    .await;
}

#[test]
fn both_kinds_of_error_have_their_question() {
    let invalid: InvalidJson = Message::text("?").to_json::<u8>().unwrap_err();
    let error = JsonError::from(invalid.clone());
    assert_eq!(error.to_string(), invalid.to_string());
    assert_eq!(
        JsonError::from(Error::Closed).to_string(),
        "the connection has failed"
    );
}
