//! What the page `troubleshooting` says of things that no other test is about.

use std::time::Duration;

use axum::{Router, routing::any};
use tower::{BoxError, service_fn, timeout::Timeout};
use tower_websocket::{CloseCode, WebSocketLayer};

use crate::support::{echo, echoes, on_both, open};

#[tokio::test(start_paused = true)]
async fn timeout_around_a_route_service_ends_the_conversation() {
    let route = service_fn(async |request: http::Request<tower_websocket::WebSocket>| {
        echo(request.into_body()).await.map_err(BoxError::from)
    });
    let route = Timeout::new(route, Duration::from_secs(5));
    let layer = WebSocketLayer::new(route);
    let app = Router::new().route("/chat", any(async || "page").layer(layer));
    on_both(async |http| {
        let mut client = open(app.clone(), http, "/chat").await;
        echoes(&mut client, "in time").await;
        assert_eq!(client.recv().await.unwrap(), None);
        let close = client.received_close().unwrap();
        assert_eq!(close.code(), CloseCode::INTERNAL_ERROR);
    })
    .await;
}
