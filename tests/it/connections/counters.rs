//! What a registry counts.

use std::{collections::BTreeMap, num::NonZeroUsize, task::Poll, time::Duration};

use axum::{Router, response::IntoResponse, routing::any};
use http::{Response, StatusCode};
use tokio::{
    io::{DuplexStream, duplex},
    task::yield_now,
    time::sleep,
};
use tower::{BoxError, ServiceBuilder, ServiceExt, util::MapResponseLayer};
use tower_websocket::{
    CloseCode, Config, Connections, Error, Groups, Handshake, Message, WebSocket, WebSocketLayer,
    groups::{Broadcast, SlowMember},
    service::{Decision, OnUpgrade},
    session::{Counters, Drain},
    testing,
};

use super::{announce, gone};
use crate::{
    crowd::{ask, registered, until},
    session::{
        self,
        support::{SHAPES, Shape, client_frame, client_header, idle, text},
    },
    support::{
        Http, close_after, echo, handler,
        http::{Ask, Peer, Server},
        on_both, open, refused, within,
    },
};

/// Counters that are zero but for what was accepted and is open.
fn counters(accepted: u64, open: usize) -> Counters {
    let mut counters = Counters::default();
    (counters.accepted, counters.open) = (accepted, open);
    counters
}

#[tokio::test(start_paused = true)]
async fn handshakes_are_counted_as_accepted_or_by_the_reason_of_their_refusal() {
    async fn admit(handshake: Handshake) -> Decision {
        if handshake.headers().contains_key("stranger") {
            handshake.reject(StatusCode::FORBIDDEN)
        } else {
            handshake.accept()
        }
    }

    on_both(async |http| {
        let connections = Connections::new();
        let limited = ServiceBuilder::new()
            .concurrency_limit(1)
            .service(handler(echo));
        let layer = WebSocketLayer::new(limited)
            .connections(&connections)
            .on_handshake(admit);
        let service = layer.clone().endpoint();
        let request = || http.request("/");
        assert_eq!(connections.counters(), Counters::default());

        let mut expected = BTreeMap::new();
        let mut row = |name, count| *expected.entry(name).or_insert(0) += count;
        for _ in 0..3 {
            let old = request().header("sec-websocket-version", "8");
            refused(service.clone(), old).await;
        }
        row("UnsupportedVersion", 3);
        let strange = request().header("origin", "https://elsewhere.example");
        refused(service.clone(), strange).await;
        row("OriginRefused", 1);
        for _ in 0..2 {
            refused(service.clone(), request().header("stranger", "yes")).await;
        }
        row("Hook", 2);
        let cut_off = service.clone().oneshot(request().into_request()).await;
        assert_eq!(cut_off.unwrap().status(), 500);
        row("NotUpgradable", 1);
        let client = open(service.clone(), http, "/").await;
        idle().await;
        refused(service.clone(), request()).await;
        row("NotReady", 1);

        let mut now = counters(1, 1);
        now.rejected = expected.clone();
        assert_eq!(connections.counters(), now);
        // What asks for no WebSocket is no handshake.
        let page = service.clone().oneshot(http.plain("/")).await.unwrap();
        assert!(page.status().is_client_error());
        assert_eq!(connections.counters(), now);

        let drained = connections.drain(Drain::default()).await;
        assert_eq!((drained.ended, drained.aborted), (1, 0));
        client.closed().await;
        for _ in 0..2 {
            refused(service.clone(), request()).await;
        }
        now.rejected.insert("Draining", 2);
        now.open = 0;
        now.closed.insert(1001, 1);
        (now.bytes_received, now.bytes_sent) = {
            let seen = connections.counters();
            (seen.bytes_received, seen.bytes_sent)
        };
        assert_eq!(connections.counters(), now);
    })
    .await;
}

#[tokio::test]
async fn upgrades_that_fail_are_counted_and_leave_nothing() {
    within(async {
        // A server that cannot.
        let connections = Connections::new();
        let server = Server::without_upgrades(registered(&connections, announce)).await;
        let answer = Ask::handshake(Http::One, "/").send(&server).await;
        assert_eq!(answer.status, StatusCode::SWITCHING_PROTOCOLS);
        until(|| connections.counters().failed_upgrades == 1).await;
        let mut expected = counters(1, 0);
        expected.failed_upgrades = 1;
        assert_eq!(connections.counters(), expected);
        assert_eq!(gone(&connections).await, 0);
    })
    .await;
    on_both(async |http| {
        // An answer that another layer replaces.
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(announce)).connections(&connections);
        let app = Router::new().route("/", any(async || "page").layer(layer));
        let app = app.layer(MapResponseLayer::new(|response: Response<_>| {
            let mut own = (StatusCode::FORBIDDEN, "own").into_response();
            *own.extensions_mut() = response.extensions().clone();
            close_after(&mut own);
            own
        }));
        let server = Server::start(app).await;
        let answer = Ask::handshake(http, "/").send(&server).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        until(|| connections.counters().failed_upgrades == 1).await;
        assert_eq!(connections.counters().accepted, 1);
        assert!(connections.is_empty());
        assert_eq!(gone(&connections).await, 0);

        // A stream that is never handed over.
        let connections = Connections::new();
        let request = testing::upgradable(http.request("/").into_request());
        let answer = registered(&connections, announce).oneshot(request).await;
        assert_eq!(answer.unwrap().status(), http.accepted());
        until(|| connections.counters().failed_upgrades == 1).await;
        assert_eq!(gone(&connections).await, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn traffic_is_counted_while_the_connection_lives() {
    for shape in SHAPES {
        let connections = Connections::new();
        let mut peer = Peer::open(registered(&connections, echo), ask(shape)).await;
        let mut other = Peer::open(registered(&connections, echo), ask(shape)).await;
        idle().await;
        assert_eq!(connections.counters(), counters(2, 2));
        peer.echoes("hello").await;
        peer.echoes("you").await;
        idle().await;
        let mut now = counters(2, 2);
        (now.messages_received, now.messages_sent) = (2, 2);
        // Received with the headers, sent without.
        (now.bytes_received, now.bytes_sent) = (6 + 5 + 6 + 3, 5 + 3);
        assert_eq!(connections.counters(), now);
        // A ping is no message.
        peer.send(0x9, b"p").await;
        assert_eq!(peer.frame().await, Some((0xa, "p".into())));
        idle().await;
        now.bytes_received += 7;
        assert_eq!(connections.counters(), now);
        other.echoes("!").await;
        idle().await;
        now.messages_received += 1;
        now.messages_sent += 1;
        now.bytes_received += 7;
        now.bytes_sent += 1;
        assert_eq!(connections.counters(), now);
        // The end adds the Close frame, and nothing a second time.
        peer.close().await;
        idle().await;
        now.open = 1;
        now.bytes_received += 8;
        now.closed.insert(1000, 1);
        assert_eq!(connections.counters(), now);
        drop(other);
        idle().await;
        now.open = 0;
        now.closed.insert(1006, 1);
        assert_eq!(connections.counters(), now);
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_is_counted_while_a_handler_outlives_its_connection() {
    let connections = Connections::new();
    let service = registered(&connections, |mut socket: WebSocket| async move {
        while let Ok(Some(_)) = socket.recv().await {}
        // Wakes the session again and again after its end.
        for _ in 0..10 {
            assert!(socket.send("nobody").await.is_err());
            sleep(Duration::from_secs(1)).await;
        }
    });
    let mut peer = Peer::open(service, ask(Shape::H1)).await;
    peer.send(0x1, b"hello").await;
    drop(peer);
    idle().await;
    let mut now = counters(1, 0);
    (now.messages_received, now.bytes_received) = (1, 11);
    now.closed.insert(1006, 1);
    assert_eq!(connections.counters(), now);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(connections.counters(), now);
    assert_eq!(gone(&connections).await, 0);
}

/// A stream on which there is always one more message to read.
struct Endless {
    frames: Vec<u8>,
    at: usize,
    stream: DuplexStream,
}

impl tokio::io::AsyncRead for Endless {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while buf.remaining() > 0 {
            let len = buf.remaining().min(self.frames.len() - self.at);
            buf.put_slice(&self.frames[self.at..self.at + len]);
            self.at = (self.at + len) % self.frames.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Endless {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_of_a_connection_that_never_rests_is_counted() {
    let connections = Connections::new();
    let (_ours, theirs) = duplex(1000);
    let endless = Endless {
        frames: client_frame(0x82, [7; 100]).repeat(10),
        at: 0,
        stream: theirs,
    };
    let service = registered(&connections, |mut socket: WebSocket| async move {
        while let Ok(Some(_)) = socket.recv().await {}
    });
    let mut request = ask(Shape::H1);
    request.extensions_mut().insert(OnUpgrade::new(endless));
    let answer = service.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    for _ in 0..20 {
        yield_now().await;
    }
    let counted = connections.counters();
    assert!(counted.messages_received > 0, "{counted:?}");
    assert!(counted.bytes_received > counted.messages_received * 100);
    connections.iter().for_each(|sender| sender.abort());
    idle().await;
    assert_eq!(connections.counters().open, 0);
}

#[tokio::test(start_paused = true)]
async fn ends_are_counted_by_their_code() {
    async fn obey(mut socket: WebSocket) -> Result<(), BoxError> {
        match socket.recv().await?.as_ref().and_then(Message::as_text) {
            Some("return") => Ok(()),
            Some("fail") => Err("as ordered".into()),
            Some("panic") => panic!("as ordered"),
            Some("leave") => {
                socket.close((CloseCode::GOING_AWAY, "bye"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    for shape in SHAPES {
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(obey))
            .config(Config::default().max_message_size(1000))
            .connections(&connections);
        let rows: [(&[u8], u16); 12] = [
            (&text("return"), 1000),
            (&session::support::close(1000, "done"), 1000),
            (&session::support::close(3999, ""), 3999),
            (&session::support::close(4999, ""), 4999),
            (&client_frame(0x88, ""), 1005),
            (b"", 1006),
            (b"\x81", 1006),
            (&text("leave"), 1001),
            (&text("fail"), 1011),
            (&text("panic"), 1011),
            (b"\x81\x05Hello", 1002),
            (&client_header(0x82, 1001), 1009),
        ];
        let mut closed = BTreeMap::new();
        for (bytes, code) in rows {
            let mut peer = Peer::open(layer.clone().endpoint(), ask(shape)).await;
            peer.write(bytes).await;
            peer.end().await;
            within(peer.rest()).await;
            idle().await;
            *closed.entry(code).or_insert(0) += 1;
            assert_eq!(connections.counters().closed, closed, "{bytes:?}");
            assert!(connections.is_empty());
        }
        let sum: u64 = closed.values().sum();
        assert_eq!(connections.counters().accepted, sum);
        assert_eq!(gone(&connections).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn connection_accepted_only_to_be_closed_is_counted_like_another() {
    on_both(async |http| {
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(echo))
            .connections(&connections)
            .on_handshake(async |handshake: Handshake| {
                handshake.accept_then_close((CloseCode::POLICY_VIOLATION, "no"))
            });
        let mut client = open(layer.endpoint(), http, "/").await;
        assert!(client.recv().await.unwrap().is_none());
        idle().await;
        let counted = connections.counters();
        assert_eq!((counted.accepted, counted.open), (1, 0));
        assert_eq!(counted.closed, BTreeMap::from([(1008, 1)]));
        assert_eq!(gone(&connections).await, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_find_a_full_queue_are_counted_once_each() {
    for policy in [
        SlowMember::DropNewest,
        SlowMember::DropOldest(NonZeroUsize::MIN),
        SlowMember::default(),
    ] {
        on_both(async |http| {
            let connections = Connections::new();
            let layer = WebSocketLayer::new(handler(async |mut socket: WebSocket| {
                while socket.recv().await?.is_some() {}
                Ok::<_, Error>(())
            }));
            let config = Config::default().max_send_queue(1_000);
            let service = layer.config(config).connections(&connections).endpoint();
            let _peer = Peer::open(service, http.request("/").into_request()).await;
            until(|| connections.len() == 1).await;
            let sender = connections.iter().next().expect("it is open");
            // More than there is room for in the pipe.
            sender.try_send(vec![0; 70_000]).expect("nothing waits");
            idle().await;
            assert_eq!(connections.counters().queue_full, 0);
            sender.try_send("x").expect_err("the queue is full");
            let policy = policy.clone();
            let groups = Groups::builder()
                .slow_members(move |_: &u8| policy.clone())
                .build();
            let _member = groups.join(1, &sender).expect("it is open");
            let typing = Broadcast::new("typing").droppable(usize::MAX);
            assert_eq!(groups.broadcast(&1, typing).await.dropped, 1);
            let mut lost = 0;
            while lost == 0 {
                let delivery = groups.broadcast(&1, "y").await;
                lost = delivery.dropped + delivery.closed;
            }
            sender.abort();
            until(|| connections.is_empty()).await;
            assert_eq!(connections.counters().queue_full, 3);
        })
        .await;
    }
}

/// What Prometheus is told of a conversation.
#[tokio::test(start_paused = true)]
async fn counters_are_there_for_prometheus() {
    on_both(async |http| {
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(echo)).connections(&connections);
        let mut client = open(layer.clone().endpoint(), http, "/").await;
        client.send("hello").await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some("hello".into()));
        let text = connections.counters().to_prometheus();
        assert!(text.contains("\nwebsocket_connections_open 1\n"), "{text}");
        drop(client);
        until(|| connections.is_empty()).await;
        let text = connections.counters().to_prometheus();
        for line in [
            "websocket_connections_open 0",
            "websocket_accepted_total 1",
            r#"websocket_messages_total{direction="in"} 1"#,
            r#"websocket_messages_total{direction="out"} 1"#,
            r#"websocket_bytes_total{direction="out"} 5"#,
            "# TYPE websocket_rtt_seconds histogram",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    })
    .await;
}
