//! What the connections do, for Prometheus to read.
//!
//! Run: `cargo run --example metrics`, connect to ws://127.0.0.1:8080/echo, and look at
//! http://127.0.0.1:8080/metrics. Behind an address of your own a Redis may follow, whose cluster is shown, too:
//! `cargo run --example metrics --features redis -- 127.0.0.1:8080 redis://127.0.0.1/`.

use std::{fmt::Write, io};

use axum::{
    Router,
    extract::State,
    routing::{any, get},
    serve::ListenerExt,
};
use tokio::net::TcpListener;
#[cfg(feature = "redis")]
use tower_websocket::cluster::{Cluster, ClusterCounters, Redis};
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

/// The same for a cluster, of which this process is a node. The alarm belongs on `lost`.
#[cfg(feature = "redis")]
fn cluster_exposition(counters: &ClusterCounters) -> String {
    let mut text = String::new();
    let mut line = |name: &str, label: &str, value: u64| {
        let _ = writeln!(text, "websocket_cluster_{name}{label} {value}");
    };
    line("connected", "", counters.connected.into());
    line("nodes", "", counters.nodes);
    line("reconnects_total", "", counters.reconnects);
    line("published_total", "", counters.published);
    line("published_bytes_total", "", counters.published_bytes);
    line("confirmed_total", "", counters.confirmed);
    let refused = &counters.refused;
    for (reason, count) in [
        ("down", refused.down),
        ("full", refused.full),
        ("too_large", refused.too_large),
        ("expired", refused.expired),
        ("rejected", refused.rejected),
    ] {
        line("refused_total", &format!("{{reason=\"{reason}\"}}"), count);
    }
    line("received_total", "", counters.received);
    line("received_bytes_total", "", counters.received_bytes);
    line("lost_total", "", counters.lost);
    line("gaps_total", "", counters.gaps);
    line("own_echoes_total", "", counters.own_echoes);
    line("doubles_total", "", counters.doubles);
    line("overrun_total", "", counters.overrun);
    line("uninterested_total", "", counters.uninterested);
    line("closes_ignored_total", "", counters.closes_ignored);
    let malformed = &counters.malformed;
    for (reason, count) in [
        ("too_large", malformed.too_large),
        ("truncated", malformed.truncated),
        ("version", malformed.version),
        ("kind", malformed.kind),
        ("number", malformed.number),
        ("misplaced", malformed.misplaced),
        ("utf8", malformed.utf8),
        ("close", malformed.close),
        ("alive", malformed.alive),
        ("question", malformed.question),
    ] {
        line(
            "malformed_total",
            &format!("{{reason=\"{reason}\"}}"),
            count,
        );
    }
    line("topics_wanted", "", counters.topics_wanted);
    line("topics_subscribed", "", counters.topics_subscribed);
    line("queued_bytes", "", counters.queued_bytes);
    line("in_flight", "", counters.in_flight);
    line("inbound_bytes", "", counters.inbound_bytes);
    for (name, time) in [
        ("round_trip_seconds", counters.round_trip),
        ("max_round_trip_seconds", counters.max_round_trip),
    ] {
        if let Some(time) = time {
            let _ = writeln!(text, "websocket_cluster_{name} {}", time.as_secs_f64());
        }
    }
    text
}

/// Everything there is to tell.
#[derive(Clone)]
struct Watched {
    connections: Connections,
    #[cfg(feature = "redis")]
    cluster: Option<Cluster>,
}

impl Watched {
    fn exposition(&self) -> String {
        #[cfg_attr(not(feature = "redis"), expect(unused_mut, reason = "nothing follows"))]
        let mut text = exposition(&self.connections.counters());
        #[cfg(feature = "redis")]
        if let Some(cluster) = &self.cluster {
            text += &cluster_exposition(&cluster.counters());
        }
        text
    }
}

/// Makes this process a node of a cluster, if there is an engine for it.
#[cfg(feature = "redis")]
fn start(connections: &Connections) -> io::Result<Option<Cluster>> {
    let Some(url) = std::env::args().nth(2) else {
        return Ok(None);
    };
    let cluster = Cluster::start("metrics", Redis::new(&url).map_err(io::Error::other)?);
    cluster.attach(connections);
    Ok(Some(cluster))
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let connections = Connections::new();
    let layer = WebSocketLayer::new(handler(echo)).connections(&connections);
    let watched = Watched {
        #[cfg(feature = "redis")]
        cluster: start(&connections)?,
        connections,
    };
    let metrics = async |State(watched): State<Watched>| watched.exposition();
    let app = Router::new()
        .route("/echo", any(async || "a page").layer(layer))
        .route("/metrics", get(metrics))
        .with_state(watched);
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
