//! Slow lines and slow readers, behind buffers as the kernel has them.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{
        AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex, split,
    },
    time::{Instant, sleep},
};
use tower_websocket::{CloseCode, Config, Error, WebSocket, session::EndedBy};

use super::support::{
    Frame, Peer, Reports, SHAPES, Shape, binary, client_frame, close, idle, lock, open, pong,
    serve, within,
};
use crate::support::handler;

/// What waits in the kernel to be sent.
#[derive(Default)]
struct Sending {
    bytes: VecDeque<u8>,
    /// It was full, and has not said since that it is writable.
    refuses: bool,
    waker: Option<Waker>,
    ended: bool,
}

/// A socket as Linux has them: it takes megabytes at once, and once it was full nothing more until a
/// third of them has left.
struct Socket {
    near: DuplexStream,
    sending: Arc<Mutex<Sending>>,
}

/// What a socket holds.
const BUFFER: usize = 4 << 20;

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut sending = lock(&self.sending);
        let room = BUFFER - sending.bytes.len();
        if sending.refuses || room == 0 {
            sending.refuses = true;
            sending.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = bytes.len().min(room);
        sending.bytes.extend(&bytes[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.sending).ended = true;
        Poll::Ready(Ok(()))
    }
}

/// A server's socket, and what its peer has of the line: it brings `rate` bytes a second.
fn line(rate: usize) -> (Socket, DuplexStream) {
    let (far, ours) = duplex(64 << 10);
    let (near, back) = duplex(64 << 10);
    let sending = Arc::new(Mutex::new(Sending::default()));
    let socket = Socket {
        near,
        sending: sending.clone(),
    };
    let (mut far_read, mut far_write) = split(far);
    let (_, mut back_write) = split(back);
    tokio::spawn(async move {
        loop {
            sleep(TICK).await;
            let (piece, ended, waker) = {
                let mut sending = lock(&sending);
                let len = sending.bytes.len().min(rate / 10);
                let piece: Vec<_> = sending.bytes.drain(..len).collect();
                let writable = sending.bytes.len() <= BUFFER * 2 / 3;
                let waker = writable.then(|| sending.waker.take()).flatten();
                sending.refuses &= !writable;
                (piece, sending.ended && sending.bytes.is_empty(), waker)
            };
            if far_write.write_all(&piece).await.is_err() {
                return;
            }
            if let Some(waker) = waker {
                waker.wake();
            }
            if ended {
                let _gone = far_write.shutdown().await;
                return;
            }
        }
    });
    tokio::spawn(async move {
        let _gone = tokio::io::copy(&mut far_read, &mut back_write).await;
        let _gone = back_write.shutdown().await;
    });
    (socket, ours)
}

const TICK: Duration = Duration::from_millis(100);

/// Sends `len` bytes in messages of 64 KiB, numbered.
async fn send(socket: &WebSocket, len: usize) -> Result<(), Error> {
    for number in 0..len / PIECE {
        socket.send(vec![number as u8; PIECE]).await?;
    }
    Ok(())
}

const PIECE: usize = 64 << 10;

/// Receives that, answering pings.
async fn receive(peer: &mut Peer, len: usize) {
    for number in 0..len / PIECE {
        let frame = data(peer).await;
        let expected = Frame::binary(vec![number as u8; PIECE]);
        assert!(frame == expected, "{frame:?} instead of number {number}");
    }
}

/// The next frame that is no ping; pings are answered.
async fn data(peer: &mut Peer) -> Frame {
    loop {
        let frame = peer.next().await.expect("the connection is cut");
        if frame.first != 0x89 {
            return frame;
        }
        peer.send(pong(&frame.payload)).await;
    }
}

/// Receives the Close of the server, and answers it.
async fn closes_cleanly(mut peer: Peer, reports: Reports) {
    assert_eq!(data(&mut peer).await.code(), Some(1000));
    peer.send(close(1000, "")).await;
    peer.finish().await;
    let report = reports.only().await;
    assert_eq!((report.ended_by, report.clean), (EndedBy::Local, true));
}

async fn serve_over(
    shape: Shape,
    config: Config,
    rate: usize,
    len: usize,
    then: Then,
) -> (Peer, Reports) {
    let (socket, ours) = line(rate);
    let route = handler(move |mut socket: WebSocket| async move {
        send(&socket, len).await?;
        if then == Then::Wait {
            while socket.recv().await?.is_some() {}
        }
        Ok::<_, Error>(())
    });
    let reports = serve(shape, config, route, socket).await;
    (Peer::new(ours), reports)
}

/// What a handler does when all is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    Return,
    Wait,
}

/// 128, 256 and 400 kbit/s with what headers leave of them, and the floor itself.
const RATES: [usize; 4] = [15_200, 16 << 10, 31_000, 48_000];

const MIB: usize = 1 << 20;

#[tokio::test(start_paused = true)]
async fn steady_slow_reader_of_a_flood_is_not_cut() {
    for shape in SHAPES {
        for rate in RATES {
            let len = 20 * MIB;
            let (mut peer, reports) =
                serve_over(shape, Config::default(), rate, len, Then::Return).await;
            receive(&mut peer, len).await;
            closes_cleanly(peer, reports).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ping_behind_megabytes_is_not_held_against_the_peer() {
    for shape in SHAPES {
        for rate in RATES {
            let len = 5 * MIB / 2;
            let (mut peer, mut reports) =
                serve_over(shape, Config::default(), rate, len, Then::Wait).await;
            receive(&mut peer, len).await;
            // Silence: pings come and are answered.
            for _ in 0..10 {
                let frame = peer.frame().await;
                assert!(frame.is_ping(), "{frame:?}");
                peer.send(pong("")).await;
            }
            assert!(reports.none_yet());
            peer.send(close(4000, "")).await;
            assert_eq!(data(&mut peer).await.code(), Some(4000));
            peer.finish().await;
            assert!(reports.only().await.clean);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn everything_before_the_close_arrives_at_a_slow_reader() {
    for shape in SHAPES {
        for rate in RATES {
            let len = 6 * MIB;
            let (mut peer, reports) =
                serve_over(shape, Config::default(), rate, len, Then::Return).await;
            receive(&mut peer, len).await;
            closes_cleanly(peer, reports).await;
        }
    }
}

/// The same with one message, which is in the queue as a whole.
#[tokio::test(start_paused = true)]
async fn one_large_message_before_the_close_arrives_at_a_slow_reader() {
    for shape in SHAPES {
        for rate in RATES {
            let (socket, ours) = line(rate);
            let route =
                handler(|socket: WebSocket| async move { socket.send(vec![7; 6 * MIB]).await });
            let reports = serve(shape, Config::default(), route, socket).await;
            let mut peer = Peer::new(ours);
            assert!(data(&mut peer).await == Frame::binary(vec![7; 6 * MIB]));
            closes_cleanly(peer, reports).await;
        }
    }
}

/// On a line below the floor more time comes with what leaves: all is given to the kernel, which
/// brings it to the peer whatever becomes of the session.
#[tokio::test(start_paused = true)]
async fn what_is_queued_at_the_end_has_as_long_as_it_leaves() {
    for shape in SHAPES {
        let (socket, ours) = line(10_000);
        let config = Config::default().write_timeout(Duration::from_secs(60));
        let route =
            handler(|socket: WebSocket| async move { socket.send(vec![7; 20 * MIB]).await });
        let _reports = serve(shape, config, route, socket).await;
        let mut peer = Peer::new(ours);
        assert!(data(&mut peer).await == Frame::binary(vec![7; 20 * MIB]));
        assert_eq!(data(&mut peer).await.code(), Some(1000));
    }
}

/// Takes nothing before its time, nor when it is asked for the first time then, and does not say when
/// that has come.
struct Late {
    stream: DuplexStream,
    from: Instant,
    asked: bool,
}

impl AsyncRead for Late {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Late {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if Instant::now() < self.from || !std::mem::replace(&mut self.asked, true) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What is written as the last thing before a deadline is not thrown away by it.
#[tokio::test(start_paused = true)]
async fn close_that_leaves_at_its_deadline_is_waited_for_as_any_other() {
    for shape in SHAPES {
        let (ours, stream) = duplex(64 << 10);
        let from = Instant::now() + Duration::from_secs(5);
        let config = Config::default().write_timeout(None).ping_interval(None);
        let route = handler(async |socket: WebSocket| socket.send("last").await);
        let asked = false;
        let wire = Late {
            stream,
            from,
            asked,
        };
        let reports = serve(shape, config, route, wire).await;
        let mut peer = Peer::new(ours);
        assert_eq!(data(&mut peer).await, Frame::text("last"));
        sleep(Duration::from_secs(3)).await;
        closes_cleanly(peer, reports).await;
    }
}

/// A heartbeat that is answered by a reset would throw away what is still on its way.
#[tokio::test(start_paused = true)]
async fn heartbeats_of_a_slow_reader_do_not_end_the_wait_for_its_close() {
    for shape in SHAPES {
        let len = 5 * MIB / 2;
        let (mut peer, mut reports) =
            serve_over(shape, Config::default(), 16 << 10, len, Then::Return).await;
        for number in 0..len / PIECE {
            peer.send(binary("heartbeat")).await;
            let frame = data(&mut peer).await;
            assert!(
                frame == Frame::binary(vec![number as u8; PIECE]),
                "{frame:?}"
            );
            assert!(reports.none_yet(), "given up after {number}");
        }
        closes_cleanly(peer, reports).await;
    }
}

/// What is below has its time, and not more.
#[tokio::test(start_paused = true)]
async fn peer_that_reads_nothing_behind_large_buffers_is_ended_in_time() {
    for (shape, most) in [(Shape::H1, 10 + 110), (Shape::H2, 10 + 439)] {
        for then in [Then::Return, Then::Wait] {
            for len in [5 * MIB / 2, 20 * MIB] {
                let (ours, mut reports) = serve_over(shape, Config::default(), 0, len, then).await;
                let start = Instant::now();
                let report = reports.first().await;
                // 2.5 MiB fit below: what ends it is a ping, or the wait for the peer's Close.
                let fits = len < BUFFER;
                let most = if fits { 22 + 20 + 183 } else { most };
                let took = start.elapsed().as_secs();
                assert!(took <= most, "{took} s: {shape:?}, {then:?}, {len}");
                assert!(!report.clean);
                drop(ours);
            }
        }
    }
}

/// A peer that takes a byte now and then gets no more time than one that takes half of the floor.
#[tokio::test(start_paused = true)]
async fn peer_that_dribbles_what_is_queued_at_the_end_is_ended_in_time() {
    for shape in SHAPES {
        let (socket, mut ours) = duplex(1000);
        let route = handler(|socket: WebSocket| async move { socket.send(vec![7; MIB]).await });
        let mut reports = serve(shape, Config::default(), route, socket).await;
        let start = Instant::now();
        let dribble = tokio::spawn(async move {
            let mut piece = [0; 1000];
            while ours.read(&mut piece).await.is_ok_and(|len| len > 0) {
                sleep(Duration::from_secs(9)).await;
            }
        });
        let report = reports.first().await;
        assert!(!report.clean);
        // 5 s and 10 s, 74 s for the megabyte, and once what waits below.
        let took = start.elapsed().as_secs();
        assert!(took <= 15 + 74 + 1, "{took} s");
        within(dribble).await.unwrap();
    }
}

/// After our Close a peer may go on for a while with what it had begun.
#[tokio::test(start_paused = true)]
async fn peer_that_is_still_sending_has_six_times_close_timeout() {
    for shape in SHAPES {
        for (every, expected) in [(250, 30), (10_000, 5)] {
            let (mut peer, mut reports) =
                open(shape, Config::default(), async |socket: WebSocket| {
                    socket.close(CloseCode::NORMAL);
                })
                .await;
            assert_eq!(peer.frame().await.code(), Some(1000));
            let start = Instant::now();
            let message = client_frame(0x82, [1; 8 << 10]);
            loop {
                sleep(Duration::from_millis(every)).await;
                if peer.stream.write_all(&message).await.is_err() {
                    break;
                }
            }
            let took = start.elapsed().as_secs();
            assert!((expected..=expected + 10).contains(&took), "{took} s");
            assert_eq!(reports.first().await.ended_by, EndedBy::Local);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_of_a_peer_that_is_still_sending_is_waited_for() {
    for shape in SHAPES {
        for failing in [false, true] {
            let (mut peer, reports) =
                open(shape, Config::default(), async |mut socket: WebSocket| {
                    let _message = socket.recv().await;
                    socket.close(CloseCode::POLICY_VIOLATION);
                    socket.closed().await;
                })
                .await;
            // A violation, or a message that the application answers with a Close.
            let first = if failing {
                client_frame(0x83, "")
            } else {
                binary("go")
            };
            peer.send(first).await;
            let code = if failing { 1002 } else { 1008 };
            assert_eq!(peer.frame().await.code(), Some(code));
            // 64 MiB, at 4 MiB a second.
            for _ in 0..64 {
                for _ in 0..16 {
                    peer.send(client_frame(0x82, vec![1; 64 << 10])).await;
                }
                sleep(Duration::from_millis(250)).await;
            }
            // Neither kept nor held against it, whatever its size.
            peer.send(client_frame(0x82, vec![1; 2 << 20])).await;
            peer.send(close(code, "")).await;
            peer.finish().await;
            idle().await;
            let report = reports.only().await;
            assert_eq!(report.close_code, code);
            // After a violation nothing of what comes is looked at.
            assert_eq!(report.clean, !failing);
        }
    }
}
