use std::env;

use axum::{Router, routing::any};
use tower_websocket::groups::{JoinError, Membership};
use tower_websocket::service::{EventHandler, PathParams, event_handler_with};
use tower_websocket::{CloseCode, Error, Groups, Sender, Utf8Bytes, WebSocketLayer, serve};

struct Member {
    rooms: Groups,
    room: String,
    _membership: Result<Membership, JoinError>, // leaves when this is dropped
}

impl EventHandler for Member {
    async fn on_text(&mut self, socket: &Sender, text: Utf8Bytes) {
        if text == "quit" {
            let code = CloseCode::new(4001).expect("4001 is the application's");
            socket.close((code, "as you wish"));
            return;
        }
        self.rooms.broadcast(&self.room, text).await;
    }

    async fn on_error(&mut self, _: &Sender, error: Error) {
        eprintln!("{error}");
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = env::args().nth(1).expect("an address");
    let rooms = Groups::new();
    let members = event_handler_with(move |socket, head| {
        let params = head.extensions.get::<PathParams>();
        let room = params.and_then(|params| params.get("room"));
        let room = room.unwrap_or_default().to_owned();
        let membership = rooms.join(room.clone(), socket);
        Member {
            rooms: rooms.clone(),
            room,
            _membership: membership.map(|membership| membership.on_leave("left")),
        }
    });
    let chat = WebSocketLayer::new(members).path("/rooms/{room}");
    let app = Router::new().route("/", any(async || "a page")).layer(chat);
    serve(address, app).await?;
    Ok(())
}
