use std::{
    collections::HashMap,
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use actix_ws::{AggregatedMessage, CloseCode, CloseReason, Session};

#[derive(Default)]
struct Rooms {
    next: AtomicU64,
    members: Mutex<HashMap<String, HashMap<u64, Session>>>,
}

impl Rooms {
    async fn broadcast(&self, room: &str, text: &str) {
        let members: Vec<Session> = self.members.lock().unwrap()[room]
            .values()
            .cloned()
            .collect();
        for mut member in members {
            let _ = member.text(text).await;
        }
    }
}

async fn room(
    request: HttpRequest,
    body: web::Payload,
    room: web::Path<String>,
    rooms: web::Data<Rooms>,
) -> actix_web::Result<HttpResponse> {
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    let room = room.into_inner();
    actix_web::rt::spawn(talk(session, messages, room, rooms));
    Ok(response)
}

async fn talk(
    mut session: Session,
    messages: actix_ws::MessageStream,
    room: String,
    rooms: web::Data<Rooms>,
) {
    let mut messages = messages.aggregate_continuations();
    let id = rooms.next.fetch_add(1, Ordering::Relaxed);
    rooms
        .members
        .lock()
        .unwrap()
        .entry(room.clone())
        .or_default()
        .insert(id, session.clone());

    let mut reason = None;
    while let Some(Ok(message)) = messages.recv().await {
        match message {
            AggregatedMessage::Text(text) if text == "quit" => {
                reason = Some(CloseReason {
                    code: CloseCode::Other(4001),
                    description: Some("as you wish".to_owned()),
                });
                break;
            }
            AggregatedMessage::Text(text) => rooms.broadcast(&room, &text).await,
            AggregatedMessage::Ping(payload) => {
                let _ = session.pong(&payload).await;
            }
            AggregatedMessage::Close(frame) => {
                reason = frame;
                break;
            }
            _ => {}
        }
    }
    let _ = session.close(reason).await;
    rooms
        .members
        .lock()
        .unwrap()
        .entry(room.clone())
        .or_default()
        .remove(&id);
    rooms.broadcast(&room, "left").await;
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let address = env::args().nth(1).expect("an address");
    let rooms = web::Data::new(Rooms::default());
    let app = move || {
        App::new()
            .app_data(rooms.clone())
            .route("/rooms/{room}", web::get().to(room))
    };
    HttpServer::new(app).bind(address)?.run().await
}
