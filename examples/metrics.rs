//! What the connections do, for Prometheus to read.
//!
//! Run: `cargo run --example metrics`, connect to ws://127.0.0.1:8080/echo or /lobby, and look at
//! http://127.0.0.1:8080/metrics. Behind an address of your own a Redis may follow, whose cluster is shown, too:
//! `cargo run --example metrics --features redis -- 127.0.0.1:8080 redis://127.0.0.1/`.

use std::{
    fmt::{Display, Write},
    io,
};

use axum::{
    Router,
    extract::State,
    http::header::CONTENT_TYPE,
    routing::{any, get},
    serve::ListenerExt,
};
use tokio::net::TcpListener;
#[cfg(feature = "redis")]
use tower_websocket::cluster::{Cluster, ClusterCounters, Redis};
use tower_websocket::{
    Connections, Error, Groups, MemoryBudget, WebSocket, WebSocketLayer, groups::Delivery, handler,
};

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Sends what one member says to everyone in the lobby.
async fn lobby(mut socket: WebSocket, rooms: Rooms) -> Result<(), Error> {
    let Ok(_member) = rooms.join("lobby", &socket.sender()) else {
        // The connection has ended meanwhile.
        return Ok(());
    };
    while let Some(message) = socket.recv().await? {
        rooms.broadcast("lobby", message).await;
    }
    Ok(())
}

type Rooms = Groups<&'static str>;

/// Prometheus' text format, for what follows the counters of connections.
struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family of samples: its name, its type (`counter` or `gauge`), and what it is.
    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP websocket_{name} {help}");
        let _ = writeln!(self.text, "# TYPE websocket_{name} {kind}");
        let text = &mut self.text;
        Family { text, name }
    }

    fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "counter", help)
    }

    fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "gauge", help)
    }
}

/// The samples of one name, which belong together.
struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Family<'_> {
    fn is(&mut self, value: impl Display) {
        let _ = writeln!(self.text, "websocket_{} {value}", self.name);
    }

    /// A sample with a label, whose value has no quotes, backslashes or line feeds.
    fn with(&mut self, label: &str, of: impl Display, value: impl Display) {
        let name = self.name;
        let _ = writeln!(self.text, "websocket_{name}{{{label}=\"{of}\"}} {value}");
    }
}

/// What all connections hold in memory.
fn expose_memory(exposition: &mut Exposition) {
    exposition
        .gauge("memory_bytes", "What counts in the memory budget.")
        .is(MemoryBudget::default().used());
}

/// What became of broadcasts; a server that has groups prints them.
fn expose_groups(exposition: &mut Exposition, totals: &Delivery) {
    let mut delivered = exposition.counter(
        "broadcasts_total",
        "Members, by what became of a broadcast.",
    );
    delivered.with("outcome", "sent", totals.sent);
    delivered.with("outcome", "dropped", totals.dropped);
    delivered.with("outcome", "closed", totals.closed);
}

/// The same for a cluster, of which this process is a node. The alarm belongs on `lost`.
#[cfg(feature = "redis")]
fn expose_cluster(exposition: &mut Exposition, counters: &ClusterCounters) {
    let mut gauge = |name: &str, value: u64, help: &str| {
        exposition.gauge(&format!("cluster_{name}"), help).is(value);
    };
    gauge(
        "connected",
        counters.connected.into(),
        "The engine is there.",
    );
    gauge("nodes", counters.nodes, "Nodes that are alive.");
    gauge(
        "topics_wanted",
        counters.topics_wanted,
        "Topics with members.",
    );
    gauge(
        "topics_subscribed",
        counters.topics_subscribed,
        "Confirmed ones.",
    );
    gauge(
        "queued_bytes",
        counters.queued_bytes,
        "What waits for the engine.",
    );
    gauge("in_flight", counters.in_flight, "Sent and not confirmed.");
    gauge(
        "inbound_bytes",
        counters.inbound_bytes,
        "What waits for members.",
    );
    expose_cluster_totals(exposition, counters);
    expose_cluster_failures(exposition, counters);
    let times = [
        ("cluster_round_trip_seconds", counters.round_trip),
        ("cluster_max_round_trip_seconds", counters.max_round_trip),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            let mut family = exposition.gauge(name, "To the engine and back.");
            family.is(time.as_secs_f64());
        }
    }
}

#[cfg(feature = "redis")]
fn expose_cluster_totals(exposition: &mut Exposition, counters: &ClusterCounters) {
    let mut total = |name: &str, value: u64, help: &str| {
        let name = format!("cluster_{name}_total");
        exposition.counter(&name, help).is(value);
    };
    total("reconnects", counters.reconnects, "Times it came back.");
    total("published", counters.published, "Messages published.");
    total("published_bytes", counters.published_bytes, "Their bytes.");
    total("confirmed", counters.confirmed, "Messages the engine has.");
    total("received", counters.received, "Messages of other nodes.");
    total("received_bytes", counters.received_bytes, "Their bytes.");
    total("lost", counters.lost, "Messages that never came.");
    total("gaps", counters.gaps, "Times that some were missing.");
    total("own_echoes", counters.own_echoes, "Our messages come back.");
    total("doubles", counters.doubles, "Messages that came twice.");
    total("overrun", counters.overrun, "Messages that came too fast.");
    total("uninterested", counters.uninterested, "Nobody wants them.");
    total("closes_ignored", counters.closes_ignored, "Not allowed.");
}

#[cfg(feature = "redis")]
fn expose_cluster_failures(exposition: &mut Exposition, counters: &ClusterCounters) {
    let refused = &counters.refused;
    let mut family =
        exposition.counter("cluster_refused_total", "Messages that were not published.");
    for (reason, count) in [
        ("down", refused.down),
        ("full", refused.full),
        ("too_large", refused.too_large),
        ("expired", refused.expired),
        ("rejected", refused.rejected),
    ] {
        family.with("reason", reason, count);
    }
    let malformed = &counters.malformed;
    let mut family = exposition.counter("cluster_malformed_total", "Envelopes that are none.");
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
        family.with("reason", reason, count);
    }
}

/// Everything there is to tell.
#[derive(Clone)]
struct Watched {
    connections: Connections,
    rooms: Rooms,
    #[cfg(feature = "redis")]
    cluster: Option<Cluster>,
}

impl Watched {
    fn exposition(&self) -> String {
        let text = self.connections.counters().to_prometheus();
        let mut exposition = Exposition { text };
        expose_memory(&mut exposition);
        expose_groups(&mut exposition, &self.rooms.totals());
        #[cfg(feature = "redis")]
        if let Some(cluster) = &self.cluster {
            expose_cluster(&mut exposition, &cluster.counters());
        }
        exposition.text
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
    let rooms = Rooms::new();
    let echo = WebSocketLayer::new(handler(echo)).connections(&connections);
    let lobby = {
        let rooms = rooms.clone();
        WebSocketLayer::new(handler(move |socket| lobby(socket, rooms.clone())))
    };
    let lobby = lobby.connections(&connections);
    let watched = Watched {
        #[cfg(feature = "redis")]
        cluster: start(&connections)?,
        connections,
        rooms,
    };
    let metrics = async |State(watched): State<Watched>| {
        let format = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
        (format, watched.exposition())
    };
    let app = Router::new()
        .route("/echo", any(async || "a page").layer(echo))
        .route("/lobby", any(async || "a page").layer(lobby))
        .route("/metrics", get(metrics))
        .with_state(watched);
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!(
        "ws://{0}/echo, ws://{0}/lobby and http://{0}/metrics",
        listener.local_addr()?
    );
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, app).await
}
