//! axum's own `ws`.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::Uri;
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast;

use super::incoming::Incoming;
use super::{BoxError, Mode};

/// `read_buffer` is in bytes; axum's default of 128 KiB if `None`.
pub(super) async fn serve(
    incoming: Incoming,
    mode: Mode,
    read_buffer: Option<usize>,
) -> Result<(), BoxError> {
    let (all, _) = broadcast::channel::<Message>(1024);
    let upgrade = async move |uri: Uri, upgrade: WebSocketUpgrade| {
        let mode = mode.at(uri.path());
        let upgrade = match read_buffer {
            Some(bytes) => upgrade.read_buffer_size(bytes),
            None => upgrade,
        };
        upgrade.on_upgrade(move |socket| async move {
            // The other end may vanish; the load generator notices.
            let _ended = match mode {
                Mode::Broadcast => forward(socket, all).await,
                _ => echo(socket).await,
            };
        })
    };
    let app = Router::new()
        .route("/", any(upgrade.clone()))
        .route("/echo", any(upgrade));
    incoming.serve(app).await
}

async fn echo(mut socket: WebSocket) -> Result<(), axum::Error> {
    while let Some(message) = socket.recv().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            // A Close frame is answered by receiving on.
            Message::Close(_) | Message::Ping(_) | Message::Pong(_) => {}
        }
    }
    Ok(())
}

async fn forward(socket: WebSocket, all: broadcast::Sender<Message>) -> Result<(), axum::Error> {
    let (mut send, mut receive) = socket.split();
    let mut feed = all.subscribe();
    let sending = tokio::spawn(async move {
        while let Ok(message) = feed.recv().await {
            if send.send(message).await.is_err() {
                break;
            }
        }
    });
    while let Some(Ok(message)) = receive.next().await {
        match message {
            // Nobody may be there to receive it.
            Message::Text(_) | Message::Binary(_) => drop(all.send(message)),
            Message::Close(_) => break,
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
    sending.abort();
    Ok(())
}
