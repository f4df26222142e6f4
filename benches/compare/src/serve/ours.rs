//! This crate: axum and the layer, with the default configuration.

use axum::{Router, routing::any};
use tower_websocket::{
    Compression, Config, Connections, Error, Groups, WebSocket, WebSocketLayer, handler,
    session::Drain,
};

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
        Mode::Echo | Mode::Broadcast | Mode::Drain => Config::default(),
        Mode::Shared => Config::default().compression(leveled(Compression::shared())),
        Mode::Dedicated => Config::default().compression(leveled(Compression::dedicated())),
    };
    let page = any(async || "a page");
    let layer = WebSocketLayer::new(handler(echo)).config(config.clone());
    let echo = page.clone().layer(layer);
    let route = match mode {
        Mode::Echo | Mode::Shared | Mode::Dedicated => echo.clone(),
        Mode::Broadcast => {
            let groups = Groups::new();
            let all = handler(move |socket| broadcast(socket, groups.clone()));
            page.layer(WebSocketLayer::new(all).config(config))
        }
        Mode::Drain => {
            let connections = Connections::new();
            let registry = connections.clone();
            let all = handler(move |socket| drain(socket, connections.clone()));
            page.layer(WebSocketLayer::new(all).connections(&registry))
        }
    };
    let app = Router::new().route("/", route).route("/echo", echo);
    incoming.serve(app).await
}

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// The first message has all connections closed.
async fn drain(mut socket: WebSocket, connections: Connections) -> Result<(), BoxError> {
    while let Some(_message) = socket.recv().await? {
        let connections = connections.clone();
        tokio::spawn(async move { connections.drain(Drain::default()).await });
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
