//! A chat with rooms, on as many nodes as there are.

mod login;
mod sessions;
mod shared;
mod stop;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod two_nodes;

use std::{env, time::Duration};

use axum::{
    BoxError, Router,
    extract::{Path, State},
    response::{Html, Response},
    routing::{any, get, post},
};
use redis::Client;
use serde_json::json;
use tokio::time::interval;
use tower_websocket::{
    Error, Groups, Message, WebSocket,
    cluster::{Cluster, Redis},
    extract::WebSocketUpgrade,
    groups::{GroupEvent, GroupEvents},
    serve,
    session::Drain,
};

use login::{User, login};
use shared::Sessions;
use stop::stop;

/// The members of each room, with their names.
type Rooms = Groups<String, String>;

#[derive(Clone, Default)]
struct App {
    rooms: Rooms,
    sessions: Sessions,
    /// The id of this node.
    node: String,
}

impl App {
    fn on(cluster: &Cluster, sessions: Sessions) -> Self {
        let rooms = Groups::builder().member_data();
        Self {
            rooms: rooms.cluster(cluster, "rooms").build(),
            sessions,
            node: cluster.id().to_string(),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let address = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1/".to_owned());
    let cluster = Cluster::start("chat", Redis::new(&url)?);
    let mut events = cluster.events();
    tokio::spawn(async move {
        loop {
            println!("{:?}", events.recv().await);
        }
    });
    let sessions = Sessions::Redis(Client::open(url)?);
    println!("http://{address}");
    let stopped = serve(address, app(App::on(&cluster, sessions)))
        .graceful_shutdown(stop())
        .drain(Drain::default().timeout(Duration::from_secs(10)))
        .await?;
    cluster.leave().await; // what is still to be sent to other nodes is
    println!("{:?}", stopped.websockets);
    Ok(())
}

fn app(app: App) -> Router {
    tokio::spawn(tell_who_is_here(app.clone(), app.rooms.events()));
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

/// Tells all members of a room who is there on this node: whenever that changes, and now and then, for what goes
/// to other nodes may get lost.
async fn tell_who_is_here(app: App, mut events: GroupEvents<String, String>) {
    let mut again = interval(Duration::from_secs(5));
    loop {
        let changed = tokio::select! {
            event = events.recv() => match event {
                GroupEvent::Joined(room, _) | GroupEvent::Left(room, _) => vec![room],
                _ => continue,
            },
            _ = again.tick() => app.rooms.keys(),
        };
        for room in changed {
            let members = app.rooms.presence(&room);
            let names: Vec<&str> = members.iter().map(|(_, name)| name.as_str()).collect();
            let here = json!({ "type": "here", "node": app.node, "names": names });
            app.rooms.broadcast(&room, here.to_string()).await;
        }
    }
}
