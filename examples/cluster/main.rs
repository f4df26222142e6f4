//! The chat on two nodes of a cluster, each with a port: what is written at one is read at the other.
//!
//! Start a Redis, by `redis-server` or `docker run -p 6379:6379 redis`. Then run
//! `cargo run --release --example cluster --features redis,nats`, and open both addresses that it prints. With
//! another engine, and addresses of your own: `… -- nats://127.0.0.1:4222 127.0.0.1:9001 127.0.0.1:9002`. Nodes in
//! several processes do the same: run it twice, with one address each.
//!
//! Stop the engine, and start it again: each port goes on by itself meanwhile, and the two find each other again.
//! Each node knows the members of a room that are its own.

#[path = "../chat/chat.rs"]
mod chat;
#[path = "../support/cli.rs"]
mod cli;
#[path = "../support/stop.rs"]
mod stop;

use std::process::ExitCode;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tower::BoxError;
use tower_websocket::{
    Connections, Groups,
    cluster::{Cluster, ClusterEvents, Nats, Redis},
};

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(USAGE, run).await
}

const USAGE: &str = "usage: cluster [ENGINE [ADDRESS]…]
    default: redis://127.0.0.1/ 127.0.0.1:8081 127.0.0.1:8082; or nats://127.0.0.1:4222";

async fn run(arguments: Vec<String>) -> Result<(), BoxError> {
    let mut args = arguments.into_iter();
    let engine = args
        .next()
        .unwrap_or_else(|| "redis://127.0.0.1/".to_owned());
    let mut addresses: Vec<_> = args.collect();
    if addresses.is_empty() {
        addresses = ["127.0.0.1:8081", "127.0.0.1:8082"]
            .map(str::to_owned)
            .into();
    }
    let connections = Connections::new();
    let mut nodes = tokio::task::JoinSet::new();
    for address in addresses {
        let cluster = start(&engine, &address)?;
        let rooms = Groups::builder().cluster(&cluster, "rooms").build();
        let listener = TcpListener::bind(&address).await;
        let listener = listener.map_err(|error| format!("{address}: {error}"))?;
        println!(
            "A node of the chat is open at http://{}.",
            listener.local_addr()?
        );
        tokio::spawn(tell(address, cluster.events()));
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let app = chat::app(rooms, &connections);
        nodes.spawn(async move { axum::serve(listener, app).await });
    }
    let nodes = async move {
        while let Some(node) = nodes.join_next().await {
            node??;
        }
        Ok::<_, BoxError>(())
    };
    stop::until_asked(nodes, &connections).await
}

/// Starts a node over the engine at a URL. It need not be there yet.
fn start(engine: &str, name: &str) -> Result<Cluster, BoxError> {
    let node = Cluster::builder("chat").node_name(name);
    Ok(match engine.starts_with("nats:") {
        true => node.start(Nats::new(engine)?),
        false => node.start(Redis::new(engine)?),
    })
}

async fn tell(node: String, mut events: ClusterEvents) {
    loop {
        println!("{node}: {:?}", events.recv().await);
    }
}
