use std::{collections::HashMap, env};

use axum::{Router, extract::State, response::Response, routing::any};
use serde::{Deserialize, Serialize};
use tower_websocket::groups::Membership;
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
    if let Ok(membership) = rooms.join(room.to_owned(), me) {
        let membership = membership.on_leave(text(Notice::Left { room }));
        joined.insert(room.to_owned(), membership);
    }
    serde_json::json!({ "members": rooms.member_count(room) })
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = env::args().nth(1).expect("an address");
    let app = Router::new()
        .route("/chat", any(chat))
        .with_state(Groups::new());
    serve(address, app).await?;
    Ok(())
}
