use std::{
    collections::HashMap,
    env,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

type Room = HashMap<SocketAddr, UnboundedSender<Message>>;
type Rooms = Arc<Mutex<HashMap<String, Room>>>;

fn broadcast(rooms: &Rooms, room: &str, message: Message) {
    for member in rooms.lock().unwrap()[room].values() {
        let _ = member.send(message.clone());
    }
}

async fn talk(stream: TcpStream, address: SocketAddr, rooms: Rooms) {
    let mut room = String::new();
    let read_path = |request: &Request, response: Response| {
        room = request.uri().path().to_owned();
        Ok::<_, ErrorResponse>(response)
    };
    let Ok(socket) = accept_hdr_async(stream, read_path).await else {
        return;
    };
    let (mut sink, mut messages) = socket.split();
    let (queue, mut queued) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = queued.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    });
    rooms
        .lock()
        .unwrap()
        .entry(room.clone())
        .or_default()
        .insert(address, queue.clone());

    while let Some(Ok(message)) = messages.next().await {
        match message {
            Message::Text(text) if text == "quit" => {
                let frame = CloseFrame {
                    code: CloseCode::Library(4001),
                    reason: "as you wish".into(),
                };
                let _ = queue.send(Message::Close(Some(frame)));
            }
            Message::Text(_) => broadcast(&rooms, &room, message),
            _ => {}
        }
    }
    rooms
        .lock()
        .unwrap()
        .entry(room.clone())
        .or_default()
        .remove(&address);
    broadcast(&rooms, &room, "left".into());
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = env::args().nth(1).expect("an address");
    let listener = TcpListener::bind(address).await?;
    let rooms = Rooms::default();
    loop {
        let (stream, address) = listener.accept().await?;
        tokio::spawn(talk(stream, address, rooms.clone()));
    }
}
