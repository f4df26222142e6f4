//! What the browser's side of the cookbook talks to: a page with a socket that comes back, and
//! uploads.
//!
//! Run: `cargo run --example pages`, open what it prints, stop it, and start it again. Files go
//! to the folder `uploads`, or to the one that is the second argument.

#[path = "../support/cli.rs"]
mod cli;
#[expect(dead_code, reason = "it is a program of its own, too")]
#[path = "upload.rs"]
mod upload;

use std::{
    collections::HashSet,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::State,
    response::Html,
    routing::{MethodRouter, any, get, post},
    serve::ListenerExt,
};
use http::{StatusCode, header::CONTENT_TYPE};
use tokio::net::TcpListener;
use tower::BoxError;
use tower_websocket::{
    CloseCode, Error, Groups, Handshake, Message, WebSocket, WebSocketLayer, groups::Broadcast,
    handler, service::Decision,
};

/// Tickets that were not used yet. Real ones cannot be guessed, and expire: see the page
/// `authentication`.
#[derive(Clone, Default)]
struct Tickets(Arc<Mutex<(u64, HashSet<u64>)>>);

impl Tickets {
    fn issue(&self) -> u64 {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.0 += 1;
        let ticket = tickets.0;
        tickets.1.insert(ticket);
        ticket
    }

    fn redeem(&self, handshake: &Handshake) -> bool {
        let query = handshake.uri().query().unwrap_or_default();
        let ticket = query
            .strip_prefix("ticket=")
            .and_then(|ticket| ticket.parse().ok());
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ticket.is_some_and(|ticket: u64| tickets.1.remove(&ticket))
    }
}

async fn admit(tickets: Tickets, handshake: Handshake) -> Decision {
    match tickets.redeem(&handshake) {
        true => handshake.accept(),
        false => handshake.reject(StatusCode::UNAUTHORIZED),
    }
}

/// Answers heartbeats, closes as it is told to, and passes on everything else.
async fn talk(mut socket: WebSocket, room: Groups) -> Result<(), Error> {
    let sender = socket.sender();
    let Ok(_membership) = room.join("room".to_owned(), &sender) else {
        return Ok(());
    };
    while let Some(message) = socket.recv().await? {
        let Message::Text(text) = message else {
            socket.close(CloseCode::UNSUPPORTED_DATA);
            continue;
        };
        if text == r#""ping""# {
            socket.send(r#""pong""#).await?;
        } else if let Some(code) = text.strip_prefix("close ") {
            let code = code.parse().ok().and_then(CloseCode::new);
            socket.close((code.unwrap_or(CloseCode::NORMAL), "as you say"));
        } else if text.starts_with("typing ") {
            let typing = Broadcast::new(text).droppable(16 << 10);
            room.broadcast_except("room", typing, &sender).await;
        } else {
            room.broadcast("room", text).await;
        }
    }
    Ok(())
}

fn script(text: &'static str) -> MethodRouter<Tickets> {
    get(async move || ([(CONTENT_TYPE, "text/javascript")], text))
}

fn app(folder: &upload::Folder) -> Router {
    let (tickets, room) = (Tickets::default(), Groups::new());
    let held = tickets.clone();
    let layer = WebSocketLayer::new(handler(move |socket| talk(socket, room.clone())))
        .on_handshake(move |handshake| admit(held.clone(), handshake));
    let ticket = async |State(tickets): State<Tickets>| tickets.issue().to_string();
    Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/reconnecting.js", script(include_str!("reconnecting.js")))
        .route("/typing.js", script(include_str!("typing.js")))
        .route("/upload.js", script(include_str!("upload.js")))
        .route("/ticket", post(ticket))
        .route("/socket", any(async || "a page").layer(layer))
        .with_state(tickets)
        .merge(upload::app(folder, 1 << 30))
}

#[tokio::main]
async fn main() -> ExitCode {
    let usage = "usage: pages [ADDRESS [FOLDER]]    default: 127.0.0.1:8080 uploads";
    cli::run(usage, serve).await
}

async fn serve(arguments: Vec<String>) -> Result<(), BoxError> {
    let mut arguments = arguments.into_iter();
    let address = arguments.next();
    let address = address.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let folder = arguments.next().unwrap_or_else(|| "uploads".to_owned());
    let folder = upload::Folder::open(folder)?;
    let listener = TcpListener::bind(&address).await;
    let listener = listener.map_err(|error| format!("{address}: {error}"))?;
    println!("open http://{}/", listener.local_addr()?);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, app(&folder)).await?)
}
