//! The chat on two nodes of a cluster, each with a port: who writes at one is read at the other.
//!
//! Start a Redis, by `redis-server` or `docker run -p 6379:6379 redis`. Then run
//! `cargo run --release --example cluster --features redis,nats`, and open both addresses that it prints. With
//! another engine, and addresses of your own: `… -- nats://127.0.0.1:4222 127.0.0.1:9001 127.0.0.1:9002`. Nodes in
//! several processes do the same: run it twice, with one address each.
//!
//! Stop the engine, and start it again: each port goes on by itself meanwhile, and the two find each other again.
//! Who is in a room is known to each node for itself.

#[path = "../chat/chat.rs"]
mod chat;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tower::BoxError;
use tower_websocket::{
    Groups,
    cluster::{Cluster, ClusterEvents, Nats, Redis},
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let engine = args
        .next()
        .unwrap_or_else(|| "redis://127.0.0.1/".to_owned());
    let mut addresses: Vec<_> = args.collect();
    if addresses.is_empty() {
        addresses = ["127.0.0.1:8081", "127.0.0.1:8082"]
            .map(str::to_owned)
            .into();
    }
    let mut nodes = tokio::task::JoinSet::new();
    for address in addresses {
        let cluster = start(&engine, &address)?;
        let rooms = Groups::builder().cluster(&cluster, "rooms").build();
        let listener = TcpListener::bind(&address).await?;
        println!(
            "A node of the chat is open at http://{}.",
            listener.local_addr()?
        );
        tokio::spawn(tell(address, cluster.events()));
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        nodes.spawn(async move { axum::serve(listener, chat::app(rooms)).await });
    }
    while let Some(node) = nodes.join_next().await {
        node??;
    }
    Ok(())
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
