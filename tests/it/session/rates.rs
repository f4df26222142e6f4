//! Rates of messages and bytes: what is beyond them waits, or closes the connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt, duplex},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower_websocket::{
    CloseCode, Config, Error, Message, ProtocolError, WebSocket, WebSocketLayer,
};

use super::support::{
    Frame, Peer, SHAPES, Shape, binary, client_frame, close, hold, hold_over, idle, open, ping,
    pong, text, within,
};
use crate::support::{
    handler,
    http::{self, Ask, Server},
    on_both,
};

const SECOND: Duration = Duration::from_secs(1);

/// Ten messages a second, and twenty at once.
fn ten() -> Config {
    Config::default().message_rate(10).message_burst(20)
}

/// Sends the same for ever, as fast as it is taken.
async fn flood(mut stream: impl AsyncWrite + Unpin, frames: Vec<u8>) {
    while stream.write_all(&frames).await.is_ok() {}
}

/// Counts what is received within some time.
async fn count(socket: &mut WebSocket, time: Duration) -> usize {
    let until = Instant::now() + time;
    let mut received = 0;
    while let Ok(message) = tokio::time::timeout_at(until, socket.recv()).await {
        message.expect("nothing is wrong").expect("it is open");
        received += 1;
    }
    received
}

#[tokio::test(start_paused = true)]
async fn messages_beyond_the_rate_wait_and_none_is_lost() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, ten()).await;
        let numbers = (0..100).map(|number| text(&number.to_string()));
        peer.send(numbers.collect::<Vec<_>>().concat()).await;
        let start = Instant::now();
        for number in 0..100_u32 {
            let message = within(socket.recv()).await.expect("it is open");
            assert_eq!(message, Some(number.to_string().into()));
            let waited = start.elapsed();
            // Of the first twenty none waits; then one comes each tenth of a second.
            let due = SECOND / 10 * number.saturating_sub(19);
            let late = Duration::from_millis(5);
            assert!(
                waited + late >= due && waited <= due + late,
                "{number} after {waited:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_an_hour_keeps_to_the_rate() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(4 << 10);
        let (mut socket, _reports) = hold_over(shape, ten(), theirs).await;
        let (rest, writer) = tokio::io::split(ours);
        // A hundred a second are ready: ten times as many as there may be.
        let flood = tokio::spawn(flood(writer, text("x").repeat(100)));
        let received = count(&mut socket, 3600 * SECOND).await;
        assert!((36_015..=36_020).contains(&received), "{received}");
        flood.abort();
        drop(rest);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_bytes_keeps_to_the_rate() {
    for shape in SHAPES {
        let config = Config::default().byte_rate(10_000).byte_burst(5_000);
        let (ours, theirs) = duplex(4 << 10);
        let (mut socket, _reports) = hold_over(shape, config, theirs).await;
        let (_rest, writer) = tokio::io::split(ours);
        let frame = binary([7; 94]);
        assert_eq!(frame.len(), 100);
        let flood = tokio::spawn(flood(writer, frame.repeat(10)));
        let received = count(&mut socket, 600 * SECOND).await;
        assert!((60_040..=60_050).contains(&received), "{received}");
        flood.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_the_burst_comes_at_the_rate() {
    for shape in SHAPES {
        for fragmented in [false, true] {
            let config = Config::default().byte_rate(1_000).byte_burst(100);
            let (mut peer, mut socket, _reports) = hold(shape, config).await;
            let payload = vec![3; 10_000];
            let frames = if fragmented {
                let (first, last) = payload.split_at(4_000);
                [client_frame(0x02, first), client_frame(0x80, last)].concat()
            } else {
                binary(&payload)
            };
            let len = frames.len() as u32;
            peer.send(frames).await;
            let start = Instant::now();
            let message = within(socket.recv()).await.expect("it is open");
            assert_eq!(message, Some(Message::binary(payload)));
            let due = SECOND * (len - 100) / 1_000;
            let waited = start.elapsed();
            assert!(
                waited >= due && waited <= due + SECOND / 10,
                "{waited:?} of {due:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_that_closes_one_message_too_much_is_1008() {
    for shape in SHAPES {
        let config = ten().close_over_rate(true);
        let (mut peer, mut socket, reports) = hold(shape, config).await;
        peer.send([text("x").repeat(20), ping("p"), text("y")].concat())
            .await;
        for _ in 0..20 {
            let message = within(socket.recv()).await.expect("20 are fine");
            assert_eq!(message, Some("x".into()));
        }
        let error = within(socket.recv()).await.expect_err("21 are not");
        assert!(matches!(
            error,
            Error::Protocol(ProtocolError::MessageFlood { rate: 10 })
        ));
        assert_eq!(peer.frame().await, Frame::pong("p"));
        let frame = peer.frame().await;
        assert_eq!(frame.code(), Some(1008));
        assert_eq!(frame.payload[2..], *b"more than 10 messages a second");
        peer.finish().await;
        drop(socket);
        assert_eq!(reports.only().await.close_code, 1008);
    }
}

#[tokio::test(start_paused = true)]
async fn where_that_closes_one_byte_too_much_is_1008() {
    for shape in SHAPES {
        let config = Config::default().byte_rate(1_000).close_over_rate(true);
        let (mut peer, mut socket, _reports) = hold(shape, config).await;
        // A hundred bytes each.
        peer.send(binary([0; 94]).repeat(10)).await;
        for _ in 0..10 {
            within(socket.recv()).await.expect("1,000 bytes are fine");
        }
        peer.send([0x82]).await;
        let error = within(socket.recv()).await.expect_err("1,001 are not");
        assert!(matches!(
            error,
            Error::Protocol(ProtocolError::ByteFlood { rate: 1_000 })
        ));
        assert_eq!(peer.frame().await.code(), Some(1008));
    }
}

/// Of what comes in one go, what is within the rate is delivered.
#[tokio::test(start_paused = true)]
async fn what_comes_with_one_byte_too_much_is_delivered() {
    for shape in SHAPES {
        let config = Config::default().byte_rate(1_000).close_over_rate(true);
        let (mut peer, mut socket, _reports) = hold(shape, config).await;
        peer.send(binary([0; 94]).repeat(11)).await;
        for _ in 0..10 {
            within(socket.recv()).await.expect("1,000 bytes are fine");
        }
        let error = within(socket.recv()).await.expect_err("1,001 are not");
        assert!(matches!(
            error,
            Error::Protocol(ProtocolError::ByteFlood { rate: 1_000 })
        ));
        assert_eq!(peer.frame().await.code(), Some(1008));
    }
}

/// What is still on its way then is no reason for another end.
#[tokio::test(start_paused = true)]
async fn no_rate_holds_behind_our_close() {
    for shape in SHAPES {
        let config = Config::default().byte_rate(1_000).close_over_rate(true);
        let (mut peer, mut socket, reports) = hold(shape, config).await;
        socket.close(CloseCode::NORMAL);
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.send([binary([0; 5_000]), close(1000, "")].concat())
            .await;
        assert!(matches!(within(socket.recv()).await, Ok(None)));
        peer.finish().await;
        drop(socket);
        let report = reports.only().await;
        assert_eq!((report.clean, report.close_code), (true, 1000));
    }
}

/// Who is stopped for its pings has no longer for its first message.
#[tokio::test(start_paused = true)]
async fn rate_puts_the_first_message_off_for_nobody() {
    for shape in SHAPES {
        let config = Config::default()
            .byte_rate(500)
            .first_message_timeout(10 * SECOND);
        let (peer, mut socket, _reports) = hold(shape, config).await;
        // The rate stops them ever again.
        tokio::spawn(flood(peer.stream, ping([7; 125])));
        let ended = timeout(60 * SECOND, socket.recv()).await;
        let ended = ended.expect("it ends in time");
        assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn within_the_rate_nothing_is_closed() {
    for shape in SHAPES {
        let config = ten().close_over_rate(true).byte_rate(1_000);
        let (mut peer, mut socket, _reports) = hold(shape, config).await;
        for _ in 0..1_000 {
            peer.send(text("x")).await;
            let message = within(socket.recv()).await.expect("it is fine");
            assert_eq!(message, Some("x".into()));
            sleep(SECOND / 10).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pings_wait_too_and_that_is_not_held_against_the_peer() {
    for shape in SHAPES {
        // A message that is two too many waits for 2,000 s, and everything behind it.
        let config = Config::default().byte_rate(1).byte_burst(7);
        let (ours, theirs) = duplex(1 << 20);
        let (mut socket, mut reports) = hold_over(shape, config, theirs).await;
        let mut peer = Peer::new(ours);
        peer.send([binary([0; 1_994]), ping("p"), pong("")].concat())
            .await;
        let start = Instant::now();
        let message = within(socket.recv()).await.expect("it is not cut off");
        assert_eq!(message.map(|message| message.len()), Some(1_994));
        assert!(start.elapsed() > 1_990 * SECOND, "{:?}", start.elapsed());
        assert!(reports.none_yet());
        let mut frame = peer.frame().await;
        while frame.first == 0x89 {
            frame = peer.frame().await;
        }
        assert_eq!(frame, Frame::pong("p"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_connection_still_sends_and_closes_at_once() {
    for shape in SHAPES {
        let config = Config::default().message_rate(1).ping_interval(None);
        let (mut peer, socket, reports) = hold(shape, config).await;
        peer.send(text("x").repeat(1_000)).await;
        idle().await;
        let start = Instant::now();
        socket.send("still here").await.expect("it is open");
        assert_eq!(peer.frame().await, Frame::text("still here"));
        socket.close(CloseCode::NORMAL);
        assert_eq!(peer.frame().await.code(), Some(1000));
        // Behind all that waited.
        peer.send(close(1000, "")).await;
        peer.finish().await;
        assert_eq!(peer.rest().await, []);
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
        drop(socket);
        assert!(reports.only().await.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn the_handler_of_a_flooded_connection_is_held_up_by_nothing() {
    for shape in SHAPES {
        let (mut peer, _reports) = open(shape, ten(), async |mut socket: WebSocket| {
            let mut ticks = 0;
            loop {
                tokio::select! {
                    message = socket.recv() => if message?.is_none() {
                        return Ok::<_, Error>(());
                    },
                    () = sleep(SECOND) => {
                        ticks += 1;
                        socket.send(format!("{ticks}")).await?;
                    }
                }
            }
        })
        .await;
        peer.send(text("x").repeat(21)).await;
        assert_eq!(peer.frame().await, Frame::text("1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_flooding_connections_keep_to_their_rates_and_none_starves() {
    let received: Vec<_> = (0..1_000).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let mut tasks = JoinSet::new();
    for received in &received {
        let (ours, theirs) = duplex(1 << 10);
        let (mut socket, _reports) = hold_over(Shape::H1, ten(), theirs).await;
        let received = received.clone();
        tasks.spawn(async move {
            while let Ok(Some(_)) = socket.recv().await {
                received.fetch_add(1, Ordering::Relaxed);
            }
        });
        tasks.spawn(async move {
            let (_rest, writer) = tokio::io::split(ours);
            flood(writer, text("x").repeat(100)).await;
        });
    }
    sleep(10 * SECOND).await;
    for received in &received {
        let received = received.load(Ordering::Relaxed);
        assert!((115..=121).contains(&received), "{received}");
    }
    tasks.shutdown().await;
}

/// How many floods there are over real sockets: each takes four of the process's files.
const FLOODS: usize = 50;

#[tokio::test]
async fn floods_over_real_sockets_keep_to_the_rate() {
    on_both(async |http| {
        let received = Arc::new(AtomicUsize::new(0));
        let counted = received.clone();
        let layer = WebSocketLayer::new(handler(move |mut socket: WebSocket| {
            let counted = counted.clone();
            async move {
                while socket.recv().await?.is_some() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, Error>(())
            }
        }));
        let server = Server::start(layer.config(ten()).endpoint()).await;
        let start = Instant::now();
        let mut peers = vec![];
        for _ in 0..FLOODS {
            let answer = Ask::handshake(http, "/").send(&server).await;
            let mut peer = answer.opened(http);
            peer.write(&http::frame(0x1, b"x").repeat(1_000)).await;
            peers.push(peer);
        }
        while received.load(Ordering::Relaxed) < 25 * FLOODS {
            sleep(SECOND / 100).await;
        }
        let seconds = start.elapsed().as_secs() as usize + 1;
        let received = received.load(Ordering::Relaxed);
        let most = FLOODS * (20 + 10 * seconds);
        assert!(received <= most, "{received} of {most}");
    })
    .await;
}

#[tokio::test]
async fn a_flood_over_real_sockets_is_1008_where_that_closes() {
    on_both(async |http| {
        let layer = WebSocketLayer::new(handler(async |mut socket: WebSocket| {
            while socket.recv().await?.is_some() {}
            Ok::<_, Error>(())
        }));
        let config = ten().close_over_rate(true);
        let server = Server::start(layer.config(config).endpoint()).await;
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        peer.write(&http::frame(0x1, b"x").repeat(100)).await;
        let (code, reason) = peer.closed().await;
        assert_eq!((code, &*reason), (1008, "more than 10 messages a second"));
    })
    .await;
}
