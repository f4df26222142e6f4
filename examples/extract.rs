//! WebSocket in an axum handler, as with axum's own extractor: state, a page on the same path.
//!
//! Run: `cargo run --release --example extract --features axum`, then open
//! `ws://127.0.0.1:8080/rooms/rust` with a WebSocket client, and
//! <http://127.0.0.1:8080/rooms/rust> with a browser.

#[path = "support/cli.rs"]
mod cli;
#[path = "support/stop.rs"]
mod stop;

use std::process::ExitCode;

use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::any,
    serve::ListenerExt,
};
use tokio::net::TcpListener;
use tower::BoxError;
use tower_websocket::{
    Compression, Connections, Error, Groups, WebSocket, extract::WebSocketUpgrade,
};

#[derive(Clone, Default)]
struct App {
    connections: Connections,
    rooms: Groups,
}

/// The page of a room, and the room. Whatever a handler can do comes before the answer.
async fn room(
    ws: Option<WebSocketUpgrade>,
    Path(room): Path<String>,
    State(app): State<App>,
) -> Response {
    let Some(ws) = ws else {
        let open = app.connections.len();
        return format!("{open} connections are open; this is {room}\n").into_response();
    };
    ws.connections(&app.connections)
        .protocols(["chat.v2", "chat.v1"])
        .max_message_size(64 << 10)
        .compression(Compression::shared())
        .on_upgrade(move |socket| talk(socket, room, app.rooms))
}

/// Sends what one member of the room says to all of them.
async fn talk(mut socket: WebSocket, room: String, rooms: Groups) -> Result<(), Error> {
    let Ok(_membership) = rooms.join(room.clone(), &socket.sender()) else {
        return Ok(()); // it has ended already
    };
    while let Some(message) = socket.recv().await? {
        rooms.broadcast(&room, message).await;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::run("usage: extract [ADDRESS]    default: 127.0.0.1:8080", serve).await
}

async fn serve(arguments: Vec<String>) -> Result<(), BoxError> {
    let state = App::default();
    let connections = state.connections.clone();
    // `any`, not `get`: over HTTP/2 a WebSocket is asked for by CONNECT.
    let app = Router::new()
        .route("/rooms/{room}", any(room))
        .with_state(state);

    let address = arguments.first().map_or("127.0.0.1:8080", String::as_str);
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| format!("{address}: {error}"))?;
    println!("talking at ws://{}/rooms/…", listener.local_addr()?);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    stop::until_asked(axum::serve(listener, app).into_future(), &connections).await
}
