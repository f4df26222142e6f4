use std::{
    collections::HashMap,
    env,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use warp::{
    Filter,
    ws::{Message, WebSocket, Ws},
};

type Room = HashMap<u64, UnboundedSender<Message>>;
type Rooms = Arc<Mutex<HashMap<String, Room>>>;

static NEXT: AtomicU64 = AtomicU64::new(0);

fn broadcast(rooms: &Rooms, room: &str, message: Message) {
    for member in rooms.lock().unwrap()[room].values() {
        let _ = member.send(message.clone());
    }
}

async fn talk(socket: WebSocket, room: String, rooms: Rooms) {
    let (mut sink, mut messages) = socket.split();
    let (queue, mut queued) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = queued.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    });
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    rooms
        .lock()
        .unwrap()
        .entry(room.clone())
        .or_default()
        .insert(id, queue.clone());

    while let Some(Ok(message)) = messages.next().await {
        match message.to_str() {
            Ok("quit") => {
                let _ = queue.send(Message::close_with(4001_u16, "as you wish"));
            }
            Ok(_) => broadcast(&rooms, &room, message),
            Err(()) => {}
        }
    }
    rooms
        .lock()
        .unwrap()
        .entry(room.clone())
        .or_default()
        .remove(&id);
    broadcast(&rooms, &room, Message::text("left"));
}

#[tokio::main]
async fn main() {
    let address = env::args().nth(1).expect("an address");
    let address: SocketAddr = address.parse().expect("an IP address and a port");
    let rooms = Rooms::default();
    let chat = warp::path!("rooms" / String)
        .and(warp::ws())
        .map(move |room: String, ws: Ws| {
            let rooms = rooms.clone();
            ws.on_upgrade(|socket| talk(socket, room, rooms))
        });
    let pages = warp::path!("hello" / String).map(|name| format!("Hello, {name}!"));
    warp::serve(chat.or(pages)).run(address).await;
}
