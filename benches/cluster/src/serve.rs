//! A server that others are compared with, in a process of its own. It is told what to publish on its stdin.

use std::{net::Ipv4Addr, time::Duration};

use axum::Router;
use socketioxide::{
    SocketIo,
    adapter::Adapter,
    extract::{Data, SocketRef},
};
use socketioxide_redis::{RedisAdapter, RedisAdapterCtr};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    net::TcpListener,
    runtime::Builder,
    time::{MissedTickBehavior, interval},
};
use tower_websocket::Groups;

use crate::{Outcome, engine, node, source::PAYLOAD};

/// Serves until stdin ends.
pub(crate) fn run(peer: &str, url: &str) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match peer {
            "ours" => ours(url).await,
            "socketioxide" => socketioxide(url).await,
            _ => Err(format!("no server {peer}").into()),
        }
    })
}

async fn ours(url: &str) -> Outcome {
    let cluster = engine::node(url)?;
    let groups: Groups = Groups::builder().cluster(&cluster, engine::ROOMS).build();
    let port = node::serve(groups.clone(), Groups::new()).await?;
    cluster.connected().await;
    println!("port {port}");
    let text: String = "x".repeat(PAYLOAD);
    orders(async |room| {
        groups.broadcast(room.as_str(), text.clone()).await;
        Ok(())
    })
    .await
}

async fn socketioxide(url: &str) -> Outcome {
    let client = redis::Client::open(format!("{url}?protocol=resp3"))?;
    let adapter = RedisAdapterCtr::new_with_redis(&client).await?;
    let (layer, io) = SocketIo::builder()
        .ping_interval(Duration::from_secs(300))
        .with_adapter::<RedisAdapter<_>>(adapter)
        .build_layer();
    io.ns("/", on_connect).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("port {}", listener.local_addr()?.port());
    let app: Router = Router::new().layer(layer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let text: String = "x".repeat(PAYLOAD);
    orders(async |room| {
        // What it says is said to nobody here.
        let _sent = io.to(room).emit("m", &text).await;
        Ok(())
    })
    .await
}

async fn on_connect<A: Adapter>(socket: SocketRef<A>) {
    socket.on(
        "join",
        async |socket: SocketRef<A>, Data(room): Data<String>| {
            socket.join(room);
        },
    );
}

/// Publishes as it is told: `go ROOMS COUNT RATE BURST`, messages a second, and how many at a time to a room.
async fn orders(mut publish: impl AsyncFnMut(String) -> Outcome) -> Outcome {
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split(' ').collect();
        let ["go", rooms, count, rate, burst] = words.as_slice() else {
            return Err(format!("what is {line:?}?").into());
        };
        let (rooms, count, rate): (usize, usize, u64) =
            (rooms.parse()?, count.parse()?, rate.parse()?);
        let burst: usize = burst.parse()?;
        let mut ticks = interval(Duration::from_micros(burst as u64 * 1_000_000 / rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for at in 0..count {
            if at % burst == 0 {
                ticks.tick().await;
            }
            publish(format!("r{}", at / burst % rooms)).await?;
        }
        println!("done");
    }
    Ok(())
}
