//! Flow: backpressure both ways, corking, and handlers that do not play along.

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, duplex},
    sync::mpsc,
    task::coop::consume_budget,
    time::interval,
};
use tower_websocket::{
    CloseCode, Config, Error, Sender, TrySendError, WebSocket, session::EndedBy,
};

use super::support::{
    Frame, PIPE, Peer, Plan, SHAPES, Shape, Wire, binary, close, echo, hold, hold_over, idle, lock,
    open, ping, serve, text, within,
};
use crate::support::handler;

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_send_wait_until_the_peer_reads() {
    for shape in SHAPES {
        let config = Config::default().max_send_queue(10_000).write_timeout(None);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        let sender = socket.sender();
        let mut sent = 0_usize;
        // The stream fills, then the queue.
        loop {
            match sender.try_send(vec![7; 1000]) {
                Ok(()) => sent += 1,
                Err(TrySendError::Full(message)) => {
                    idle().await;
                    if sender.queued_bytes() > 10_000 {
                        assert_eq!(message.into_message().len(), 1000, "the message comes back");
                        break;
                    }
                }
                Err(TrySendError::Closed(_)) => panic!("the connection is open"),
            }
        }
        assert!(sender.queued_bytes() <= 11_004, "one message more at most");
        let waiting = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send("last").await }
        });
        idle().await;
        assert!(!waiting.is_finished());
        for _ in 0..sent {
            assert_eq!(peer.frame().await, Frame::binary([7; 1000]));
        }
        assert_eq!(peer.frame().await, Frame::text("last"));
        within(waiting)
            .await
            .expect("no panic")
            .expect("it was sent");
    }
}

#[tokio::test(start_paused = true)]
async fn max_send_messages_makes_send_wait_whatever_their_size() {
    for shape in SHAPES {
        let config = Config::default().max_send_messages(3);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        for number in ["1", "2", "3"] {
            socket.try_send(number).expect("there is room");
        }
        let refused = socket.try_send("4").expect_err("three wait");
        assert_eq!(refused, TrySendError::Full("4".into()));
        // The session writes them, and then there is room.
        within(socket.send("4")).await.expect("it is open");
        for number in ["1", "2", "3", "4"] {
            assert_eq!(peer.frame().await, Frame::text(number));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_any_size_enters_an_empty_queue() {
    for shape in SHAPES {
        let config = Config::default().max_send_queue(0);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        for _ in 0..3 {
            within(socket.send(vec![1; 300_000]))
                .await
                .expect("it is open");
            assert!(matches!(socket.try_send("no"), Err(TrySendError::Full(_))));
            assert_eq!(peer.frame().await, Frame::binary([1; 300_000]));
            within(socket.flush()).await.expect("it was written");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_waits_learns_of_the_close() {
    for shape in SHAPES {
        let config = Config::default().max_send_queue(0);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        within(socket.send(vec![1; 2 * PIPE]))
            .await
            .expect("it is open");
        let sender = socket.sender();
        let waiting = tokio::spawn(async move { sender.send("too late").await });
        idle().await;
        peer.send(close(1000, "")).await;
        let result = within(waiting).await.expect("no panic");
        assert!(result.expect_err("the peer closed").is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn reading_stops_at_max_read_ahead_and_goes_on_when_messages_are_received() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(1024);
        let wire = Wire::new(theirs, Plan::default());
        let log = wire.log();
        let config = Config::default().max_read_ahead(8 << 10);
        let (mut socket, _reports) = hold_over(shape, config, wire).await;
        let mut peer = Peer::new(ours);
        let writer = tokio::spawn(async move {
            for number in 0..2000_u32 {
                peer.send(binary(number.to_be_bytes())).await;
            }
            peer
        });
        idle().await;
        assert!(!writer.is_finished(), "the peer feels it");
        // On HTTP/2 as many raw bytes again, so that small DATA frames do not pile up.
        let ahead = lock(&log).read;
        assert!(ahead < 20 << 10, "{ahead} bytes were read");
        for number in 0..2000_u32 {
            let message = within(socket.recv()).await.expect("a message");
            assert_eq!(message, Some((&number.to_be_bytes()).into()));
        }
        within(writer).await.expect("everything was read");
    }
}

#[tokio::test(start_paused = true)]
async fn http2_is_read_on_while_the_application_receives_nothing() {
    let (mut held, mut read) = (vec![], vec![]);
    for shape in SHAPES {
        let (ours, theirs) = duplex(1024);
        let wire = Wire::new(theirs, Plan::default());
        let log = wire.log();
        let config = Config::default().max_read_ahead(8 << 10);
        held.push(hold_over(shape, config, wire).await);
        let mut peer = Peer::new(ours);
        tokio::spawn(async move { peer.send(binary([1; 4]).repeat(10_000)).await });
        idle().await;
        read.push(lock(&log).read);
    }
    // As many raw bytes again, and no timer is needed for it: small DATA frames would pile up.
    let more = read[1] - read[0];
    assert!((7 << 10..=9 << 10).contains(&more), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn one_message_is_read_ahead_whatever_its_size() {
    for shape in SHAPES {
        let config = Config::default().max_read_ahead(0);
        let (mut peer, mut socket, _reports) = hold(shape, config).await;
        let large = vec![9; 500_000];
        peer.send(binary(&large)).await;
        peer.send(text("next")).await;
        idle().await;
        let message = within(socket.recv()).await.expect("a message");
        assert_eq!(message, Some(large.into()));
        let message = within(socket.recv()).await.expect("a message");
        assert_eq!(message, Some("next".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_leaves_in_one_write() {
    for (shape, vectored) in [(Shape::H1, true), (Shape::H1, false), (Shape::H2, false)] {
        let (ours, theirs) = duplex(PIPE);
        let plan = Plan {
            vectored,
            ..Plan::default()
        };
        let wire = Wire::new(theirs, plan);
        let log = wire.log();
        let _reports = serve(shape, Config::default(), handler(echo), wire).await;
        let mut peer = Peer::new(ours);
        let burst: Vec<u8> = (0..64)
            .flat_map(|n| text(&format!("message {n}")))
            .collect();
        peer.send(burst).await;
        for n in 0..64 {
            assert_eq!(peer.frame().await, Frame::text(&format!("message {n}")));
        }
        let writes = lock(&log).writes.clone();
        assert_eq!(writes.len(), 1, "{writes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_more_than_a_handler_is_given_at_once_leaves_in_one_write() {
    for vectored in [true, false] {
        let (ours, theirs) = duplex(PIPE);
        let plan = Plan {
            vectored,
            ..Plan::default()
        };
        let wire = Wire::new(theirs, plan);
        let log = wire.log();
        let _reports = serve(Shape::H1, Config::default(), handler(echo), wire).await;
        let mut peer = Peer::new(ours);
        let burst: Vec<u8> = (0..100).flat_map(|n| binary([n; 500])).collect();
        peer.send(burst).await;
        for n in 0..100 {
            assert_eq!(peer.frame().await, Frame::binary([n; 500]));
        }
        let writes = lock(&log).writes.clone();
        assert_eq!(writes.len(), 1, "{writes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_received_wherever_a_turn_ends() {
    for shape in SHAPES {
        // Turns end at some number of messages, and writes come between at some number of bytes.
        for len in (100..900).step_by(7) {
            let route = move |mut socket: WebSocket| async move {
                while let Some(message) = socket.recv().await? {
                    let mut reply = vec![0; len];
                    reply[..4].copy_from_slice(message.as_bytes());
                    socket.send(reply).await?;
                }
                Ok::<_, Error>(())
            };
            let (mut peer, _reports) = open(shape, Config::default(), route).await;
            let numbers = 0..1000_u32;
            let burst = numbers.clone().flat_map(|n| binary(n.to_be_bytes()));
            peer.send(burst.collect::<Vec<_>>()).await;
            for n in numbers {
                let frame = peer.frame().await;
                assert_eq!(frame.payload[..4], n.to_be_bytes(), "{len}");
            }
            peer.send(close(1000, "")).await;
            assert!(peer.frame().await.is_close());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn replies_that_are_much_are_written_before_more_is_received() {
    for len in [300, 700, 3000] {
        let (ours, theirs) = duplex(4 << 20);
        let wire = Wire::new(theirs, Plan::default());
        let log = wire.log();
        let route = handler(move |mut socket: WebSocket| async move {
            while socket.recv().await?.is_some() {
                socket.send(vec![0; len]).await?;
            }
            Ok::<_, Error>(())
        });
        let _reports = serve(Shape::H1, Config::default(), route, wire).await;
        let mut peer = Peer::new(ours);
        peer.send(binary([0; 20]).repeat(1000)).await;
        for _ in 0..1000 {
            assert_eq!(peer.frame().await.payload.len(), len);
        }
        let writes = lock(&log).writes.clone();
        let most = (64 << 10) + len + 4;
        assert!(writes.iter().all(|&write| write <= most), "{writes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_everything_leaves_others_their_turns() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(16 << 20);
        let plan = Plan {
            max_write: Some(16 << 10),
            ..Plan::default()
        };
        let turns = Arc::new(AtomicUsize::new(0));
        let wire = Wire::new(theirs, plan).on_write({
            let (turns, mut writes) = (turns.clone(), 0);
            move || {
                if turns.swap(0, Ordering::Relaxed) > 0 {
                    writes = 0;
                }
                writes += 1;
                assert!(writes <= 40, "{writes} of 512 writes, and nobody else");
            }
        });
        let others = tokio::spawn(poll_fn(move |cx| {
            turns.fetch_add(1, Ordering::Relaxed);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        let (socket, _reports) = hold_over(shape, Config::default(), wire).await;
        let mut peer = Peer::new(ours);
        socket.try_send(vec![7; 8 << 20]).expect("there is room");
        within(socket.flush()).await.expect("it was written");
        assert_eq!(peer.frame().await, Frame::binary(vec![7; 8 << 20]));
        others.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_is_read_in_pieces_leaves_in_one_write() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(PIPE);
        let plan = Plan {
            max_read: Some(100),
            ..Plan::default()
        };
        let wire = Wire::new(theirs, plan);
        let log = wire.log();
        let _reports = serve(shape, Config::default(), handler(echo), wire).await;
        let mut peer = Peer::new(ours);
        peer.send(text("message").repeat(64)).await;
        for _ in 0..64 {
            assert_eq!(peer.frame().await, Frame::text("message"));
        }
        let writes = lock(&log).writes.clone();
        assert_eq!(writes.len(), 1, "{writes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_always_readable_leaves_the_handler_its_turns() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(64 << 10);
        let plan = Plan {
            max_read: Some(1),
            ..Plan::default()
        };
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let route = handler(move |mut socket: WebSocket| {
            let polls = counted.clone();
            async move {
                let mut receiving = pin!(socket.recv());
                poll_fn(|cx| {
                    polls.fetch_add(1, Ordering::Relaxed);
                    receiving.as_mut().poll(cx)
                })
                .await
                .map(drop)
            }
        });
        let wire = Wire::new(theirs, plan);
        let _reports = serve(shape, Config::default(), route, wire).await;
        let mut peer = Peer::new(ours);
        peer.send(binary([7; 20_000])).await;
        assert!(peer.frame().await.is_close());
        let polls = polls.load(Ordering::Relaxed);
        assert!(polls >= 20_000 / 128, "{polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn http2_gets_writes_of_at_most_32_kib_and_never_a_header_alone() {
    let (ours, theirs) = duplex(PIPE);
    let wire = Wire::new(theirs, Plan::default());
    let log = wire.log();
    let (socket, _reports) = hold_over(Shape::H2, Config::default(), wire).await;
    let mut peer = Peer::new(ours);
    socket.send(vec![1; 100_000]).await.expect("it is open");
    socket.send(vec![2; 5000]).await.expect("it is open");
    socket.send("small").await.expect("it is open");
    assert_eq!(peer.frame().await, Frame::binary([1; 100_000]));
    assert_eq!(peer.frame().await, Frame::binary([2; 5000]));
    assert_eq!(peer.frame().await, Frame::text("small"));
    let writes = lock(&log).writes.clone();
    assert!(
        writes.iter().all(|len| (1..=32 << 10).contains(len)),
        "{writes:?}"
    );
    assert!(
        writes[..writes.len() - 1].iter().all(|&len| len >= 4096),
        "{writes:?}"
    );
    assert!(writes.len() <= 5, "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn http1_gets_header_and_payload_in_one_vectored_write() {
    let (ours, theirs) = duplex(1 << 20);
    let plan = Plan {
        vectored: true,
        ..Plan::default()
    };
    let wire = Wire::new(theirs, plan);
    let log = wire.log();
    let (socket, _reports) = hold_over(Shape::H1, Config::default(), wire).await;
    let mut peer = Peer::new(ours);
    for _ in 0..5 {
        socket.try_send(vec![1; 10_000]).expect("there is room");
    }
    for _ in 0..5 {
        assert_eq!(peer.frame().await, Frame::binary([1; 10_000]));
    }
    assert_eq!(lock(&log).writes, [50_020]);
}

/// Sends every second, and receives nothing.
async fn tick(socket: WebSocket) -> Result<(), Error> {
    let mut seconds = interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        socket.send("tick").await?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_only_sends_answers_pings_and_ends_with_the_peers_close() {
    for shape in SHAPES {
        let (mut peer, mut reports) = open(shape, Config::default(), tick).await;
        assert_eq!(peer.frame().await, Frame::text("tick"));
        peer.send(ping("there?")).await;
        assert_eq!(peer.frame().await, Frame::pong("there?"));
        assert_eq!(peer.frame().await, Frame::text("tick"));
        peer.send(close(1000, "")).await;
        let frame = peer.frame().await;
        assert_eq!(frame.code(), Some(1000));
        peer.finish().await;
        assert_eq!(peer.rest().await, []);
        assert_eq!(reports.first().await.ended_by, EndedBy::Peer);
        // The handler's next send says so, and it returns: nothing holds the hooks.
        reports.no_more().await;
    }
}

/// Forwards from a channel that is always full.
async fn forward(socket: WebSocket) -> Result<(), Error> {
    let (sender, mut receiver) = mpsc::channel::<&'static str>(64);
    loop {
        while sender.try_send("news").is_ok() {}
        if let Some(news) = receiver.recv().await {
            socket.send(news).await?;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_waits_answers_pings_and_notices_the_close() {
    for shape in SHAPES {
        let (mut peer, mut reports) = open(shape, Config::default(), forward).await;
        peer.send(ping("there?")).await;
        let mut before = 0;
        while peer.frame().await != Frame::pong("there?") {
            before += 1;
        }
        // Not only once the send queue is full.
        assert!(before < 20_000, "{before} messages came before the pong");
        peer.send(close(1000, "")).await;
        while peer.frame().await.code() != Some(1000) {}
        peer.finish().await;
        assert_eq!(reports.first().await.ended_by, EndedBy::Peer);
        reports.no_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_uses_up_the_budget_of_its_task_answers_pings() {
    for shape in SHAPES {
        let rounds = Arc::new(AtomicUsize::new(0));
        let busy = {
            let rounds = rounds.clone();
            move |socket: WebSocket| {
                let rounds = rounds.clone();
                async move {
                    for _ in 0..100_000 {
                        rounds.fetch_add(1, Ordering::Relaxed);
                        consume_budget().await;
                    }
                    drop(socket);
                }
            }
        };
        let (mut peer, _reports) = open(shape, Config::default(), busy).await;
        peer.send(ping("there?")).await;
        assert_eq!(peer.frame().await, Frame::pong("there?"));
        let rounds = rounds.load(Ordering::Relaxed);
        assert!(rounds < 10_000, "the pong came after {rounds}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_waits_on_a_fast_transport_answers_pings() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(16 << 20);
        let plan = Plan {
            pending: Some(5),
            ..Plan::default()
        };
        let wire = Wire::new(theirs, plan);
        let mut reports = serve(shape, Config::default(), handler(forward), wire).await;
        let mut peer = Peer::new(ours);
        peer.send([ping("there?"), close(1000, "")].concat()).await;
        let mut before = 0;
        while peer.frame().await != Frame::pong("there?") {
            before += 1;
        }
        // Not only once the send queue is full.
        assert!(before < 20_000, "{before} messages came before the pong");
        while peer.frame().await.code() != Some(1000) {}
        peer.finish().await;
        assert_eq!(reports.first().await.ended_by, EndedBy::Peer);
    }
}

#[tokio::test(start_paused = true)]
async fn senders_that_refill_the_queue_during_every_write_do_not_keep_pings_waiting() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(16 << 20);
        let (sender, mut senders) = mpsc::unbounded_channel::<Sender>();
        let mut known = None;
        // What another thread does while the session writes.
        let wire = Wire::new(theirs, Plan::default()).on_write(move || {
            if let Ok(sender) = senders.try_recv() {
                known = Some(sender);
            }
            if let Some(sender) = &known {
                let _closed = sender.try_send("more");
            }
        });
        let (socket, mut reports) = hold_over(shape, Config::default(), wire).await;
        let mut peer = Peer::new(ours);
        sender.send(socket.sender()).expect("the wire is there");
        socket.try_send("first").expect("it is open");
        assert_eq!(peer.frame().await, Frame::text("first"));
        peer.send([ping("there?"), close(1000, "")].concat()).await;
        while peer.frame().await != Frame::pong("there?") {}
        while peer.frame().await.code() != Some(1000) {}
        peer.finish().await;
        assert_eq!(reports.first().await.ended_by, EndedBy::Peer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_full_while_it_is_being_written() {
    for shape in SHAPES {
        let config = Config::default().max_send_queue(10_000).write_timeout(None);
        let (mut peer, theirs) = duplex(100);
        let sender = Arc::new(Mutex::new(None::<Sender>));
        let (most, in_writes) = (Arc::new(AtomicUsize::new(0)), sender.clone());
        let wire = Wire::new(theirs, Plan::default()).on_write({
            let most = most.clone();
            move || {
                let Some(sender) = &*lock(&in_writes) else {
                    return;
                };
                // As another task does, while what was queued is with the session.
                while sender.try_send(vec![7; 1000]).is_ok() {}
                most.fetch_max(sender.queued_bytes(), Ordering::Relaxed);
            }
        });
        let (socket, _reports) = hold_over(shape, config, wire).await;
        *lock(&sender) = Some(socket.sender());
        while socket.try_send(vec![7; 1000]).is_ok() {}
        for _ in 0..100 {
            // It reads a little at a time.
            within(peer.read(&mut [0; 100])).await.expect("bytes come");
            idle().await;
        }
        // What is written, and as much beside it where that was not full.
        let most = most.load(Ordering::Relaxed).max(socket.queued_bytes());
        assert!(most < 25_000, "{most} bytes are queued");
        *lock(&sender) = None;
        socket.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_a_blocked_transport_does_not_spin() {
    for shape in SHAPES {
        let (_ours, theirs) = duplex(1024);
        let plan = Plan {
            unwritable: true,
            ..Plan::default()
        };
        let wire = Wire::new(theirs, plan);
        let log = wire.log();
        let route = handler(|socket: WebSocket| async move {
            socket.send("stuck").await?;
            tokio::join!(socket.flush(), socket.closed()).0
        });
        let reports = serve(shape, Config::default(), route, wire).await;
        let report = reports.only().await;
        assert_eq!(report.ended_by, EndedBy::Timeout);
        let attempts = lock(&log).write_attempts;
        assert!(attempts < 50, "{attempts} attempts to write");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_everything_and_then_says_so() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        within(socket.flush())
            .await
            .expect("there is nothing to write");
        socket.send(vec![0; 3 * PIPE]).await.expect("it is open");
        let sender = socket.sender();
        let flushing = tokio::spawn(async move { sender.flush().await });
        idle().await;
        assert!(!flushing.is_finished());
        assert_eq!(peer.frame().await, Frame::binary([0; 3 * PIPE]));
        within(flushing)
            .await
            .expect("no panic")
            .expect("all was written");
        assert_eq!(socket.sender().queued_bytes(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_does_not_call_lost_messages_written() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(1024);
        let (socket, mut reports) = hold_over(shape, Config::default(), theirs).await;
        drop(ours);
        socket.try_send("lost").expect("it looks open");
        idle().await;
        let error = within(socket.flush())
            .await
            .expect_err("it was not written");
        assert!(error.is_closed());
        assert!(socket.send("no").await.expect_err("it is over").is_closed());
        assert_eq!(reports.first().await.ended_by, EndedBy::Disconnect);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_reads_still_has_its_close_noticed_while_there_is_room() {
    for shape in SHAPES {
        let (mut peer, mut reports) = open(shape, Config::default(), |socket| async move {
            let _held = socket;
            pending::<()>().await;
        })
        .await;
        peer.send([text("unread"), ping("p"), close(1000, "")].concat())
            .await;
        assert_eq!(peer.frame().await, Frame::pong("p"));
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.finish().await;
        assert_eq!(reports.first().await.close_code, 1000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_reads_can_close_over_a_full_inbox() {
    for shape in SHAPES {
        let config = Config::default().max_read_ahead(100);
        let (mut peer, socket, mut reports) = hold(shape, config).await;
        for _ in 0..20 {
            peer.send(text("unread unread unread unread")).await;
        }
        peer.send(close(1000, "")).await;
        idle().await;
        assert!(reports.none_yet());
        socket.close(CloseCode::GOING_AWAY);
        assert_eq!(peer.frame().await.code(), Some(1001));
        peer.finish().await;
        assert_eq!(peer.rest().await, []);
        let report = reports.first().await;
        assert!(report.clean, "{report:?}");
    }
}
