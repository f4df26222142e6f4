//! Push to browsers from plain HTTP requests: to all of them, or to one; and see who is there.
//!
//! Run: `cargo run --example notify`, open http://127.0.0.1:8080/?name=ann and another one, and then:
//!
//! ```sh
//! curl http://127.0.0.1:8080/who   # with `--features axum` also from where
//! curl -d 'dinner is ready' http://127.0.0.1:8080/notify
//! curl -d 'only for you' http://127.0.0.1:8080/notify/ID   # the page shows its ID
//! ```

#[path = "support/cli.rs"]
mod cli;
#[path = "support/stop.rs"]
mod stop;

use std::{fmt::Write, net::SocketAddr, process::ExitCode};

use axum::{
    RequestPartsExt, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::Html,
    routing::{get, post},
    serve::ListenerExt,
};
use tokio::net::TcpListener;
use tower::BoxError;
use tower_websocket::{
    Connections, Error, Handshake, PreparedMessage, WebSocket, WebSocketLayer, handler,
    service::Decision,
};

/// The user at the other end.
struct Name(String);

/// Keeps the name with the connection. A login would be looked at here.
async fn greet(mut handshake: Handshake) -> Decision {
    type Pairs = Query<Vec<(String, String)>>;
    let query = handshake.head_mut().extract::<Pairs>().await;
    let pairs = query.map_or_else(|_| Vec::new(), |Query(pairs)| pairs);
    if let Some((_, name)) = pairs.into_iter().find(|(key, _)| key == "name") {
        handshake.set_data(Name(name));
    }
    handshake.accept()
}

/// Sends the page its number, then waits for the end: everything else is pushed from outside.
async fn listen(mut socket: WebSocket) -> Result<(), Error> {
    if let Some(id) = socket.id() {
        socket.send(format!("this page is {id}")).await?;
    }
    while socket.recv().await?.is_some() {}
    Ok(())
}

/// Queues the text for every open connection, and says for how many.
async fn notify_all(State(connections): State<Connections>, text: String) -> String {
    let message = PreparedMessage::new(text);
    // A page with more unsent than fits its queue misses this one.
    let told = connections
        .iter()
        .filter(|socket| socket.try_send(&message).is_ok());
    format!("told {}\n", told.count())
}

/// Lists the open connections.
async fn who(State(connections): State<Connections>) -> String {
    let mut list = String::new();
    for socket in connections.iter() {
        let (Some(id), Some(info)) = (socket.id(), socket.info()) else {
            continue; // not with this layer, which keeps both
        };
        let name = socket.data::<Name>();
        let name = name.as_ref().map_or("somebody", |name| &name.0);
        let age = info.connected_at().elapsed().unwrap_or_default().as_secs();
        let from = info.peer_addr().map(|address| format!(" from {address}"));
        let from = from.unwrap_or_default();
        // Writing to a `String` does not fail.
        let _written = writeln!(list, "{id}: {name:?}{from}, for {age} seconds");
    }
    list
}

async fn notify_one(
    State(connections): State<Connections>,
    Path(id): Path<String>,
    text: String,
) -> StatusCode {
    let socket = id.parse().ok().and_then(|id| connections.get(id));
    match socket.map(|socket| socket.try_send(text)) {
        Some(Ok(())) => StatusCode::ACCEPTED,
        Some(Err(_)) => StatusCode::SERVICE_UNAVAILABLE,
        None => StatusCode::NOT_FOUND,
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::run("usage: notify [ADDRESS]    default: 127.0.0.1:8080", serve).await
}

async fn serve(arguments: Vec<String>) -> Result<(), BoxError> {
    let connections = Connections::new();
    let layer = WebSocketLayer::new(handler(listen))
        .on_handshake(greet)
        .connection_info(true)
        .connections(&connections);
    let app = Router::new()
        .route("/", get(Html(PAGE)))
        .route_service("/listen", layer.endpoint())
        .route("/who", get(who))
        .route("/notify", post(notify_all))
        .route("/notify/{id}", post(notify_one))
        .with_state(connections.clone());
    let address = arguments.first().map_or("127.0.0.1:8080", String::as_str);
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| format!("{address}: {error}"))?;
    println!("http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    stop::until_asked(axum::serve(listener, app).into_future(), &connections).await
}

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>notify</title><ul id="news"></ul><script>
const socket = new WebSocket("/listen" + location.search);
socket.onmessage = ({ data }) => news.append(Object.assign(document.createElement("li"), { textContent: data }));
</script>"#;
