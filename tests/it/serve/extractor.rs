//! A server that stops, and the sockets of axum's handlers.

use axum::{Router, routing::any};
use tower_websocket::{Connections, extract::WebSocketUpgrade};

use super::shutdown::{Serving, say_goodbye};
use crate::support::{Http, echo, within};

#[tokio::test(start_paused = true)]
async fn websockets_of_an_extractor_are_closed_with_1001() {
    let own = Connections::new();
    let registered = own.clone();
    let plain = async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo);
    let with_own = move |upgrade: WebSocketUpgrade| {
        let connections = registered.clone();
        async move { upgrade.connections(&connections).on_upgrade(echo) }
    };
    let app = Router::new()
        .route("/echo", any(plain))
        .route("/own", any(with_own));
    let serving = Serving::start(app);
    let mut goodbyes = Vec::new();
    for (http, path) in [
        (Http::One, "/echo"),
        (Http::Two, "/echo"),
        (Http::One, "/own"),
        (Http::Two, "/own"),
    ] {
        let peer = serving.open(http, path).await;
        goodbyes.push(tokio::spawn(say_goodbye(peer)));
    }
    assert_eq!(own.len(), 2);
    let (stopped, _) = serving.stop().await;
    assert_eq!(stopped.websockets.ended, 4, "{stopped:?}");
    for goodbye in goodbyes {
        within(goodbye).await.unwrap();
    }
}
