//! How long pongs take: of the session's own pings, and of those that the application waits for.

use std::{pin::pin, time::Duration};

use tokio::{
    io::duplex,
    time::{Instant, sleep},
};
use tower_websocket::{
    CloseCode, Config, Connections, Error, WebSocket, WebSocketLayer, session::Rtt,
};

use super::support::{
    Frame, Peer, SHAPES, binary, close, hold, hold_over, idle, once, ping, pong, within,
};
use crate::{
    crowd::{registered, until},
    support::{
        handler,
        http::{Ask, Server},
        on_both,
    },
};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Receives a ping, and answers it after a while.
async fn answer(peer: &mut Peer, after: Duration) -> Frame {
    let frame = peer.frame().await;
    assert!(frame.is_ping(), "{frame:?}");
    sleep(after).await;
    peer.send(pong(&frame.payload)).await;
    idle().await;
    frame
}

fn trips(rtt: Option<Rtt>) -> Option<(Duration, Duration)> {
    rtt.map(|rtt| (rtt.last, rtt.smoothed))
}

#[tokio::test(start_paused = true)]
async fn pongs_of_the_sessions_own_pings_are_timed() {
    for shape in SHAPES {
        let (mut peer, socket, reports) = hold(shape, Config::default()).await;
        assert_eq!(socket.rtt(), None);
        let mut payloads = vec![];
        for (after, smoothed) in [(80, 80), (160, 90), (10, 80)] {
            payloads.push(answer(&mut peer, millis(after)).await.payload);
            let expected = Some((millis(after), millis(smoothed)));
            assert_eq!(trips(socket.rtt()), expected);
        }
        payloads.dedup();
        assert_eq!(payloads.len(), 3, "each ping is told from the others");
        let (sender, receiver) = socket.split();
        assert_eq!(sender.rtt(), receiver.rtt());
        drop(receiver);
        sender.close(CloseCode::NORMAL);
        peer.send(close(1000, "")).await;
        peer.finish().await;
        drop(sender);
        let report = reports.only().await;
        assert_eq!(trips(report.rtt), Some((millis(10), millis(80))));
    }
}

#[tokio::test(start_paused = true)]
async fn who_pings_and_waits_is_told_the_time() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let sender = socket.sender();
        let waiting = tokio::spawn(async move { sender.ping_and_wait().await });
        answer(&mut peer, millis(30)).await;
        let time = within(waiting).await.expect("no panic");
        assert_eq!(time.expect("it is open"), millis(30));
        assert_eq!(trips(socket.rtt()), Some((millis(30), millis(30))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_begins_when_the_ping_leaves() {
    for shape in SHAPES {
        for pings in [1, 2] {
            let (ours, theirs) = duplex(1 << 10);
            let config = Config::default().write_timeout(None).ping_interval(None);
            let (socket, _reports) = hold_over(shape, config, theirs).await;
            let mut peer = Peer::new(ours);
            socket.send(vec![0; 10_000]).await.expect("it is open");
            let mut waiting: Vec<_> = (0..pings)
                .map(|_| Box::pin(socket.ping_and_wait()))
                .collect();
            for waiting in &mut waiting {
                assert!(once(waiting.as_mut()).await.is_pending());
            }
            socket.send(vec![1; 10_000]).await.expect("it is open");
            // Nothing is read meanwhile.
            sleep(millis(5_000)).await;
            assert_eq!(peer.frame().await, Frame::binary(vec![0; 10_000]));
            for waiting in &mut waiting {
                let start = Instant::now();
                answer(&mut peer, millis(40)).await;
                let time = within(waiting).await.expect("it is open");
                assert_eq!(start.elapsed(), millis(41));
                // Both have left together.
                assert!(time <= millis(82), "{time:?}");
            }
            assert_eq!(peer.frame().await, Frame::binary(vec![1; 10_000]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pong_to_the_newest_answers_those_before_it() {
    for shape in SHAPES {
        let config = Config::default().ping_interval(None);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        let (mut first, mut second, mut third) = (
            pin!(socket.ping_and_wait()),
            pin!(socket.ping_and_wait()),
            pin!(socket.ping_and_wait()),
        );
        assert!(once(first.as_mut()).await.is_pending());
        sleep(millis(10)).await;
        assert!(once(second.as_mut()).await.is_pending());
        assert!(once(third.as_mut()).await.is_pending());
        idle().await;
        let (_, newer) = (peer.frame().await, peer.frame().await);
        sleep(millis(19)).await;
        peer.send(pong(&newer.payload)).await;
        idle().await;
        assert_eq!(within(second).await.expect("it is open"), millis(20));
        assert_eq!(within(first).await.expect("it is open"), millis(30));
        // The newest answer alone is a measurement.
        assert_eq!(trips(socket.rtt()), Some((millis(20), millis(20))));
        assert!(once(third.as_mut()).await.is_pending());
        answer(&mut peer, millis(0)).await;
        within(third).await.expect("it is open");
    }
}

#[tokio::test(start_paused = true)]
async fn pongs_that_answer_nothing_are_not_timed() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut waiting = pin!(socket.ping_and_wait());
        assert!(once(waiting.as_mut()).await.is_pending());
        socket.ping("of the application's").expect("it is open");
        let asked = peer.frame().await;
        assert_eq!(peer.frame().await, Frame::ping("of the application's"));
        for forged in [
            &b""[..],
            &[0; 8],
            b"of the application's",
            &asked.payload[1..],
        ] {
            peer.send(pong(forged)).await;
        }
        idle().await;
        assert!(once(waiting.as_mut()).await.is_pending());
        assert_eq!(socket.rtt(), None);
        peer.send([pong(&asked.payload), pong(&asked.payload)].concat())
            .await;
        let time = within(waiting).await.expect("it is open");
        // Twice the same says nothing new.
        assert_eq!(trips(socket.rtt()), Some((time, time)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_no_more_leaves_nothing_behind() {
    for shape in SHAPES {
        let config = Config::default().ping_interval(None);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        for _ in 0..3 {
            let mut waiting = Box::pin(socket.ping_and_wait());
            assert!(once(waiting.as_mut()).await.is_pending());
            drop(waiting);
            answer(&mut peer, millis(10)).await;
            assert_eq!(socket.rtt(), None);
        }
        // Never polled, it is never sent.
        drop(socket.ping_and_wait());
        peer.send(ping("p")).await;
        assert_eq!(peer.frame().await, Frame::pong("p"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_pong_that_cannot_come_is_told() {
    for shape in SHAPES {
        for end in ["close", "vanish", "abort", "answered"] {
            let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
            let sender = socket.sender();
            let waiting = tokio::spawn(async move { sender.ping_and_wait().await });
            let asked = peer.frame().await;
            match end {
                "close" => peer.send(close(1000, "")).await,
                "vanish" => peer.finish().await,
                "abort" => socket.abort(),
                _ => {
                    // It answers what it was asked before it closes.
                    let all = [pong(&asked.payload), close(1000, "")].concat();
                    peer.send(all).await;
                }
            }
            let waited = within(waiting).await.expect("no panic");
            assert_eq!(waited.is_ok(), end == "answered", "{end}");
            idle().await;
            let late = within(socket.ping_and_wait()).await;
            assert!(matches!(late, Err(Error::Closed)), "{end}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pong_after_our_close_still_counts() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut waiting = pin!(socket.ping_and_wait());
        assert!(once(waiting.as_mut()).await.is_pending());
        let asked = peer.frame().await;
        socket.close(CloseCode::NORMAL);
        peer.send([binary("lost"), pong(&asked.payload)].concat())
            .await;
        within(waiting).await.expect("it was answered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_not_waited_for_in_ever_more_memory() {
    for shape in SHAPES {
        let config = Config::default()
            .ping_interval(millis(20))
            .ping_timeout(None);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        let mut pings = vec![];
        for _ in 0..100 {
            pings.push(peer.frame().await.payload);
        }
        // The first of them are forgotten.
        peer.send(pong(&pings[0])).await;
        idle().await;
        assert_eq!(socket.rtt(), None);
        peer.send(pong(&pings[99])).await;
        idle().await;
        assert!(socket.rtt().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn the_registry_counts_round_trips() {
    let connections = Connections::new();
    on_both(async |http| {
        let before = connections.counters().rtt.count();
        let service = registered(&connections, async |mut socket: WebSocket| {
            while socket.recv().await?.is_some() {}
            Ok::<_, Error>(())
        });
        let request = http.request("/").into_request();
        let mut peer = crate::support::http::Peer::open(service, request).await;
        for after in [3, 30] {
            let (opcode, payload) = peer.frame().await.expect("a ping");
            assert_eq!((opcode, payload.len()), (0x9, 8));
            sleep(millis(after)).await;
            peer.send(0xa, &payload).await;
        }
        peer.send(0x9, b"").await;
        assert_eq!(peer.frame().await.expect("a pong").0, 0xa);
        let rtt = connections.counters().rtt;
        assert_eq!(rtt.count(), before + 2);
        let sender = connections.iter().next().expect("it is open");
        assert_eq!(sender.rtt().map(|rtt| rtt.last), Some(millis(30)));
        peer.close().await;
        until(|| connections.is_empty()).await;
    })
    .await;
    let rtt = connections.counters().rtt;
    assert_eq!(rtt.sum(), millis(66));
    let within_5 = rtt.buckets().find(|(bound, _)| *bound == Some(millis(5)));
    assert_eq!(within_5.map(|(_, count)| count), Some(2));
}

#[tokio::test]
async fn over_real_sockets_a_handler_waits_for_its_pong() {
    on_both(async |http| {
        let layer = WebSocketLayer::new(handler(async |socket: WebSocket| {
            let time = socket.ping_and_wait().await?;
            let rtt = socket.rtt().map(|rtt| rtt.last);
            let same = rtt.is_some_and(|rtt| rtt.as_micros() == time.as_micros().max(1));
            socket.send(if same { "timed" } else { "not" }).await?;
            socket.flush().await
        }));
        let server = Server::start(layer.endpoint()).await;
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        let (opcode, payload) = peer.frame().await.expect("a ping");
        assert_eq!((opcode, payload.len()), (0x9, 8));
        peer.send(0xa, &payload).await;
        let (opcode, text) = peer.frame().await.expect("a message");
        assert_eq!((opcode, &text[..]), (0x1, &b"timed"[..]));
        assert_eq!(peer.closed().await.0, 1000);
    })
    .await;
}
