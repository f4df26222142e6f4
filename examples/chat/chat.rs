//! The chat itself: its page, its rooms, and what is said in them.
//!
//! The page connects to `/rooms/{room}?name={name}`. It sends each message as text, and receives
//! JSON: `welcome` first, then `joined`, `left` and `said`, in the same order for everyone here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, Query};
use axum::{RequestPartsExt, Router, response::Html, routing::get};
use http::{Request, Version};
use serde_json::{Value, json};
use tokio::{runtime::Handle, sync::Mutex};
use tower::{BoxError, service_fn};
use tower_websocket::{
    CloseCode, CloseFrame, Compression, Config, Connections, Groups, Handshake, Message, Sender,
    WebSocket, WebSocketLayer,
    groups::{JoinError, Membership},
    service::Decision,
};

/// Makes the application; `rooms` are its rooms, and everyone in them is among `connections`.
pub(crate) fn app(rooms: Groups, connections: &Connections) -> Router {
    let everyone = Chat {
        rooms,
        names: Arc::default(),
    };
    let config = Config::default()
        .max_message_size(MAX_CHARS * 4)
        .compression(Compression::shared());
    let layer = WebSocketLayer::new(service_fn(move |request| chat(request, everyone.clone())))
        .on_handshake(at_the_door)
        .connections(connections)
        .config(config);
    Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .route_service("/rooms/{room}", layer.endpoint())
}

/// Which room a visitor wants to enter, and by which name.
#[derive(Clone)]
struct Visit {
    room: String,
    name: String,
    http: Version,
}

/// Checks room and name; closes with a reason, as a page learns nothing from a refusal.
async fn at_the_door(mut handshake: Handshake) -> Decision {
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
fn chat(request: Request<WebSocket>, chat: Chat) -> impl Future<Output = Result<(), BoxError>> {
    let (mut head, mut socket) = request.into_parts();
    let visit = head.extensions.remove::<Visit>();
    async move {
        let visit = visit.ok_or("the door admits no visitor without a room")?;
        let member = Member::enter(chat, visit, &socket.sender()).await?;
        while let Some(message) = socket.recv().await? {
            member.say(text_of(&message)?).await;
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

/// Everyone who is here: connections by room, and the names that are taken there.
#[derive(Clone)]
struct Chat {
    rooms: Groups,
    /// Locked by a member that comes or goes until everyone knows: all see it in the same order.
    names: Arc<Mutex<HashMap<String, BTreeSet<String>>>>,
}

impl Chat {
    /// Sends to everyone in a room. A member that cannot keep up is closed, as groups do if nothing else is
    /// asked for.
    async fn tell(&self, room: &str, event: Value) {
        self.rooms.broadcast(room, event.to_string()).await;
    }

    async fn forget(&self, visit: &Visit) {
        let mut names = self.names.lock().await;
        if let Some(taken) = names.get_mut(&visit.room) {
            taken.remove(&visit.name);
            if taken.is_empty() {
                names.remove(&visit.room);
            }
        }
        let left = json!({ "type": "left", "name": visit.name });
        self.tell(&visit.room, left).await;
    }
}

/// A place in a room, which is left when this is dropped, however the connection ended.
struct Member {
    chat: Chat,
    visit: Visit,
    _membership: Membership,
}

impl Member {
    /// Welcomes a new member, with a number after a name that is taken, and announces it to the others.
    async fn enter(chat: Chat, mut visit: Visit, socket: &Sender) -> Result<Self, JoinError> {
        let mut names = chat.names.lock().await;
        let taken = names.entry(visit.room.clone()).or_default();
        let (wanted, mut number) = (visit.name.clone(), 1);
        while taken.contains(&visit.name) {
            number += 1;
            visit.name = format!("{wanted} {number}");
        }
        let members: Vec<_> = taken.iter().chain([&visit.name]).collect();
        let welcome = json!({
            "type": "welcome", "room": visit.room, "name": visit.name,
            "http": format!("{:?}", visit.http), "members": members
        });
        // There is room in a new connection's queue, unless it is closed: then joining fails.
        let _closed = socket.try_send(welcome.to_string());
        let _membership = chat.rooms.join(visit.room.clone(), socket)?;
        taken.insert(visit.name.clone());
        let joined = json!({ "type": "joined", "name": visit.name }).to_string();
        let others = chat.rooms.broadcast_except(&visit.room, joined, socket);
        others.await;
        drop(names);
        Ok(Self {
            chat,
            visit,
            _membership,
        })
    }

    async fn say(&self, text: &str) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let (name, at) = (&self.visit.name, now.as_millis());
        let said = json!({ "type": "said", "name": name, "text": text, "at": at });
        self.chat.tell(&self.visit.room, said).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let (chat, visit) = (self.chat.clone(), self.visit.clone());
        // Without a runtime the program is ending, and no one is left to send to.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { chat.forget(&visit).await });
        }
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
