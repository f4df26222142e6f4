//! This crate: axum and the layer, with the default configuration.

use axum::{Router, routing::any};
use tower_websocket::{Compression, Config, Error, Groups, WebSocket, WebSocketLayer, handler};

use super::incoming::Incoming;
use super::{BoxError, Mode};

/// `level` is that of compression; the crate's own default if `None`.
pub(super) async fn serve(
    incoming: Incoming,
    mode: Mode,
    level: Option<u8>,
) -> Result<(), BoxError> {
    let leveled = |compression: Compression| match level {
        Some(level) => compression.level(level),
        None => compression,
    };
    let config = match mode {
        Mode::Echo | Mode::Broadcast => Config::default(),
        Mode::Shared => Config::default().compression(leveled(Compression::shared())),
        Mode::Dedicated => Config::default().compression(leveled(Compression::dedicated())),
    };
    let page = any(async || "a page");
    let route = if mode == Mode::Broadcast {
        let groups = Groups::new();
        let all = handler(move |socket| broadcast(socket, groups.clone()));
        page.layer(WebSocketLayer::new(all).config(config))
    } else {
        page.layer(WebSocketLayer::new(handler(echo)).config(config))
    };
    incoming.serve(Router::new().route("/", route)).await
}

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

async fn broadcast(mut socket: WebSocket, groups: Groups) -> Result<(), BoxError> {
    let _membership = groups.join("all".to_owned(), &socket.sender())?;
    while let Some(message) = socket.recv().await? {
        groups.broadcast("all", message).await;
    }
    Ok(())
}
