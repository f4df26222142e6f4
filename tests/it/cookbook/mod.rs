//! The programs of the page `cookbook`, over both versions of HTTP.

mod requests;
mod resend;
mod upload;

use tower_websocket::{WebSocket, testing::WebSocketExt};

/// Sends the heartbeat of `reconnecting.js`, and again, and expects no other answer than its own.
async fn beats(page: &mut WebSocket) {
    let module = include_str!("../../../examples/cookbook/reconnecting.js");
    assert!(module.contains(r#"ping: '"ping"', pong: '"pong"',"#));
    for _ in 0..3 {
        page.send(r#""ping""#).await.unwrap();
        assert_eq!(page.recv_text().await.unwrap(), r#""pong""#);
    }
}
