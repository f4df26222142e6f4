//! A chat with rooms.

use axum::{
    Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{Html, IntoResponse, Response},
    routing::{any, get},
    serve::ListenerExt,
};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tower_websocket::{
    Error, Groups, Message, WebSocket,
    extract::WebSocketUpgrade,
    groups::{GroupEvent, GroupEvents},
};

/// The members of each room, with their names.
type Rooms = Groups<String, String>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    println!("http://127.0.0.1:8080");
    axum::serve(listener, app(Rooms::default())).await
}

fn app(rooms: Rooms) -> Router {
    tokio::spawn(tell_who_is_here(rooms.clone(), rooms.events()));
    Router::new()
        .route("/", get(Html(include_str!("rooms.html"))))
        .route("/rooms/{room}", any(enter))
        .with_state(rooms)
}

#[derive(Deserialize)]
struct Visitor {
    name: String,
}

async fn enter(
    ws: WebSocketUpgrade,
    Path(room): Path<String>,
    Query(visitor): Query<Visitor>,
    State(rooms): State<Rooms>,
) -> Response {
    let name = visitor.name.trim().to_owned();
    if !(1..=32).contains(&name.chars().count()) {
        return (StatusCode::BAD_REQUEST, "a name has 1 to 32 characters").into_response();
    }
    ws.max_message_size(4096)
        .on_upgrade(|socket| chat(socket, room, name, rooms))
}

/// One member, from coming to going.
async fn chat(
    mut socket: WebSocket,
    room: String,
    name: String,
    rooms: Rooms,
) -> Result<(), Error> {
    let Ok(_membership) = rooms.join_as(room.clone(), &socket.sender(), name.clone()) else {
        return Ok(()); // the connection has ended already
    };
    while let Some(message) = socket.recv().await? {
        if let Message::Text(text) = message {
            let said = json!({ "type": "said", "name": name, "text": text.as_str() });
            rooms.broadcast(&room, said.to_string()).await;
        }
    }
    Ok(()) // leaves the room, as does every other way out
}

/// Tells the members of a room who is there, whenever that changes.
async fn tell_who_is_here(rooms: Rooms, mut events: GroupEvents<String, String>) {
    loop {
        let changed = match events.recv().await {
            GroupEvent::Joined(room, _) | GroupEvent::Left(room, _) => vec![room],
            GroupEvent::Missed(_) => rooms.keys(), // this task was too slow to see which
            _ => continue,
        };
        for room in changed {
            let members = rooms.presence(&room);
            let names: Vec<&str> = members.iter().map(|(_, name)| name.as_str()).collect();
            let here = json!({ "type": "here", "names": names });
            rooms.broadcast(&room, here.to_string()).await;
        }
    }
}
