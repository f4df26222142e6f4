//! A chat with rooms, for browsers: one page, and a WebSocket per room and member.
//!
//! Run: `cargo run --release --example chat`, and open what it prints in two windows. Addresses of
//! your own: `… -- 127.0.0.1:9000 127.0.0.1:9443`.
//!
//! The page connects to `/rooms/{room}?name={name}`. It sends each message as text, and receives
//! JSON: `welcome` first, then `joined`, `left` and `said`, in the same order for everyone.

#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::extract::{Path, Query};
use axum::{RequestPartsExt, Router, response::Html, routing::get};
use http::{Request, Version};
use serde_json::{Value, json};
use support::Port;
use tower::{BoxError, service_fn};
use tower_websocket::{
    Answer, CloseCode, CloseFrame, Config, Handshake, Message, Sender, WebSocket, WebSocketLayer,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let plain = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let tls = args.next().unwrap_or_else(|| "127.0.0.1:8443".to_owned());
    let http = opened(&plain, Port::plain(&plain).await);
    let https = opened(&tls, Port::tls(&tls).await);
    let (plain, tls) = (http.address()?, https.address()?);
    println!("The chat is open at http://{plain} (HTTP/1.1) and https://{tls} (HTTP/2).");
    println!("The certificate was made just now: the browser will warn, and can be told to go on.");
    let app = app();
    tokio::join!(http.serve(app.clone()), https.serve(app));
    Ok(())
}

/// The port, or the end of the program with the reason.
fn opened(address: &str, port: Result<Port, BoxError>) -> Port {
    port.unwrap_or_else(|error| {
        eprintln!("Cannot listen on {address}: {error}");
        std::process::exit(1);
    })
}

fn app() -> Router {
    let rooms = Rooms::default();
    let layer = WebSocketLayer::new(service_fn(move |request| chat(request, rooms.clone())))
        .on_handshake(at_the_door)
        .config(Config::default().max_message_size(MAX_CHARS * 4));
    Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .route_service("/rooms/{room}", layer.endpoint())
}

/// Who wants to enter which room.
#[derive(Clone)]
struct Visit {
    room: String,
    name: String,
    http: Version,
}

/// Checks room and name; closes with a reason, as a page learns nothing from a refusal.
async fn at_the_door(mut handshake: Handshake) -> Answer {
    match visit(&mut handshake).await {
        Err(reason) => handshake.accept_then_close(reason),
        Ok(visit) => {
            handshake.extensions_mut().insert(visit);
            handshake.accept()
        }
    }
}

async fn visit(handshake: &mut Handshake) -> Result<Visit, (CloseCode, &'static str)> {
    type Asked = (Path<String>, Query<HashMap<String, String>>);
    let asked = handshake.head_mut().extract::<Asked>().await;
    let (Path(room), Query(mut query)) = asked.map_err(|_| BAD_ROOM)?;
    let name = query.remove("name").unwrap_or_default().trim().to_owned();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !(1..=32).contains(&room.len()) || !room.bytes().all(allowed) {
        return Err(BAD_ROOM);
    }
    if !(1..=32).contains(&name.encode_utf16().count()) {
        return Err(BAD_NAME);
    }
    let http = handshake.version();
    Ok(Visit { room, name, http })
}

/// One member in one room, from coming to going.
///
/// Not an `async fn`, whose future would hold the head as long as the connection lives.
fn chat(request: Request<WebSocket>, rooms: Rooms) -> impl Future<Output = Result<(), BoxError>> {
    let (mut head, mut socket) = request.into_parts();
    let visit = head.extensions.remove::<Visit>();
    async move {
        let visit = visit.ok_or("nobody comes past the door without a room")?;
        let member = Member::enter(rooms, visit, socket.sender());
        while let Some(message) = socket.recv().await? {
            member.say(text_of(&message)?);
        }
        Ok(())
    }
}

/// The text, or the Close frame that ends the connection when a handler fails with it.
fn text_of(message: &Message) -> Result<&str, CloseFrame> {
    let text = message.as_text().ok_or(NOT_TEXT)?;
    if text.chars().count() > MAX_CHARS {
        return Err(TOO_LONG.into());
    }
    Ok(text)
}

/// Everyone who is here, by room and by name.
type Rooms = Arc<Mutex<HashMap<String, Members>>>;
type Members = BTreeMap<String, Sender>;

/// Never held over an `.await`: sending to members takes no waiting, see [`send`].
fn lock(rooms: &Rooms) -> MutexGuard<'_, HashMap<String, Members>> {
    rooms.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in a room, which is left when this is dropped, however the connection ended.
struct Member {
    rooms: Rooms,
    visit: Visit,
}

impl Member {
    /// Welcomes a new member, with a number after a name that is taken, and tells the others.
    fn enter(rooms: Rooms, mut visit: Visit, socket: Sender) -> Self {
        let mut guard = lock(&rooms);
        let members = guard.entry(visit.room.clone()).or_default();
        let (wanted, mut number) = (visit.name.clone(), 1);
        while members.contains_key(&visit.name) {
            number += 1;
            visit.name = format!("{wanted} {number}");
        }
        tell(members, &json!({ "type": "joined", "name": visit.name }));
        members.insert(visit.name.clone(), socket.clone());
        let welcome = json!({
            "type": "welcome", "room": visit.room, "name": visit.name,
            "http": format!("{:?}", visit.http), "members": members.keys().collect::<Vec<_>>()
        });
        send(&socket, Message::text(welcome.to_string()));
        drop(guard);
        Self { rooms, visit }
    }

    fn say(&self, text: &str) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let (name, at) = (&self.visit.name, now.as_millis());
        let said = json!({ "type": "said", "name": name, "text": text, "at": at });
        if let Some(members) = lock(&self.rooms).get(&self.visit.room) {
            tell(members, &said);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut rooms = lock(&self.rooms);
        if let Some(members) = rooms.get_mut(&self.visit.room) {
            members.remove(&self.visit.name);
            tell(members, &json!({ "type": "left", "name": self.visit.name }));
            if members.is_empty() {
                rooms.remove(&self.visit.room);
            }
        }
    }
}

/// Sends the same to every member: written once, shared by all of them.
fn tell(members: &Members, event: &Value) {
    let message = Message::text(event.to_string());
    for socket in members.values() {
        send(socket, message.clone());
    }
}

/// Sends without waiting. Who has more unsent than [`Config::max_send_queue`] is too slow.
fn send(socket: &Sender, message: Message) {
    if socket.try_send(message).is_err() {
        socket.close((CloseCode::TRY_AGAIN_LATER, "too slow to keep up"));
    }
}

const MAX_CHARS: usize = 4000;
const TOO_LONG: (CloseCode, &str) = (CloseCode::MESSAGE_TOO_BIG, "more than 4,000 characters");
const NOT_TEXT: (CloseCode, &str) = (CloseCode::UNSUPPORTED_DATA, "a message is text");
const BAD_ROOM: (CloseCode, &str) = (private(4000), "a room has 1 to 32 letters, digits, hyphens");
const BAD_NAME: (CloseCode, &str) = (private(4001), "a name has 1 to 32 characters");

const fn private(code: u16) -> CloseCode {
    CloseCode::new(code).expect("a code for applications")
}
