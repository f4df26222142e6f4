//! Deadlines, under a clock that moves only when everybody waits.

use std::{
    future::{Future, pending},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, duplex},
    time::{Instant, sleep},
};
use tower_websocket::{CloseCode, Config, Deadline, Error, Sender, WebSocket, session::EndedBy};

use super::support::{
    Frame, Peer, Plan, Reports, SHAPES, Shape, Wire, binary, client_header, close, echo, hold,
    hold_over, idle, lock, open, pong, serve, text, within,
};
use crate::support::handler;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Whether the time since `start` is that, less than a second past.
#[track_caller]
fn assert_took(start: Instant, expected: u64) {
    let elapsed = start.elapsed();
    assert!(
        elapsed >= seconds(expected) && elapsed < seconds(expected + 1),
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_found_within_interval_and_timeout_and_jitter() {
    for shape in SHAPES {
        // Jitter is drawn per connection: many of them see all of it.
        for _ in 0..40 {
            let (_peer, mut socket, mut reports) = hold(shape, Config::default()).await;
            let start = Instant::now();
            let error = within(socket.recv()).await.expect_err("the peer is silent");
            assert!(matches!(error, Error::Timeout(Deadline::PeerSilent)));
            let elapsed = start.elapsed();
            assert!(elapsed >= seconds(38), "{elapsed:?}");
            assert!(elapsed <= seconds(42), "{elapsed:?}");
            assert_eq!(reports.first().await.ended_by, EndedBy::Timeout);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_found_though_pings_follow_faster_than_their_timeout() {
    for shape in SHAPES {
        let config = Config::default()
            .ping_interval(seconds(5))
            .ping_timeout(seconds(60));
        let (_peer, mut socket, _reports) = hold(shape, config).await;
        let start = Instant::now();
        let error = within(socket.recv()).await.expect_err("the peer is silent");
        assert!(error.is_timeout());
        assert!(start.elapsed() <= seconds(66), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_stays() {
    for shape in SHAPES {
        for (interval, timeout) in [(20, 20), (5, 60), (60, 5)] {
            let config = Config::default();
            let config = config
                .ping_interval(seconds(interval))
                .ping_timeout(seconds(timeout));
            let (mut peer, _socket, mut reports) = hold(shape, config).await;
            for _ in 0..100 {
                let frame = peer.frame().await;
                assert!(frame.is_ping(), "{frame:?}");
                peer.send(pong("")).await;
            }
            assert!(reports.none_yet());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_received_byte_is_a_sign_of_life() {
    for shape in SHAPES {
        let config = Config::default().frame_timeout(None);
        let (mut peer, _socket, mut reports) = hold(shape, config).await;
        peer.send(client_header(0x82, 1000)).await;
        for _ in 0..100 {
            sleep(seconds(15)).await;
            peer.send("x").await;
        }
        assert!(reports.none_yet());
    }
}

#[tokio::test(start_paused = true)]
async fn the_ping_timeout_does_not_run_while_reading_is_stopped() {
    for shape in SHAPES {
        let config = Config::default().max_read_ahead(1);
        let (mut peer, mut socket, mut reports) = hold(shape, config).await;
        peer.send([text("a"), text("b")].concat()).await;
        sleep(seconds(300)).await;
        assert!(reports.none_yet());
        // Reading goes on, and the peer's pongs are seen.
        for expected in ["a", "b"] {
            let message = within(socket.recv()).await.expect("a message");
            assert_eq!(message, Some(expected.into()));
        }
        let error = within(socket.recv()).await.expect_err("the peer is silent");
        assert!(error.is_timeout());
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_takes_too_long_is_1008() {
    for shape in SHAPES {
        for begun in [client_header(0x82, 1000), vec![0x82], vec![0x89, 0x85, 1]] {
            let (mut peer, mut socket, reports) = hold(shape, Config::default()).await;
            let start = Instant::now();
            peer.send(&begun).await;
            let error = within(socket.recv()).await.expect_err("it took too long");
            assert!(
                matches!(error, Error::Timeout(Deadline::Frame)),
                "{error:?}"
            );
            assert_took(start, 30);
            let mut frame = peer.frame().await;
            while frame.is_ping() {
                frame = peer.frame().await;
            }
            assert_eq!(frame.code(), Some(1008));
            peer.finish().await;
            drop(socket);
            assert_eq!(reports.only().await.ended_by, EndedBy::Timeout);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_dribbled_a_byte_a_second_is_cut_at_its_deadline() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, Config::default()).await;
        let start = Instant::now();
        let dribble = tokio::spawn(async move {
            peer.send(client_header(0x82, 100_000)).await;
            loop {
                sleep(seconds(1)).await;
                use tokio::io::AsyncWriteExt;
                if peer.stream.write_all(b"x").await.is_err() {
                    break;
                }
            }
        });
        let error = within(socket.recv()).await.expect_err("it took too long");
        assert!(
            matches!(error, Error::Timeout(Deadline::Frame)),
            "{error:?}"
        );
        assert_took(start, 30);
        drop(socket);
        within(dribble).await.expect("the stream is closed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_honest_transfer_of_16_mib_is_not_cut() {
    for shape in SHAPES {
        let config = Config::default().max_message_size(16 << 20);
        let (mut peer, mut socket, mut reports) = hold(shape, config).await;
        let transfer = tokio::spawn(async move {
            peer.send(client_header(0x82, 16 << 20)).await;
            for _ in 0..1024 {
                sleep(seconds(1)).await;
                peer.send([0; 16 << 10]).await;
            }
            peer
        });
        let message = within(socket.recv()).await.expect("it is honest");
        assert_eq!(message.map(|message| message.len()), Some(16 << 20));
        assert!(reports.none_yet());
        within(transfer).await.expect("everything was read");
    }
}

#[tokio::test(start_paused = true)]
async fn every_frame_has_a_deadline_of_its_own() {
    for shape in SHAPES {
        let (mut peer, mut socket, mut reports) =
            hold(shape, Config::default().ping_interval(None)).await;
        for _ in 0..20 {
            let message = text("slow");
            peer.send(&message[..3]).await;
            sleep(seconds(25)).await;
            peer.send(&message[3..]).await;
            let message = within(socket.recv()).await.expect("a message");
            assert_eq!(message, Some("slow".into()));
        }
        assert!(reports.none_yet());
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_left_after_write_timeout() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(1000);
        let (mut socket, mut reports) = hold_over(shape, Config::default(), theirs).await;
        let start = Instant::now();
        socket.try_send(vec![0; 100_000]).expect("there is room");
        let error = within(socket.recv()).await.expect_err("nothing was read");
        assert!(
            matches!(error, Error::Timeout(Deadline::Write)),
            "{error:?}"
        );
        assert_took(start, 10);
        let report = reports.first().await;
        assert_eq!(
            (report.ended_by, report.close_code),
            (EndedBy::Timeout, 1006)
        );
        drop(ours);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_reads_still_has_its_write_timeout() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(1000);
        let route = handler(|socket: WebSocket| async move {
            let _queued = socket.try_send(vec![0; 100_000]);
            pending::<()>().await;
        });
        let mut reports = serve(shape, Config::default(), route, theirs).await;
        let start = Instant::now();
        assert_eq!(reports.first().await.ended_by, EndedBy::Timeout);
        assert_took(start, 10);
        drop(ours);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_that_makes_progress_is_not_left() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(1000);
        let (socket, mut reports) = hold_over(shape, Config::default(), theirs).await;
        let mut peer = Peer::new(ours);
        socket.try_send(vec![0; 20_000]).expect("there is room");
        let reading = tokio::spawn(async move {
            use tokio::io::AsyncReadExt;
            let mut left = 20_004;
            while left > 0 {
                sleep(seconds(9)).await;
                let mut piece = [0; 1000];
                left -= peer
                    .stream
                    .read(&mut piece)
                    .await
                    .expect("it goes on")
                    .min(left);
            }
            peer
        });
        within(reading).await.expect("everything came");
        assert!(reports.none_yet());
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_with_1001() {
    for shape in SHAPES {
        let config = Config::default()
            .ping_interval(None)
            .idle_timeout(seconds(60));
        let (mut peer, mut socket, reports) = hold(shape, config).await;
        for _ in 0..10 {
            sleep(seconds(50)).await;
            peer.send(text("alive")).await;
            within(socket.recv()).await.expect("a message");
        }
        let start = Instant::now();
        // Control frames are no messages.
        peer.send(pong("")).await;
        assert_eq!(peer.frame().await.code(), Some(1001));
        let elapsed = start.elapsed();
        assert!(
            (seconds(50)..=seconds(120)).contains(&elapsed),
            "{elapsed:?}"
        );
        peer.send(close(1001, "")).await;
        peer.finish().await;
        assert_eq!(within(socket.recv()).await.expect("a clean end"), None);
        drop(socket);
        let report = reports.only().await;
        assert_eq!((report.ended_by, report.clean), (EndedBy::Timeout, true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_past_its_lifetime_is_closed_with_1001() {
    for shape in SHAPES {
        let config = Config::default()
            .ping_interval(None)
            .max_lifetime(seconds(600));
        let (mut peer, _reports) = open(shape, config, echo).await;
        let start = Instant::now();
        for _ in 0..11 {
            sleep(seconds(50)).await;
            peer.send(text("alive")).await;
            assert_eq!(peer.frame().await, Frame::text("alive"));
        }
        assert_eq!(peer.frame().await.code(), Some(1001));
        assert_took(start, 600);
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_message_that_does_not_come_is_1008() {
    for shape in SHAPES {
        let config = Config::default()
            .ping_interval(None)
            .first_message_timeout(seconds(10));
        let (mut peer, mut reports) = open(shape, config.clone(), echo).await;
        let start = Instant::now();
        peer.send(pong("")).await;
        assert_eq!(peer.frame().await.code(), Some(1008));
        assert_took(start, 10);
        peer.finish().await;
        assert_eq!(reports.first().await.ended_by, EndedBy::Timeout);

        let (mut peer, mut reports) = open(shape, config, echo).await;
        sleep(seconds(9)).await;
        peer.send(text("in time")).await;
        assert_eq!(peer.frame().await, Frame::text("in time"));
        sleep(seconds(100)).await;
        assert!(reports.none_yet());
    }
}

/// A peer that closes and then neither ends its side nor says anything.
async fn linger(shape: Shape, config: Config) -> (Duration, Reports) {
    let (mut peer, reports) = open(shape, config, echo).await;
    peer.send(close(1000, "")).await;
    assert_eq!(peer.frame().await.code(), Some(1000));
    let start = Instant::now();
    assert_eq!(peer.next().await, None, "our side ends at once");
    assert!(start.elapsed() < Duration::from_millis(10));
    let mut reports = reports;
    assert!(reports.first().await.clean);
    (start.elapsed(), reports)
}

#[tokio::test(start_paused = true)]
async fn after_the_closing_handshake_the_end_of_the_stream_is_waited_for() {
    let config = Config::default()
        .linger(seconds(3))
        .close_timeout(seconds(7));
    let (elapsed, reports) = linger(Shape::H1, config.clone()).await;
    assert_eq!(elapsed.as_secs(), 3);
    reports.no_more().await;
    let (elapsed, reports) = linger(Shape::H2, config).await;
    assert_eq!(elapsed.as_secs(), 7);
    reports.no_more().await;
}

#[tokio::test(start_paused = true)]
async fn close_timeout_begins_when_the_close_was_written() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(1000);
        let config = Config::default().close_timeout(seconds(2));
        let (socket, mut reports) = hold_over(shape, config, theirs).await;
        let mut peer = Peer::new(ours);
        socket.try_send(vec![3; 5000]).expect("there is room");
        drop(socket);
        sleep(seconds(8)).await;
        assert_eq!(peer.frame().await, Frame::binary([3; 5000]));
        assert_eq!(peer.frame().await.code(), Some(1000));
        sleep(seconds(1)).await;
        assert!(reports.none_yet());
        peer.send(close(1000, "")).await;
        peer.finish().await;
        assert!(reports.first().await.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_a_disconnect_though_reading_goes_on() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(1000);
        // The write of the message fails; the read side stays open and silent.
        let wire = Wire::new(FailingWrites(theirs), Plan::default());
        let (mut socket, mut reports) = hold_over(shape, Config::default(), wire).await;
        let start = Instant::now();
        socket.try_send("lost").expect("it looks open");
        let error = within(socket.recv()).await.expect_err("writing failed");
        assert!(matches!(error, Error::Io(_)), "{error:?}");
        assert!(start.elapsed() <= seconds(6));
        assert_eq!(reports.first().await.ended_by, EndedBy::Disconnect);
        drop(ours);
    }
}

/// A stream that can be read, and takes nothing.
struct FailingWrites(tokio::io::DuplexStream);

impl tokio::io::AsyncRead for FailingWrites {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for FailingWrites {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_busy_keeps_its_deadlines() {
    for shape in SHAPES {
        let config = Config::default()
            .ping_interval(None)
            .max_lifetime(seconds(100));
        let (mut peer, mut reports) = open(shape, config, echo).await;
        let start = Instant::now();
        loop {
            peer.send(binary("busy")).await;
            if peer.frame().await.code() == Some(1001) {
                break;
            }
            sleep(seconds(1)).await;
        }
        assert!(start.elapsed() <= seconds(102));
        idle().await;
        assert!(reports.none_yet(), "the peer's Close is waited for");
    }
}

/// Takes 4 KiB, and nothing after them.
struct Stuck {
    room: usize,
}

impl tokio::io::AsyncRead for Stuck {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl tokio::io::AsyncWrite for Stuck {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let len = bytes.len().min(self.room);
        self.room -= len;
        if len == 0 {
            Poll::Pending
        } else {
            Poll::Ready(Ok(len))
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Closes when it is woken, which happens in the middle of the session's turn.
struct Closer(Sender);

impl Wake for Closer {
    fn wake(self: Arc<Self>) {
        self.0.close(CloseCode::NORMAL);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_behind_a_stuck_write_has_a_deadline_whenever_it_comes() {
    for in_the_turn in [false, true] {
        let config = Config::default()
            .write_timeout(None)
            .ping_interval(None)
            .max_send_queue(10 << 10);
        let route = handler(move |socket: WebSocket| async move {
            let big = socket.try_send(vec![0; 12 << 10]);
            big.expect("there is room");
            // It waits as long as it is there.
            let mut waiting = pin!(socket.send("waits for room"));
            if in_the_turn {
                let waker = Waker::from(Arc::new(Closer(socket.sender())));
                let mut cx = Context::from_waker(&waker);
                assert!(waiting.as_mut().poll(&mut cx).is_pending());
            } else {
                socket.close(CloseCode::NORMAL);
            }
            socket.closed().await;
        });
        let wire = Stuck { room: 4 << 10 };
        let mut reports = serve(Shape::H1, config, route, wire).await;
        let start = Instant::now();
        assert!(!within(reports.first()).await.clean);
        assert!(start.elapsed() <= seconds(6), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_during_a_write_leaves_before_close_timeout_begins() {
    for shape in SHAPES {
        let (mut ours, theirs) = duplex(16 << 10);
        let slot = Arc::new(Mutex::new(None::<Sender>));
        let hook = slot.clone();
        let wire = Wire::new(theirs, Plan::default()).on_write(move || {
            if let Some(sender) = lock(&hook).take() {
                for _ in 0..8 {
                    let queued = sender.try_send(vec![1; 64 << 10]);
                    queued.expect("there is room");
                }
                sender.close(CloseCode::NORMAL);
            }
        });
        let route = handler(move |socket: WebSocket| {
            let slot = slot.clone();
            async move {
                *lock(&slot) = Some(socket.sender());
                socket.send("first").await.expect("it is open");
                socket.closed().await;
            }
        });
        let _reports = serve(shape, Config::default(), route, wire).await;
        let (mut received, mut piece) = (Vec::new(), vec![0; 16 << 10]);
        while !received.ends_with(b"\x88\x02\x03\xe8") {
            sleep(Duration::from_millis(200)).await;
            let len = ours.read(&mut piece).await.expect("it is open");
            assert_ne!(len, 0, "cut off after {} bytes", received.len());
            received.extend_from_slice(&piece[..len]);
        }
        assert!(received.len() > 8 * (64 << 10));
    }
}
