//! One budget of memory for many connections: who stops, who is refused, who is closed.

use std::{sync::mpsc, thread, time::Duration};

use http::{StatusCode, header};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    runtime::Builder,
    time::{Instant, sleep},
};
use tower::ServiceExt;
use tower_websocket::{
    CloseCode, Config, Error, Groups, MemoryBudget, Message, MessageKind, WebSocket,
    WebSocketLayer, handshake::Rejection, service::OnUpgrade, session::EndedBy, testing,
};

use crate::{
    session::support::{
        Frame, Peer, Plan, Reports, SHAPES, Shape, Wire, binary, client_frame, client_header,
        close, echo, hold, hold_over, idle, open, text, within,
    },
    support::handler,
};

const KIB: usize = 1 << 10;

/// A budget, and connections without pings that share it.
fn limited(bytes: usize) -> (MemoryBudget, Config) {
    let budget = MemoryBudget::new(bytes);
    let config = Config::default()
        .memory_budget(&budget)
        .ping_interval(None)
        .max_send_queue(16 << 20);
    (budget, config)
}

/// Sends as much of these bytes as the server reads, within a moment; gives how much that was.
pub(crate) async fn push(peer: &mut Peer, mut bytes: &[u8]) -> usize {
    let all = bytes.len();
    while !bytes.is_empty() {
        let written = tokio::select! {
            biased;
            written = peer.stream.write(bytes) => written.expect("the server is there"),
            () = idle() => break,
        };
        bytes = &bytes[written..];
    }
    all - bytes.len()
}

/// A connection whose peer takes nothing.
async fn deaf(shape: Shape, config: &Config) -> (WebSocket, Reports, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(64);
    let plan = Plan {
        unwritable: true,
        ..Plan::default()
    };
    let (socket, reports) = hold_over(shape, config.clone(), Wire::new(theirs, plan)).await;
    (socket, reports, ours)
}

#[tokio::test(start_paused = true)]
async fn who_holds_more_than_is_left_is_not_read_and_the_others_are() {
    for shape in SHAPES {
        let (budget, config) = limited(1 << 20);
        let (mut large, mut socket, mut reports) = hold(shape, config.clone()).await;
        let (mut small, _) = open(shape, config, echo).await;

        let message = binary(vec![1; 1 << 20]);
        let taken = push(&mut large, &message[..message.len() - 1]).await;
        let held = budget.used();
        // A buffer that begins in the middle of a page has grown with that page.
        let most = 512 * KIB + 512 * KIB / 16 + 4 * KIB;
        assert!((400 * KIB..=most).contains(&held), "{shape:?}: {held}");
        // Beside that there is what waits in the pipe.
        assert!(taken <= 512 * KIB + 64 * KIB, "{shape:?}: {taken}");

        for _ in 0..100 {
            small.send(binary([2; 8 * KIB])).await;
            assert_eq!(small.frame().await, Frame::binary([2; 8 * KIB]));
        }
        assert!(reports.none_yet(), "{shape:?}");

        // It stays as it is for ten seconds, and has to go then.
        let start = Instant::now();
        let error = within(socket.recv()).await.expect_err("it is no message");
        assert!(matches!(error, Error::OverBudget), "{shape:?}: {error}");
        let waited = start.elapsed();
        assert!((9..12).contains(&waited.as_secs()), "{shape:?}: {waited:?}");
        assert_eq!(large.frame().await.code(), Some(1013), "{shape:?}");
        assert_eq!((budget.used(), budget.closed()), (0, 1));
        let report = reports.first().await;
        assert_eq!(report.ended_by, EndedBy::OverBudget);
        assert_eq!((report.close_code, report.clean), (1013, false));
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_stopped_goes_on_when_there_is_room_and_loses_nothing() {
    for shape in SHAPES {
        let (budget, config) = limited(4 << 20);
        let (other, _reports, _end) = deaf(shape, &config).await;
        within(other.send(vec![0; 3500 * KIB]))
            .await
            .expect("it is open");
        idle().await;

        let (mut peer, mut socket, _) = hold(shape, config).await;
        let payload: Vec<u8> = (0..1 << 20).map(|index| (index % 251) as u8).collect();
        let frame = binary(&payload);
        let begun = push(&mut peer, &frame).await;
        assert!(begun < 400 * KIB, "{shape:?}: {begun}");
        sleep(Duration::from_secs(1)).await;
        other.sender().abort();
        let start = Instant::now();
        peer.send(&frame[begun..]).await;
        let message = within(socket.recv()).await.expect("a message");
        assert_eq!(message, Some(Message::binary(payload)));
        let waited = start.elapsed();
        assert!(
            waited <= Duration::from_millis(260),
            "{shape:?}: {waited:?}"
        );
        idle().await;
        assert_eq!((budget.used(), budget.closed()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn last_of_it_is_left_to_who_holds_little() {
    for shape in SHAPES {
        let (budget, config) = limited(16 << 20);
        let (mut small, _) = open(shape, config.clone(), echo).await;
        let mut large = Vec::new();
        for _ in 0..12 {
            large.push(hold(shape, config.clone()).await);
        }
        let (other, _reports, _end) = deaf(shape, &config).await;
        within(other.send(vec![0; 15 << 20]))
            .await
            .expect("it is open");
        idle().await;

        // Each gets as much as all that is left then.
        for (peer, ..) in &mut large {
            push(peer, &binary(vec![1; 1 << 20])[..900 * KIB]).await;
        }
        let left = (16 << 20) - budget.used();
        // A 32nd, less the first 8 KiB of each, and what their buffers have grown by.
        assert!(left >= 384 * KIB, "{shape:?}: {left}");
        assert_eq!(budget.closed(), 0, "{shape:?}");

        let start = Instant::now();
        for _ in 0..10 {
            let message = binary([2; 6 * KIB]);
            small.send(&message[..5 * KIB]).await;
            small.send(&message[5 * KIB..]).await;
            assert_eq!(small.frame().await, Frame::binary([2; 6 * KIB]));
        }
        assert_eq!(start.elapsed(), Duration::ZERO, "{shape:?}");
        assert_eq!(budget.closed(), 0, "{shape:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_holds_little_does_not_wait_for_who_holds_much() {
    for shape in SHAPES {
        let (budget, config) = limited(1 << 20);
        let (mut small, _) = open(shape, config.clone(), echo).await;
        let (other, mut reports, _end) = deaf(shape, &config).await;
        within(other.send(vec![0; 1018 * KIB]))
            .await
            .expect("it is open");
        idle().await;
        let left = (1 << 20) - budget.used();
        assert!((5 * KIB..8 * KIB).contains(&left), "{shape:?}: {left}");

        let message = binary([2; 8 * KIB]);
        small.send(&message[..4 * KIB]).await;
        idle().await;
        let start = Instant::now();
        small.send(&message[4 * KIB..]).await;
        assert_eq!(small.frame().await, Frame::binary([2; 8 * KIB]));
        let waited = start.elapsed();
        assert!(
            waited <= Duration::from_millis(260),
            "{shape:?}: {waited:?}"
        );
        let report = reports.first().await;
        assert_eq!(report.ended_by, EndedBy::OverBudget, "{shape:?}");
        assert_eq!(budget.closed(), 1, "{shape:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn everything_that_waits_counts_and_comes_back() {
    for shape in SHAPES {
        let (budget, config) = limited(64 << 20);
        let config = config.max_read_ahead(1 << 20);
        let counted = async |least: usize, what: &str| {
            idle().await;
            let used = budget.used();
            let range = least..=least + least / 2;
            assert!(range.contains(&used), "{shape:?}, {what}: {used}");
        };

        let (mut peer, mut socket, _) = hold(shape, config.clone()).await;
        peer.send(&binary([1; 100 * KIB])[..90 * KIB]).await;
        counted(90 * KIB, "half a message").await;
        peer.send(&binary([1; 100 * KIB])[90 * KIB..]).await;
        peer.send(&binary([1; 100 * KIB])).await;
        counted(200 * KIB, "messages that are not taken").await;
        assert!(within(socket.recv()).await.is_ok());
        assert!(within(socket.recv()).await.is_ok());
        counted(0, "messages that were taken in another task").await;
        drop((peer, socket));

        let (peer, socket, _) = hold(shape, config.clone()).await;
        within(socket.send(vec![1; 400 * KIB]))
            .await
            .expect("it is open");
        // The pipe takes 64 KiB.
        counted(300 * KIB, "a message that is not written").await;
        drop((peer, socket));
        counted(0, "a connection that has gone").await;

        let config = config.streaming(true);
        let (mut peer, mut socket, _) = hold(shape, config).await;
        for part in binary([1; 100 * KIB])[..99 * KIB].chunks(KIB) {
            peer.send(part).await;
        }
        assert!(tokio::select! {
            biased;
            _ = socket.recv() => false,
            () = idle() => true,
        });
        counted(99 * KIB, "a message that is put together").await;
        drop((peer, socket));
        idle().await;
        assert_eq!(budget.used(), 0, "{shape:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_those_go_who_hold_most() {
    for shape in SHAPES {
        let (budget, config) = limited(1 << 20);
        let (mut sockets, mut reports, mut ends) = (vec![], vec![], vec![]);
        for _ in 0..4 {
            let (socket, report, end) = deaf(shape, &config).await;
            sockets.push(socket);
            reports.push(report);
            ends.push(end);
        }
        // Together 1,000 KiB: within the limit.
        for (socket, kib) in sockets.iter_mut().zip([100, 400, 200, 300]) {
            let message = vec![0; kib * KIB];
            within(socket.send(message)).await.expect("it is open");
        }
        idle().await;
        assert!(budget.is_nearly_used_up(), "{shape:?}: {}", budget.used());
        assert!(reports.iter_mut().all(Reports::none_yet), "{shape:?}");

        // And 60 more: the largest has to go, which is enough.
        within(sockets[0].send(vec![0; 60 * KIB]))
            .await
            .expect("it is open");
        let report = reports[1].first().await;
        idle().await;
        // What is in the way of the Close frame would not leave in time.
        assert_eq!(report.ended_by, EndedBy::OverBudget, "{shape:?}");
        assert_eq!(
            (report.close_code, report.clean),
            (1013, false),
            "{shape:?}"
        );
        for index in [0, 2, 3] {
            assert!(reports[index].none_yet(), "{shape:?}: {index}");
        }
        assert_eq!(budget.closed(), 1);
        assert!(!budget.is_nearly_used_up());
        let error = within(sockets[1].send("more"))
            .await
            .expect_err("it is closed");
        assert!(error.is_closed(), "{shape:?}: {error}");
        drop(sockets);
        idle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_closed_and_holds_most_is_not_told_of_a_clean_end() {
    // Over HTTP/2 the end of the stream is waited for.
    let shape = Shape::H2;
    let (budget, config) = limited(1 << 20);
    let config = config.max_read_ahead(1 << 20);
    let (mut peer, mut socket, mut reports) = hold(shape, config.clone()).await;
    peer.send(&binary([1; 400 * KIB])).await;
    peer.send(close(1000, "")).await;
    sleep(Duration::from_secs(1)).await;
    assert!(reports.none_yet());
    assert!(budget.used() >= 400 * KIB, "{}", budget.used());

    let mut others = Vec::new();
    for _ in 0..2 {
        let other = deaf(shape, &config).await;
        let sent = within(other.0.send(vec![0; 350 * KIB])).await;
        sent.expect("it is open");
        others.push(other);
    }
    idle().await;
    assert_eq!(budget.closed(), 1);
    let end = within(socket.recv()).await.map(|message| message.is_some());
    assert!(matches!(end, Err(Error::OverBudget)), "{end:?}");
}

/// What a message in pieces holds back is not written once the connection closes, nor given up.
#[test]
fn who_cannot_give_up_what_it_holds_is_told_once() {
    let (done, over) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        for shape in SHAPES {
            runtime.block_on(holds_messages_behind_another(shape));
        }
        done.send(()).unwrap();
    });
    over.recv_timeout(Duration::from_secs(30))
        .expect("the sessions wait for something");
}

async fn holds_messages_behind_another(shape: Shape) {
    let (budget, config) = limited(1 << 20);
    let (mut peer, socket, mut reports) = hold(shape, config.clone()).await;
    let mut writer = within(socket.send_writer(MessageKind::Text)).await.unwrap();
    writer.write_all(b"begun").await.unwrap();
    writer.flush().await.unwrap();
    within(socket.send(vec![0; 700 * KIB])).await.unwrap();
    let (other, _reports, _end) = deaf(shape, &config).await;
    within(other.send(vec![0; 500 * KIB])).await.unwrap();
    idle().await;
    assert_eq!(budget.closed(), 1, "{shape:?}");
    assert_eq!(peer.frame().await.payload, b"begun");
    assert_eq!(peer.frame().await.code(), Some(1013), "{shape:?}");
    let report = reports.first().await;
    assert_eq!(report.ended_by, EndedBy::OverBudget, "{shape:?}");
    assert_eq!(budget.closed(), 1, "{shape:?}");
    assert!(writer.finish().await.is_err());
    drop((socket, other));
    idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_counts_once_for_all_members() {
    for shape in SHAPES {
        let (budget, config) = limited(4 << 20);
        let groups = Groups::new();
        let (mut held, mut memberships) = (vec![], vec![]);
        for _ in 0..100 {
            let (socket, reports, end) = deaf(shape, &config).await;
            memberships.push(groups.join("all", &socket.sender()).expect("it is open"));
            held.push((socket, reports, end));
        }
        for _ in 0..10 {
            groups.broadcast("all", vec![0; 64 * KIB]).await;
        }
        idle().await;
        let used = budget.used();
        // 64 MB for all, if each had its own.
        assert!((640 * KIB..700 * KIB).contains(&used), "{shape:?}: {used}");
        assert_eq!(budget.closed(), 0);
        drop((held, memberships));
        sleep(Duration::from_secs(60)).await;
        assert_eq!(budget.used(), 0, "{shape:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn handshakes_are_refused_near_the_limit_and_told_when_to_come_back() {
    for shape in SHAPES {
        let (budget, config) = limited(1 << 20);
        let request = || {
            let (_, theirs) = tokio::io::duplex(64);
            let request = match shape {
                Shape::H1 => testing::request("/"),
                Shape::H2 => testing::request("/").http2(),
            };
            request.extension(OnUpgrade::new(theirs)).into_request()
        };
        let layer = WebSocketLayer::new(handler(echo)).config(config.clone());
        let (socket, _reports, _end) = deaf(shape, &config).await;

        // An eighth is left, to the byte.
        let payload = (1 << 20) / 8 * 7 - 10;
        within(socket.send(vec![0; payload]))
            .await
            .expect("it is open");
        idle().await;
        assert_eq!(budget.used(), (1 << 20) / 8 * 7);
        let response = layer.clone().endpoint().oneshot(request()).await;
        assert!(
            response.expect("no error").status().as_u16() < 300,
            "{shape:?}"
        );

        socket.try_send("").expect("there is room");
        idle().await;
        let response = layer.clone().endpoint().oneshot(request()).await;
        let response = response.expect("no error");
        assert_eq!(
            response.status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "{shape:?}"
        );
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        assert_eq!(
            response.extensions().get(),
            Some(&Rejection::OverBudget),
            "{shape:?}"
        );
        let closes = response.headers().get(header::CONNECTION);
        assert_eq!(closes.is_some(), shape == Shape::H1);

        drop(socket);
        sleep(Duration::from_secs(60)).await;
        let response = layer.endpoint().oneshot(request()).await;
        assert!(
            response.expect("no error").status().as_u16() < 300,
            "{shape:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_decompressed_counts() {
    // 1 MiB of zeroes, made by a compressor of others; its end is not sent.
    let (budget, config) = limited(64 << 20);
    let config = config.compression(tower_websocket::Compression::shared());
    let (mut peer, _socket) = crate::session::support::hold_compressed(Shape::H1, config).await;
    // An empty final block is cut off (RFC 7692 §7.2.1); stored blocks of zeroes do as well.
    let block = |len: u16| {
        let head = [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes()].concat();
        [head, vec![0; len.into()]].concat()
    };
    let payload = [block(60_000), block(60_000), block(60_000)].concat();
    peer.send(client_frame(0x42, payload)).await;
    idle().await;
    let used = budget.used();
    assert!((180_000..300_000).contains(&used), "{used}");
}

#[tokio::test(start_paused = true)]
async fn waiting_without_anything_to_read_is_nobodys_fault() {
    for shape in SHAPES {
        let (budget, config) = limited(1 << 20);
        let config = config.write_timeout(None);
        let (mut waiting, idle_socket, mut reports) = hold(shape, config.clone()).await;
        waiting.send(client_header(0x82, 600 * 1024)).await;
        waiting.send(vec![0; 200 * KIB]).await;
        idle().await;
        // Almost all is taken by another: less is left than this one holds.
        let (socket, _reports, _end) = deaf(shape, &config).await;
        within(socket.send(vec![0; 700 * KIB]))
            .await
            .expect("it is open");
        // It looks for something to read then.
        idle_socket.ping("").expect("it is open");
        sleep(Duration::from_secs(28)).await;
        assert!(budget.is_nearly_used_up(), "{shape:?}: {budget:?}");
        assert!(
            budget.limit() > Some(budget.used()),
            "{shape:?}: {budget:?}"
        );
        assert!(reports.none_yet(), "{shape:?}");
        assert_eq!(budget.closed(), 0, "{shape:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_a_full_budget_comes_in_order() {
    // With room for more in the inbox, and without.
    for (shape, read_ahead) in SHAPES
        .into_iter()
        .flat_map(|shape| [(shape, 64 * KIB), (shape, 0)])
    {
        let (budget, config) = limited(1 << 20);
        let config = config.max_read_ahead(read_ahead);
        let (mut peer, mut socket, mut reports) = hold(shape, config.clone()).await;
        let message = |n: u8| vec![n; 5 * KIB];
        for n in 0..8 {
            peer.send(binary(message(n))).await;
        }
        idle().await;
        let held = budget.used();
        // Less is left than waits for the application.
        let (other, _other_reports, _end) = deaf(shape, &config).await;
        let sent = within(other.send(vec![0; 1024 * KIB - held - 4 * KIB])).await;
        sent.expect("it is open");
        idle().await;
        assert!(budget.is_nearly_used_up(), "{shape:?}: {budget:?}");
        let nearly = budget.used();
        for n in 8..12 {
            peer.send(binary(message(n))).await;
        }
        idle().await;
        assert!(budget.used() <= nearly, "{shape:?}: {budget:?}, {nearly}");
        // It waits for the application, and not for memory.
        if read_ahead == 0 {
            sleep(Duration::from_secs(9)).await;
        }
        assert!(reports.none_yet(), "{shape:?}");
        other.sender().abort();
        for n in 0..12 {
            let received = within(socket.recv()).await.expect("it is open");
            assert_eq!(received, Some(message(n).into()), "{shape:?}: {n}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_closes_as_it_stops_reading_hears_the_peers_close() {
    for shape in SHAPES {
        let (budget, config) = limited(1 << 20);
        let closes = |mut socket: WebSocket| async move {
            socket.recv().await?;
            socket.close(CloseCode::NORMAL);
            socket.closed().await;
            Ok::<_, Error>(())
        };
        let (mut peer, mut reports) = open(shape, config.clone(), closes).await;
        let (other, _other_reports, _end) = deaf(shape, &config).await;
        let sent = within(other.send(vec![0; 1021 * KIB])).await;
        sent.expect("it is open");
        idle().await;
        assert!(budget.is_nearly_used_up(), "{shape:?}: {budget:?}");

        let texts = text(&"x".repeat(50)).repeat(30);
        let begun = [client_header(0x82, 8 * 1024), vec![0; 4 * KIB]].concat();
        peer.send([texts, begun].concat()).await;
        assert_eq!(peer.frame().await.code(), Some(1000), "{shape:?}");
        peer.send([vec![0; 4 * KIB], close(1000, "")].concat())
            .await;
        let report = reports.first().await;
        assert!(report.clean, "{shape:?}: {report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn first_message_has_its_time_though_nothing_is_read() {
    for shape in SHAPES {
        let (budget, config) = limited(4 << 20);
        let (other, _reports, _end) = deaf(shape, &config).await;
        within(other.send(vec![0; 3500 * KIB]))
            .await
            .expect("it is open");
        idle().await;

        let config = config.first_message_timeout(Duration::from_secs(1));
        let (mut peer, _socket, mut reports) = hold(shape, config).await;
        let payload = vec![7; 1 << 20];
        let frame = binary(&payload);
        let begun = push(&mut peer, &frame).await;
        // Longer than it may take for its first message, of which half lies in the transport.
        sleep(Duration::from_millis(1_500)).await;
        assert!(reports.none_yet(), "{shape:?}");
        other.sender().abort();
        let start = Instant::now();
        peer.send(&frame[begun..frame.len() - 1]).await;
        idle().await;
        let waited = start.elapsed();
        assert!(
            waited <= Duration::from_millis(300),
            "{shape:?}: {waited:?}"
        );
        // It is read again: the rest has to come in time.
        assert_eq!(peer.frame().await.code(), Some(1008), "{shape:?}");
        let waited = start.elapsed().as_millis();
        assert!((700..1_300).contains(&waited), "{shape:?}: {waited:?}");
        assert_eq!(budget.closed(), 0);
    }
}

#[test]
fn default_is_one_budget_of_256_mib_for_the_process() {
    let (first, second) = (MemoryBudget::default(), MemoryBudget::default());
    assert_eq!(first.limit(), Some(256 << 20));
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
    assert_eq!(MemoryBudget::unlimited().limit(), None);
    assert!(!MemoryBudget::unlimited().is_nearly_used_up());
    assert!(MemoryBudget::new(0).is_nearly_used_up());
}
