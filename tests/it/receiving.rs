//! What a test receives from the application that it tests.

use std::{error::Error as _, time::Duration};

use axum::{Router, routing::any};
use tokio::time::timeout;
use tower_websocket::{
    CloseCode, Error, WebSocket, WebSocketLayer,
    testing::{self, ReceiveError, WebSocketExt},
};

use crate::support::{Http, handler, on_both};

/// An application that says a few things, and then nothing.
async fn talk(mut socket: WebSocket) -> Result<(), Error> {
    socket.send("first").await?;
    socket.send(vec![2; 2]).await?;
    socket.send("third").await?;
    let _answer = socket.recv().await?;
    socket.close((CloseCode::GOING_AWAY, "enough"));
    Ok(())
}

fn app() -> Router {
    let layer = WebSocketLayer::new(handler(talk));
    Router::new().route("/", any(async || "a page").layer(layer))
}

#[tokio::test(start_paused = true)]
async fn test_receives_text_binary_and_close() {
    on_both(async |http| {
        let (_, mut client) = testing::connect(app(), http.request("/")).await.unwrap();
        assert_eq!(client.recv_text().await.unwrap(), "first");
        assert_eq!(client.recv_binary().await.unwrap()[..], [2, 2]);
        client.send("go on").await.unwrap();
        let (_sender, mut receiver) = client.split();
        assert_eq!(receiver.recv_text().await.unwrap(), "third");
        let close = receiver.recv_close().await.unwrap();
        assert_eq!(close, (CloseCode::GOING_AWAY, "enough").into());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn test_is_told_what_came_instead() {
    const MINUTES: Duration = Duration::from_secs(150);
    // Longer than `on_both` waits.
    for http in [Http::One, Http::Two] {
        let (_, mut client) = testing::connect(app(), http.request("/")).await.unwrap();
        let text = client.recv_binary().await.unwrap_err();
        assert_eq!(text.to_string(), r#"a text came: "first""#);
        let binary = client.recv_text().await.unwrap_err();
        assert_eq!(binary.to_string(), "a binary message of 2 bytes came");
        let text = client.recv_close().await.unwrap_err();
        assert_eq!(text.to_string(), r#"a text came: "third""#);
        // The application waits, and so would the test.
        for _ in 0..2 {
            let nothing = timeout(MINUTES, client.recv_text()).await;
            let nothing = nothing.expect("it is told").unwrap_err();
            assert_eq!(nothing.to_string(), "nothing came for a minute");
        }
        client.send("go on").await.unwrap();
        for _ in 0..2 {
            let close = client.recv_text().await.unwrap_err();
            assert_eq!(
                close.to_string(),
                "the connection was closed with 1001 (enough)"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn test_is_told_that_a_connection_has_failed() {
    let cut = |socket: WebSocket| async move { socket.abort() };
    on_both(async |http| {
        let endpoint = tower_websocket::endpoint(handler(cut));
        let (_, mut client) = testing::connect(endpoint, http.request("/")).await.unwrap();
        let failed = client.recv_text().await.unwrap_err();
        assert!(
            matches!(failed, ReceiveError::Failed(Error::Io(_))),
            "{failed:?}"
        );
        assert_eq!(failed.to_string(), "the connection has failed");
        assert!(failed.source().is_some());
    })
    .await;
}

#[test]
fn long_text_is_cut_where_it_is_shown() {
    let text = "\u{e9}\n".repeat(1000);
    let shown = ReceiveError::Text(text.into()).to_string();
    assert_eq!(
        shown,
        format!(
            "a text of 3000 bytes came: \"{}\"…",
            "\u{e9}\\n".repeat(100)
        )
    );
}
