use std::{collections::HashMap, env};

use axum::{Router, extract::State, response::Response, routing::any};
use serde::{Deserialize, Serialize};
use tower_websocket::groups::{JoinError, Membership};
use tower_websocket::json::JsonError;
use tower_websocket::{Groups, Sender, WebSocket, extract::WebSocketUpgrade, serve};

#[derive(Deserialize)]
struct Request {
    #[serde(flatten)]
    event: Event,
    id: Option<u64>, // of what wants an answer
}

#[derive(Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "lowercase")]
enum Event {
    Join(String),
    Say { room: String, text: String },
}

#[derive(Serialize)]
#[serde(tag = "event", content = "data", rename_all = "lowercase")]
enum Notice<'a> {
    Said { room: &'a str, text: &'a str },
    Left { room: &'a str },
}

#[derive(Serialize)]
struct Answer<T> {
    id: u64,
    data: T,
}

fn text(value: impl Serialize) -> String {
    serde_json::to_string(&value).expect("these have string keys, and no floats")
}

async fn chat(ws: WebSocketUpgrade, State(rooms): State<Groups>) -> Response {
    ws.on_upgrade(|socket| talk(socket, rooms))
}

async fn talk(mut socket: WebSocket, rooms: Groups) -> Result<(), JsonError> {
    let me = socket.sender();
    let mut joined = HashMap::new();
    while let Some(request) = socket.recv_json::<Request>().await? {
        let data = match &request.event {
            Event::Join(room) => join(room, &me, &rooms, &mut joined),
            Event::Say { room, text: said } => {
                let notice = text(Notice::Said { room, text: said });
                rooms.broadcast_except(room, notice, &me).await; // socket.to(room).emit(..)
                "ok".into()
            }
        };
        if let Some(id) = request.id {
            socket.send(text(Answer { id, data })).await?;
        }
    }
    Ok(())
}

fn join(
    room: &str,
    me: &Sender,
    rooms: &Groups,
    joined: &mut HashMap<String, Membership>,
) -> serde_json::Value {
    if room.len() > 200 {
        return serde_json::json!({ "error": "the name is too long" });
    }
    match rooms.join(room.to_owned(), me) {
        Ok(membership) => {
            let membership = membership.on_leave(text(Notice::Left { room }));
            joined.insert(room.to_owned(), membership);
        }
        Err(JoinError::AlreadyMember) => {}
        Err(error) => return serde_json::json!({ "error": error.to_string() }),
    }
    serde_json::json!({ "members": rooms.member_count(room) })
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = env::args().nth(1).expect("an address");
    let rooms: Groups = Groups::builder().max_groups_per_connection(100).build();
    let app = Router::new().route("/chat", any(chat)).with_state(rooms);
    serve(address, app).await?;
    Ok(())
}
