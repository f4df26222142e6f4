//! Rooms with axum: a path parameter, shared state, and a token checked before the answer.
//!
//! Run: `cargo run --release --example axum`, then open `ws://127.0.0.1:8080/rooms/rust?token=secret`
//! with a WebSocket client, and <http://127.0.0.1:8080/rooms/rust> with a browser.

#[path = "support/cli.rs"]
mod cli;
#[path = "support/stop.rs"]
mod stop;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Query, State};
use axum::{RequestPartsExt, Router, routing::any, serve::ListenerExt};
use http::{Request, StatusCode};
use tokio::net::TcpListener;
use tower::{BoxError, service_fn};
use tower_websocket::{Connections, Handshake, WebSocket, WebSocketLayer, service::Decision};

/// How many messages each room has seen.
type Counts = Arc<Mutex<HashMap<String, u64>>>;

#[derive(Clone)]
struct Room(String);

/// Admits clients that know the token. axum's extractors work on the head of the handshake.
async fn admit(mut handshake: Handshake) -> Decision {
    type Asked = (Path<String>, Query<HashMap<String, String>>);
    // Not in a header, which pages cannot set on a WebSocket.
    if let Ok((Path(room), Query(query))) = handshake.head_mut().extract::<Asked>().await
        && query.get("token").is_some_and(|token| token == "secret")
    {
        handshake.extensions_mut().insert(Room(room));
        return handshake.accept();
    }
    handshake.reject((StatusCode::UNAUTHORIZED, "a token is needed\n"))
}

/// Numbers the messages of a room. Not an `async fn`, whose future would hold the head all along.
fn talk(request: Request<WebSocket>, counts: Counts) -> impl Future<Output = Result<(), BoxError>> {
    let (mut head, mut socket) = request.into_parts();
    let room = head.extensions.remove::<Room>();
    async move {
        let Room(room) = room.ok_or("the hook admits no client without a room")?;
        while let Some(_message) = socket.recv().await? {
            let reply = format!("message {} of {room}", count(&counts, &room, 1));
            socket.send(reply).await?;
        }
        Ok(())
    }
}

/// Adds to the count of a room, and returns the sum. A lock is never held over an `.await`.
fn count(counts: &Counts, room: &str, more: u64) -> u64 {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(room.to_owned()).or_default();
    *count += more;
    *count
}

async fn page(State(counts): State<Counts>, Path(room): Path<String>) -> String {
    format!("{room} has seen {} messages\n", count(&counts, &room, 0))
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::run("usage: axum [ADDRESS]    default: 127.0.0.1:8080", serve).await
}

async fn serve(arguments: Vec<String>) -> Result<(), BoxError> {
    let connections = Connections::new();
    let counts = Counts::default();
    let state = counts.clone();
    let layer = WebSocketLayer::new(service_fn(move |request| talk(request, state.clone())))
        .on_handshake(admit)
        .connections(&connections);
    // `any`, not `get`: over HTTP/2 a WebSocket is asked for by CONNECT.
    let page = any(page).layer(layer);
    let app = Router::new()
        .route("/rooms/{room}", page)
        .with_state(counts);

    // With axum's feature `http2`, `serve` speaks HTTP/2 too, and enables Extended CONNECT.
    let address = arguments.first().map_or("127.0.0.1:8080", String::as_str);
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| format!("{address}: {error}"))?;
    println!("counting at ws://{}/rooms/…", listener.local_addr()?);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    stop::until_asked(axum::serve(listener, app).into_future(), &connections).await
}
