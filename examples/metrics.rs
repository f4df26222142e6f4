//! What the connections do, for Prometheus to read.
//!
//! Run: `cargo run --example metrics`, connect to ws://127.0.0.1:8080/echo, and look at
//! http://127.0.0.1:8080/metrics.

use std::{fmt::Write, io};

use axum::{
    Router,
    extract::State,
    routing::{any, get},
    serve::ListenerExt,
};
use tokio::net::TcpListener;
use tower_websocket::{
    Connections, Error, MemoryBudget, WebSocket, WebSocketLayer, handler, session::Counters,
};

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Prometheus' text format.
fn exposition(counters: &Counters) -> String {
    let mut text = String::new();
    let mut line = |name: &str, label: String, value: u64| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "websocket_{name}{label} {value}");
    };
    line("connections_open", String::new(), counters.open as u64);
    line("accepted_total", String::new(), counters.accepted);
    line(
        "failed_upgrades_total",
        String::new(),
        counters.failed_upgrades,
    );
    line(
        "memory_bytes",
        String::new(),
        MemoryBudget::default().used() as u64,
    );
    for (reason, count) in &counters.rejected {
        line("refused_total", format!("{{reason=\"{reason}\"}}"), *count);
    }
    // Clients choose among 2,000 codes from 3000 on: too many for labels.
    let (standard, own): (Vec<_>, Vec<_>) =
        counters.closed.iter().partition(|(code, _)| **code < 3000);
    for (code, count) in standard {
        line("closed_total", format!("{{code=\"{code}\"}}"), *count);
    }
    let own = own.into_iter().map(|(_, count)| count).sum();
    line("closed_total", "{code=\"3000-4999\"}".to_owned(), own);
    for (direction, messages, bytes) in [
        ("in", counters.messages_received, counters.bytes_received),
        ("out", counters.messages_sent, counters.bytes_sent),
    ] {
        line(
            "messages_total",
            format!("{{direction=\"{direction}\"}}"),
            messages,
        );
        line(
            "bytes_total",
            format!("{{direction=\"{direction}\"}}"),
            bytes,
        );
    }
    text
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let connections = Connections::new();
    let layer = WebSocketLayer::new(handler(echo)).connections(&connections);
    let metrics =
        async |State(connections): State<Connections>| exposition(&connections.counters());
    let app = Router::new()
        .route("/echo", any(async || "a page").layer(layer))
        .route("/metrics", get(metrics))
        .with_state(connections);
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!(
        "ws://{0}/echo and http://{0}/metrics",
        listener.local_addr()?
    );
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, app).await
}
