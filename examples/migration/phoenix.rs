//! A channel as Phoenix has them, for its client in JavaScript (npm's `phoenix`), which need not change.
//!
//! It speaks version 2 of the protocol, in JSON: `[join_ref, ref, topic, event, payload]`.
//!
//!     cargo run --example phoenix --features axum,json,serve -- 127.0.0.1:4000

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::{Router, extract::State, response::Response, routing::any};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_websocket::groups::{JoinError, Membership};
use tower_websocket::{Groups, WebSocket, extract::WebSocketUpgrade, json::JsonError, serve};

type Rooms = Groups<String, User>;

/// Of a topic, and of a user's name, in bytes; without it and the limit of topics a client could fill the memory.
const MAX_NAME: usize = 200;

/// What `presence` lists: a name, and one of the connections that have it.
struct User {
    name: String,
    reference: u64,
}

impl User {
    fn meta(&self) -> Value {
        json!({ "phx_ref": self.reference.to_string() })
    }

    fn entry(&self) -> Value {
        json!({ &self.name: { "metas": [self.meta()] } })
    }
}

/// `[join_ref, ref, topic, event, payload]`, as the client sends it.
#[derive(Deserialize)]
struct Frame(Option<String>, Option<String>, String, String, Value);

/// What the client did not ask for.
fn push(topic: &str, event: &str, payload: Value) -> String {
    json!([null, null, topic, event, payload]).to_string()
}

fn ok(response: Value) -> Value {
    json!({ "status": "ok", "response": response })
}

fn error(reason: &str) -> Value {
    json!({ "status": "error", "response": { "reason": reason } })
}

struct Client {
    socket: WebSocket,
    rooms: Rooms,
    joined: HashMap<String, Membership>,
}

impl Client {
    async fn run(mut self) -> Result<(), JsonError> {
        while let Some(frame) = self.socket.recv_json().await? {
            let Frame(join_ref, reference, topic, event, payload) = frame;
            let reply = match event.as_str() {
                "heartbeat" => ok(json!({})),
                "phx_join" => self.join(&topic, &payload).await,
                "phx_leave" => {
                    self.joined.remove(&topic); // and the others get its farewell
                    ok(json!({}))
                }
                _ if !self.joined.contains_key(&topic) => error("unmatched topic"),
                _ => self.handle_in(&topic, &event, payload).await,
            };
            let joined = event == "phx_join" && reply["status"] == "ok";
            let reply = json!([join_ref, reference, topic, "phx_reply", reply]);
            self.socket.send(reply.to_string()).await?;
            if joined {
                let state = push(&topic, "presence_state", self.presence(&topic));
                self.socket.send(state).await?;
            }
        }
        Ok(())
    } // what `terminate` did: an `EventHandler` has `on_end`, a value of one's own `Drop`

    /// What the channel's `join` did: lets in, or says why not.
    async fn join(&mut self, topic: &str, payload: &Value) -> Value {
        static NEXT: AtomicU64 = AtomicU64::new(1);

        let Some(name) = payload["name"]
            .as_str()
            .filter(|_| topic.starts_with("room:"))
        else {
            return error("unauthorized");
        };
        if name.len().max(topic.len()) > MAX_NAME {
            return error("too long");
        }
        self.joined.remove(topic); // a client that joins again has lost what it had
        let (name, reference) = (name.to_owned(), NEXT.fetch_add(1, Ordering::Relaxed));
        let user = User { name, reference };
        let joins = json!({ "joins": user.entry(), "leaves": {} });
        let leaves = json!({ "joins": {}, "leaves": user.entry() });
        let sender = self.socket.sender();
        let membership = match self.rooms.join_as(topic.to_owned(), &sender, user) {
            Ok(membership) => membership,
            Err(JoinError::TooManyGroups { .. }) => return error("too many topics"),
            Err(_) => return error("closed"),
        };
        let membership = membership.on_leave(push(topic, "presence_diff", leaves));
        self.joined.insert(topic.to_owned(), membership);
        let diff = push(topic, "presence_diff", joins);
        self.rooms.broadcast_except(topic, diff, &sender).await;
        ok(json!({}))
    }

    /// What the channel's `handle_in` did.
    async fn handle_in(&self, topic: &str, event: &str, payload: Value) -> Value {
        if event != "new_msg" {
            return error("unknown event");
        }
        let message = push(topic, "new_msg", payload);
        self.rooms.broadcast(topic, message).await; // broadcast!(socket, "new_msg", payload)
        ok(json!({}))
    }

    fn presence(&self, topic: &str) -> Value {
        let mut users: HashMap<String, Vec<Value>> = HashMap::new();
        for (_, user) in self.rooms.presence(topic) {
            users
                .entry(user.name.clone())
                .or_default()
                .push(user.meta());
        }
        let users = users.into_iter();
        users
            .map(|(name, metas)| (name, json!({ "metas": metas })))
            .collect()
    }
}

async fn connect(ws: WebSocketUpgrade, State(rooms): State<Rooms>) -> Response {
    ws.on_upgrade(|socket| {
        let joined = HashMap::new();
        Client {
            socket,
            rooms,
            joined,
        }
        .run()
    })
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let rooms: Rooms = Groups::builder()
        .max_groups_per_connection(100)
        .member_data()
        .build();
    let app = Router::new()
        .route("/socket/websocket", any(connect))
        .with_state(rooms);
    serve(address.as_deref().unwrap_or("127.0.0.1:4000"), app).await?;
    Ok(())
}
