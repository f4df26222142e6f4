//! Broadcasts to all connections of a registry.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    extract::State,
    routing::{any, post},
};
use tokio::io::{DuplexStream, duplex};
use tower::ServiceExt;
use tower_websocket::{
    CloseCode, CloseFrame, Compression, Config, Connections, WebSocket, WebSocketLayer,
    groups::{Broadcast, SlowConnection},
    handler,
    service::OnUpgrade,
    testing,
};

use super::{delivery, padded};
use crate::{
    crowd::{ask, registered, until},
    session::support::{SHAPES, Shape, idle, once},
    support::{
        Http,
        http::{Ask, Peer, Server},
        on_both,
    },
};

async fn listen(mut socket: WebSocket) {
    while let Ok(Some(_)) = socket.recv().await {}
}

async fn to_all(State(connections): State<Connections>, text: String) -> String {
    let delivery = connections.broadcast(text, SlowConnection::default()).await;
    delivery.sent.to_string()
}

#[tokio::test]
async fn plain_request_reaches_all_connections_of_both_versions() {
    on_both(async |http| {
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(listen)).connections(&connections);
        let app = Router::new()
            .route("/listen", any(async || "a page").layer(layer))
            .route("/say", post(to_all))
            .with_state(connections.clone());
        let server = Server::start(app).await;
        let mut peers = Vec::new();
        for http in [Http::One, Http::Two, http, http] {
            let ask = Ask::handshake(http, "/listen");
            peers.push(ask.send(&server).await.opened(http));
        }
        until(|| connections.len() == 4).await;
        let ask = Ask::plain(http, "/say").method("POST");
        let said = ask.header("content-length", "0").send(&server).await;
        assert_eq!(said.text(), "4");
        for peer in &mut peers {
            assert_eq!(peer.frame().await, Some((0x1, "".into())));
        }
    })
    .await;
}

/// Opens connections that hear what is said to all.
async fn listeners(connections: &Connections, count: usize) -> Vec<Peer> {
    let mut peers = Vec::with_capacity(count);
    for index in 0..count {
        let service = registered(connections, listen);
        peers.push(Peer::open(service, ask(SHAPES[index % 2])).await);
    }
    idle().await;
    peers
}

#[tokio::test(start_paused = true)]
async fn all_that_are_open_get_it_and_no_others() {
    let connections = Connections::new();
    let mut peers = listeners(&connections, 5).await;
    let closing = connections.iter().next().unwrap();
    closing.close(CloseCode::NORMAL);
    let sent = connections
        .broadcast("hi", SlowConnection::DropNewest)
        .await;
    assert_eq!(sent, delivery(4, 0, 0));
    let mut closed = 0;
    for peer in &mut peers {
        match peer.frame().await {
            Some((0x1, text)) => assert_eq!(text, "hi"),
            other => {
                assert_eq!(other, Some((0x8, vec![0x03, 0xe8].into())));
                closed += 1;
            }
        }
    }
    assert_eq!(closed, 1);
    let nobody = Connections::new();
    let sent = nobody.broadcast("hi", SlowConnection::default()).await;
    assert_eq!(sent, delivery(0, 0, 0));
}

/// A connection whose peer reads nothing, and whose queue is full with a few messages.
async fn stuck(connections: &Connections, shape: Shape) -> DuplexStream {
    let config = Config::default()
        .max_send_queue(1000)
        .write_timeout(None)
        .ping_interval(None);
    let layer = WebSocketLayer::new(handler(listen));
    let service = layer.config(config).connections(connections).endpoint();
    let (ours, theirs) = duplex(64);
    let mut request = ask(shape);
    request.extensions_mut().insert(OnUpgrade::new(theirs));
    let status = service.oneshot(request).await.unwrap().status();
    assert!(status.is_success() || status.is_informational());
    idle().await;
    ours
}

#[tokio::test(start_paused = true)]
async fn slow_connection_is_closed_or_misses_it_and_the_others_notice_nothing() {
    let custom = CloseFrame::from((CloseCode::new(4008).unwrap(), "sorry"));
    for shape in SHAPES {
        for slow in [
            SlowConnection::default(),
            SlowConnection::Close(custom.clone()),
            SlowConnection::DropNewest,
        ] {
            let connections = Connections::new();
            let _unread = stuck(&connections, shape).await;
            let sender = connections.iter().next().unwrap();
            let mut others = listeners(&connections, 2).await;
            for number in 0..30 {
                let full = sender.try_send("").is_err();
                let open = sender.is_open();
                let sent = connections.broadcast(padded(number), slow.clone()).await;
                let expected = match (full && open, &slow) {
                    (false, _) if !open => delivery(2, 0, 0),
                    (false, _) => delivery(3, 0, 0),
                    (true, SlowConnection::DropNewest) => delivery(2, 1, 0),
                    (true, _) => delivery(2, 0, 1),
                };
                assert_eq!(sent, expected, "{number}, {slow:?}");
                for peer in &mut others {
                    let frame = peer.frame().await.unwrap();
                    assert_eq!(frame.1, padded(number));
                }
                // What may be dropped closes nobody.
                let typing = Broadcast::new("typing").droppable(usize::MAX);
                let open = sender.is_open();
                connections.broadcast(typing, slow.clone()).await;
                assert_eq!(sender.is_open(), open);
                for peer in &mut others {
                    assert_eq!(peer.frame().await.unwrap().1, "typing");
                }
            }
            assert_eq!(sender.is_open(), slow == SlowConnection::DropNewest);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_agreed_on_compression_gets_it_compressed() {
    let connections = Connections::new();
    let config = Config::default().compression(Compression::shared());
    let layer = WebSocketLayer::new(handler(listen));
    let service = layer.config(config).connections(&connections).endpoint();
    let mut peers = Vec::new();
    for index in 0..10 {
        let request = match SHAPES[index % 2] {
            Shape::H1 => testing::request("/"),
            Shape::H2 => testing::request("/").http2(),
        };
        let request = request.header("sec-websocket-extensions", "permessage-deflate");
        peers.push(Peer::open(service.clone(), request.into_request()).await);
    }
    idle().await;
    let text = "all the same ".repeat(500);
    let sent = connections.broadcast(text, SlowConnection::default()).await;
    assert_eq!(sent, delivery(10, 0, 0));
    let mut frames = Vec::new();
    for peer in &mut peers {
        frames.push(peer.whole_frame().await.unwrap());
    }
    assert_eq!(frames[0].0, 0xc1, "compressed");
    assert!(frames.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test(start_paused = true)]
async fn broadcasts_come_in_the_same_order_to_all_and_yield_in_between() {
    let connections = Connections::new();
    let mut peers = listeners(&connections, 300).await;
    let reached = Arc::new(AtomicUsize::new(0));
    let mut first = pin!(connections.broadcast("1", SlowConnection::default()));
    let mut second = pin!(connections.broadcast("2", SlowConnection::default()));
    let mut polls = 0;
    while once(first.as_mut()).await.is_pending() {
        assert!(
            once(second.as_mut()).await.is_pending(),
            "it waits for its turn"
        );
        polls += 1;
        reached.fetch_add(1, Relaxed);
    }
    assert!(polls >= 300 / 60, "{polls}");
    assert_eq!(second.await, delivery(300, 0, 0));
    for peer in &mut peers {
        assert_eq!(peer.frame().await, Some((0x1, "1".into())));
        assert_eq!(peer.frame().await, Some((0x1, "2".into())));
    }
}

#[tokio::test(start_paused = true)]
async fn broadcast_that_is_dropped_stops_and_holds_nobody_up() {
    let connections = Connections::new();
    let mut peers = listeners(&connections, 300).await;
    {
        let mut first = pin!(connections.broadcast("first", SlowConnection::default()));
        for _ in 0..20 {
            assert!(once(first.as_mut()).await.is_pending());
        }
    }
    let sent = connections
        .broadcast("second", SlowConnection::default())
        .await;
    assert_eq!(sent, delivery(300, 0, 0));
    let mut reached = 0;
    for peer in &mut peers {
        let mut frame = peer.frame().await;
        if frame == Some((0x1, "first".into())) {
            reached += 1;
            frame = peer.frame().await;
        }
        assert_eq!(frame, Some((0x1, "second".into())));
    }
    assert!((1..300).contains(&reached), "{reached}");
}
