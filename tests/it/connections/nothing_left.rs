//! What is left of connections that have ended: nothing.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::sleep;
use tower::BoxError;
use tower_websocket::{Config, Connections, Groups, WebSocket, WebSocketLayer, session::Drain};

use super::{gone, gone_by_now};
use crate::{
    crowd::{Kept, ask, tasks, until},
    session::support::{SHAPES, idle},
    support::{
        self, Http, handler,
        http::{Ask, Peer, Server},
        on_both, within,
    },
};

/// What a handler of the crowd does.
async fn crowd(mut socket: WebSocket, groups: Groups, kept: Arc<()>) -> Result<(), BoxError> {
    let mine = groups.join("all".to_owned(), &socket.sender())?;
    let some = groups.join(
        format!("{}", socket.id().map_or(0, |id| id.as_u64() % 10)),
        &socket.sender(),
    )?;
    // Beside the socket, a task of the application's own.
    let copy = kept.clone();
    let sender = socket.sender();
    tokio::spawn(async move {
        sender.closed().await;
        drop(copy);
    });
    let order = socket.recv().await?;
    match order.as_ref().and_then(|order| order.as_text()) {
        Some("return") => Ok(()),
        Some("fail") => Err("as ordered".into()),
        Some("panic") => panic!("as ordered"),
        Some("abort") => {
            socket.sender().abort();
            pending().await
        }
        Some("run on") => {
            while let Ok(Some(_)) = socket.recv().await {}
            drop((mine, some, kept));
            Ok(())
        }
        _ => {
            while let Ok(Some(_)) = socket.recv().await {}
            Ok(())
        }
    }
}

/// How the connections of a crowd end: what the peer sends, and whether it leaves then.
const WAYS: [(&str, bool); 9] = [
    ("return", false),
    ("fail", false),
    ("panic", false),
    ("abort", false),
    ("run on", true),
    ("close", false),
    ("reset", true),
    ("time out", false),
    ("violate", false),
];

async fn end_in(way: &str, leaves: bool, mut peer: Peer) {
    match way {
        "close" => peer.send(0x8, &1000_u16.to_be_bytes()).await,
        "violate" => peer.write(b"\x81\x05Hello").await,
        "reset" | "time out" => {}
        order => peer.send(0x1, order.as_bytes()).await,
    }
    if leaves {
        return;
    }
    // Whatever comes, a client answers nothing, and waits for the end.
    within(peer.rest()).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_thousands_of_connections_however_they_end() {
    const CONNECTIONS: usize = 9_000;
    const AT_ONCE: usize = 500;
    let connections = Connections::new();
    let groups = Groups::new();
    let (value, kept) = Kept::new();
    let before = tasks();
    let config = Config::default()
        .idle_timeout(Duration::from_secs(60))
        .close_timeout(Duration::from_secs(1));
    let service = {
        let (groups, value) = (groups.clone(), value);
        WebSocketLayer::new(handler(move |socket| {
            crowd(socket, groups.clone(), value.clone())
        }))
        .config(config)
        .connections(&connections)
        .endpoint()
    };
    for start in (0..CONNECTIONS).step_by(AT_ONCE) {
        let all = (start..start + AT_ONCE).map(|index| {
            let shape = SHAPES[index % 2];
            let (way, leaves) = WAYS[index / 2 % WAYS.len()];
            let service = service.clone();
            async move {
                let peer = Peer::open(service, ask(shape)).await;
                end_in(way, leaves, peer).await;
            }
        });
        join_all(all).await;
    }
    sleep(Duration::from_secs(100)).await;
    assert_eq!(connections.counters().accepted, CONNECTIONS as u64);
    // The rest is drained.
    let mut peers = Vec::new();
    for index in 0..1000 {
        peers.push(Peer::open(service.clone(), ask(SHAPES[index % 2])).await);
    }
    idle().await;
    assert_eq!((connections.len(), groups.len()), (1000, 11));
    assert_eq!(groups.member_count("all"), 1000);
    assert_eq!(kept.count(), 2001);
    let drained = connections.drain(Drain::default()).await;
    assert_eq!((drained.ended, drained.aborted), (1000, 0));
    nothing_is_left(&connections, &groups).await;
    idle().await;
    assert_eq!(tasks(), before);
    drop(service);
    assert_eq!(kept.count(), 0);
    let closed: u64 = connections.counters().closed.values().sum();
    assert_eq!(closed, CONNECTIONS as u64 + 1000);
    drop(peers);
}

async fn nothing_is_left(connections: &Connections, groups: &Groups) {
    let counters = connections.counters();
    assert_eq!((connections.len(), counters.open), (0, 0));
    assert_eq!(connections.iter().count(), 0);
    assert_eq!((groups.len(), groups.member_count("all")), (0, 0));
    assert_eq!(counters.failed_upgrades, 0);
    assert_eq!(gone(connections).await, 0);
}

#[tokio::test]
async fn nothing_is_left_of_real_connections_however_they_end() {
    on_both(async |http| {
        let connections = Connections::new();
        let groups = Groups::new();
        let (value, kept) = Kept::new();
        let service = {
            let groups = groups.clone();
            let layer = WebSocketLayer::new(handler(move |socket| {
                crowd(socket, groups.clone(), value.clone())
            }));
            layer.connections(&connections).endpoint()
        };
        let server = Server::start(service).await;
        let mut opened = 0;
        for round in 0..8 {
            let client = match http {
                Http::One => None,
                Http::Two => Some(support::http::Http2::to(&server).await),
            };
            // None that a deadline ends: the clock is the world's.
            let ways = WAYS
                .iter()
                .filter(|(way, _)| !["time out", "panic"].contains(way));
            for (way, leaves) in ways {
                let ask = Ask::handshake(http, "/");
                let answer = match &client {
                    None => ask.send(&server).await,
                    Some(client) => client.send(ask).await,
                };
                let mut peer = answer.opened(http);
                opened += 1;
                match *way {
                    "close" if round % 2 == 0 => peer.close().await,
                    "return" => {
                        peer.send(0x1, b"return").await;
                        assert_eq!(peer.closed().await.0, 1000);
                    }
                    "fail" => {
                        peer.send(0x1, b"fail").await;
                        assert_eq!(peer.closed().await.0, 1011);
                    }
                    "violate" => drop(peer),
                    way => end_in(way, *leaves, peer).await,
                }
            }
        }
        until(|| connections.is_empty()).await;
        until(|| kept.count() == 1).await;
        let counted = connections.counters();
        assert_eq!(counted.accepted, opened);
        assert_eq!(counted.closed.values().sum::<u64>(), opened);
        until(|| gone_by_now(&connections)).await;
        nothing_is_left(&connections, &groups).await;
    })
    .await;
}
