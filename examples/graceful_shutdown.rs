//! A server that says goodbye: on Ctrl-C or SIGTERM it closes every WebSocket with 1001 before it ends.
//!
//! Run: `cargo run --example graceful_shutdown`, connect to ws://127.0.0.1:8080/echo, press Ctrl-C.
//! systemd, Kubernetes and `kill` send SIGTERM, which does the same.

#[path = "support/asked.rs"]
mod asked;
#[path = "support/cli.rs"]
mod cli;

use std::{process::ExitCode, time::Duration};

use axum::{Router, routing::any, serve::ListenerExt};
use tokio::{net::TcpListener, sync::watch};
use tower::BoxError;
use tower_websocket::{Connections, Error, WebSocket, WebSocketLayer, handler, session::Drain};

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Waits until the server has to stop.
async fn stop(mut stopping: watch::Receiver<bool>) {
    // An error would mean that the sender is gone, and with it the program.
    let _stop = stopping.wait_for(|stop| *stop).await;
}

#[tokio::main]
async fn main() -> ExitCode {
    let usage = "usage: graceful_shutdown [ADDRESS]    default: 127.0.0.1:8080";
    cli::run(usage, serve).await
}

async fn serve(arguments: Vec<String>) -> Result<(), BoxError> {
    let connections = Connections::new();
    let layer = WebSocketLayer::new(handler(echo)).connections(&connections);
    let app = Router::new().route("/echo", any(async || "a page").layer(layer));
    let address = arguments.first().map_or("127.0.0.1:8080", String::as_str);
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| format!("{address}: {error}"))?;
    println!("ws://{}/echo", listener.local_addr()?);

    let (stopper, stopping) = watch::channel(false);
    tokio::spawn(async move {
        asked::to_stop().await;
        stopper.send_replace(true);
    });
    // Both at once: the server stops accepting and finishes plain requests, and the WebSockets, which
    // it would forget over HTTP/1.1 and wait for over HTTP/2, are closed and waited for.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let server = axum::serve(listener, app).with_graceful_shutdown(stop(stopping.clone()));
    let drain = async {
        stop(stopping).await;
        println!("closing {} connections", connections.len());
        connections
            .drain(Drain::default().timeout(Duration::from_secs(10)))
            .await
    };
    let (served, drained) = tokio::join!(server, drain);
    println!("{} ended, {} aborted", drained.ended, drained.aborted);
    Ok(served?)
}
