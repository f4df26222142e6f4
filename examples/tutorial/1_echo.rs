//! An echo server, and a page to try it.

use axum::{
    Router,
    response::{Html, Response},
    routing::{any, get},
    serve::ListenerExt,
};
use tokio::net::TcpListener;
use tower_websocket::{Error, WebSocket, extract::WebSocketUpgrade};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new()
        .route("/", get(Html(include_str!("echo.html"))))
        .route("/echo", any(open)); // `get` would refuse HTTP/2
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    // Otherwise a small message may wait 40 ms for the one before to be acknowledged.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    println!("http://127.0.0.1:8080");
    axum::serve(listener, app).await
}

/// Answers the handshake. Then `echo` runs, once for each connection.
async fn open(ws: WebSocketUpgrade) -> Response {
    ws.on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}
