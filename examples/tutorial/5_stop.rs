//! A chat with rooms that says goodbye.

mod login;
mod sessions;
mod stop;
#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, State},
    response::{Html, Response},
    routing::{any, get, post},
};
use serde_json::json;
use tower_websocket::{
    Error, Groups, Message, WebSocket,
    extract::WebSocketUpgrade,
    groups::{GroupEvent, GroupEvents},
    serve,
    session::Drain,
};

use login::{User, login};
use sessions::Sessions;
use stop::stop;

/// The members of each room, with their names.
type Rooms = Groups<String, String>;

#[derive(Clone, Default)]
struct App {
    rooms: Rooms,
    sessions: Sessions,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    println!("http://127.0.0.1:8080");
    let stopped = serve("127.0.0.1:8080", app(App::default()))
        .graceful_shutdown(stop())
        .drain(Drain::default().timeout(Duration::from_secs(10)))
        .await?;
    println!("{:?}", stopped.websockets);
    Ok(())
}

fn app(app: App) -> Router {
    tokio::spawn(tell_who_is_here(app.rooms.clone(), app.rooms.events()));
    Router::new()
        .route("/", get(Html(include_str!("chat.html"))))
        .route("/login", post(login))
        .route("/me", get(async |User(name): User| name))
        .route("/rooms/{room}", any(enter))
        .with_state(app)
}

async fn enter(
    User(name): User,
    ws: WebSocketUpgrade,
    Path(room): Path<String>,
    State(app): State<App>,
) -> Response {
    ws.max_message_size(4096)
        .on_upgrade(|socket| chat(socket, room, name, app.rooms))
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
