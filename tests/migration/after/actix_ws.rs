use std::env;

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::any,
};
use tower_websocket::{
    CloseCode, Error, Groups, Message, WebSocket, extract::WebSocketUpgrade, serve,
};

async fn room(
    ws: WebSocketUpgrade,
    Path(room): Path<String>,
    State(rooms): State<Groups>,
) -> Response {
    ws.on_upgrade(|socket| talk(socket, room, rooms))
}

async fn talk(mut socket: WebSocket, room: String, rooms: Groups) -> Result<(), Error> {
    let Ok(membership) = rooms.join(room.clone(), &socket.sender()) else {
        return Ok(()); // it has ended already
    };
    let _membership = membership.on_leave("left");

    while let Some(message) = socket.recv().await? {
        match &message {
            Message::Text(text) if text == "quit" => {
                let code = CloseCode::new(4001).expect("4001 is the application's");
                socket.close((code, "as you wish"));
            }
            _ => drop(rooms.broadcast(&room, message).await),
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = env::args().nth(1).expect("an address");
    let app = Router::new()
        .route("/rooms/{room}", any(room))
        .with_state(Groups::new());
    serve(address, app).await?;
    Ok(())
}
