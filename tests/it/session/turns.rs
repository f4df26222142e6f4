//! Every turn of a session ends, and leaves the others theirs, whatever becomes of the transport in it.

use std::{
    future::{pending, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    runtime::Builder,
    sync::mpsc::unbounded_channel,
    time::{Instant, sleep, sleep_until, timeout},
};
use tower_websocket::{
    CloseCode, Compression, Config, Error, WebSocket, WebSocketLayer, protocol::Outbound,
    session::EndedBy, testing,
};

use super::support::{
    Frame, PIPE, Peer, Reports, SHAPES, Shape, binary, client_frame, close, echo, lock, open, ping,
    serve, text, within,
};
use crate::support::handler;

/// Runs a test in a thread and a runtime of its own, under a paused clock: a poll that never returns
/// would keep any other guard from being asked.
fn ends<T: Future<Output = ()>>(test: impl FnOnce(Place) -> T + Send + 'static) {
    let (sender, done) = mpsc::channel();
    let place = Place::default();
    let told = place.clone();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(test(place));
        let _late = sender.send(());
    });
    let ended = done.recv_timeout(Duration::from_secs(120));
    assert!(ended.is_ok(), "stuck or failed at {:?}", lock(&told.0));
}

/// Where a test is.
#[derive(Clone, Default)]
struct Place(Arc<Mutex<String>>);

impl Place {
    fn is(&self, place: impl std::fmt::Debug) {
        *lock(&self.0) = format!("{place:?}");
    }
}

/// What a stream does beside being read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Writes {
    /// It takes everything.
    All,
    /// It takes nothing, and says nothing.
    Nothing,
    /// It fails.
    Fail,
}

/// A stream that can be read, and may be written or not.
struct Half(DuplexStream, Writes);

impl AsyncRead for Half {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Half {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.1 {
            Writes::All => Poll::Ready(Ok(bytes.len())),
            Writes::Nothing => Poll::Pending,
            Writes::Fail => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a handler does.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Echo,
    Receive,
    /// Receives messages and control frames.
    Observe,
    /// Holds the socket, and receives nothing.
    Nothing,
    Return,
    CloseAndObserve,
    /// The same for the first message, in the middle of a burst.
    CloseAtFirst,
    AbortAtFirst,
    DropAtFirst,
    FailAtFirst,
    PanicAtFirst,
}

const DOINGS: [Doing; 11] = [
    Doing::Echo,
    Doing::Receive,
    Doing::Observe,
    Doing::Nothing,
    Doing::Return,
    Doing::CloseAndObserve,
    Doing::CloseAtFirst,
    Doing::AbortAtFirst,
    Doing::DropAtFirst,
    Doing::FailAtFirst,
    Doing::PanicAtFirst,
];

async fn handle(doing: Doing, mut socket: WebSocket) -> Result<(), Error> {
    match doing {
        Doing::Echo => return echo(socket).await,
        Doing::Receive => while socket.recv().await?.is_some() {},
        Doing::Observe => while socket.recv_event().await?.is_some() {},
        Doing::Nothing => pending().await,
        Doing::Return => {}
        Doing::CloseAndObserve => {
            socket.close(CloseCode::NORMAL);
            while socket.recv_event().await?.is_some() {}
        }
        _ => {
            socket.recv_event().await?;
            match doing {
                Doing::CloseAtFirst => {
                    socket.close(CloseCode::NORMAL);
                    while socket.recv_event().await?.is_some() {}
                }
                Doing::AbortAtFirst => {
                    socket.sender().abort();
                    while socket.recv_event().await?.is_some() {}
                }
                Doing::DropAtFirst => {
                    drop(socket);
                    pending().await
                }
                Doing::FailAtFirst => return Err(Error::Closed),
                _ => panic!("as it is meant to"),
            }
        }
    }
    Ok(())
}

/// What comes in one read, and what is behind it.
fn bursts() -> Vec<(&'static str, Vec<u8>)> {
    let messages = binary([0; 1000]).repeat(60);
    let mixed = [
        ping([1; 60]),
        text("x"),
        client_frame(0x01, "a"),
        client_frame(0x80, "b"),
    ];
    let mixed = mixed.concat().repeat(150);
    let behind = |middle: Vec<u8>| [mixed.clone(), middle, mixed.clone()].concat();
    vec![
        ("messages", messages.clone()),
        ("pings", ping([1; 60]).repeat(600)),
        ("mixed", [mixed.clone(), mixed.clone()].concat()),
        ("empty", text("").repeat(8000)),
        (
            "an unfinished frame",
            [messages, binary([0; 1000])[..500].to_vec()].concat(),
        ),
        ("a Close", behind(close(1000, "bye"))),
        ("a violation", behind(client_frame(0x83, "x"))),
        ("invalid text", behind(client_frame(0x81, [0xff]))),
    ]
}

/// How the line ends.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// It does not, until the session ends it.
    Open,
    /// With the burst.
    Ended,
}

/// One connection: a burst, and another one in the turn in which deadlines of 10 seconds pass.
async fn converse(
    shape: Shape,
    doing: Doing,
    writes: Writes,
    burst: &[u8],
    line: Line,
) -> (Reports, DuplexStream) {
    let (mut ours, theirs) = duplex(2 * PIPE);
    let config = Config::default()
        .control_frame_rate(None)
        .max_lifetime(Duration::from_secs(10))
        .close_timeout(Duration::from_secs(10))
        .linger(Duration::from_secs(10));
    let route = handler(move |socket| handle(doing, socket));
    let reports = serve(shape, config, route, Half(theirs, writes)).await;
    let start = Instant::now();
    for turn in 0..2 {
        // The second time it is the very instant of the deadline: the session's turn finds both.
        sleep_until(start + Duration::from_secs(10 * turn)).await;
        // Who reads no more has a full pipe.
        let _full = timeout(Duration::from_secs(1), ours.write_all(burst)).await;
        if turn == 1 && matches!(line, Line::Ended) {
            let _gone = ours.shutdown().await;
        }
    }
    (reports, ours)
}

fn quiet() -> Config {
    Config::default().ping_interval(None)
}

#[test]
fn every_turn_ends_whatever_the_handler_the_input_and_the_transport_do() {
    for shape in SHAPES {
        ends(move |place| async move {
            let (mut sibling, _reports) = open(Shape::H1, quiet(), echo).await;
            for (name, burst) in bursts() {
                for doing in DOINGS {
                    for writes in [Writes::All, Writes::Nothing, Writes::Fail] {
                        for line in [Line::Open, Line::Ended] {
                            place.is((shape, name, doing, writes, line));
                            let (reports, ours) =
                                converse(shape, doing, writes, &burst, line).await;
                            sibling.send(text("alive")).await;
                            assert_eq!(sibling.frame().await, Frame::text("alive"));
                            // It ends by itself, at the latest with its lifetime and what follows.
                            let mut reports = reports;
                            within(reports.first()).await;
                            drop(ours);
                        }
                    }
                }
            }
        });
    }
}

/// All defaults, a plain echo: the peer reads nothing, and sends in the turn in which the write
/// timeout passes.
#[test]
fn session_whose_write_timeout_passes_amid_a_burst_ends() {
    for shape in SHAPES {
        ends(move |_| async move {
            let (mut ours, theirs) = duplex(1 << 20);
            let wire = Half(theirs, Writes::Nothing);
            let reports = serve(shape, Config::default(), handler(echo), wire).await;
            let burst = binary([0; 1000]).repeat(64);
            ours.write_all(&burst).await.unwrap();
            sleep(Duration::from_secs(10)).await;
            ours.write_all(&burst).await.unwrap();
            assert_eq!(reports.only().await.ended_by, EndedBy::Timeout);
        });
    }
}

/// After our Close: more than is thrown away, with control frames at its end, to a handler that
/// watches events.
#[test]
fn session_that_discards_too_much_amid_control_frames_ends() {
    for shape in SHAPES {
        ends(move |_| async move {
            let route = |mut socket: WebSocket| async move {
                socket.close(CloseCode::NORMAL);
                while socket.recv_event().await?.is_some() {}
                Ok::<_, Error>(())
            };
            let config = Config::default().control_frame_rate(None);
            let (mut peer, reports): (Peer, _) = open(shape, config, route).await;
            assert!(peer.frame().await.is_close());
            let flood = [binary(vec![0; 60_000]), ping([1; 60]).repeat(70)].concat();
            assert!(flood.len() < 2 * PIPE);
            for _ in 0..10_000 {
                if peer.stream.write_all(&flood).await.is_err() {
                    break;
                }
            }
            assert_eq!(reports.only().await.ended_by, EndedBy::Local);
        });
    }
}

/// 1 MiB of zeroes is a hundredth of that on the wire: a burst of them is spread over turns.
#[tokio::test(start_paused = true)]
async fn messages_that_inflate_a_hundredfold_leave_others_their_turns() {
    const MESSAGES: usize = 60;
    const SIZE: usize = 1 << 20;
    for http2 in [false, true] {
        let config = Config::default()
            .compression(Compression::shared())
            .max_send_queue(64 << 20);
        let received = Arc::new(AtomicUsize::new(0));
        let counter = received.clone();
        let route = handler(move |mut socket: WebSocket| {
            let counter = counter.clone();
            async move {
                while let Some(message) = socket.recv().await? {
                    counter.fetch_add(message.len(), Relaxed);
                }
                Ok::<_, Error>(())
            }
        });
        let (sender, mut reports) = unbounded_channel();
        let app = WebSocketLayer::new(route)
            .config(config.clone())
            .on_end(move |report| sender.send(report.clone()).unwrap())
            .endpoint();
        let request = testing::request("/").config(config);
        let request = if http2 { request.http2() } else { request };
        let (_, client) = testing::connect(app, request).await.unwrap();
        // Another task, which is always ready for its next turn.
        let (mut seen, mut most) = (0, 0);
        let sibling = poll_fn(move |cx| {
            let now = received.load(Relaxed);
            most = most.max(now - seen);
            seen = now;
            if seen == MESSAGES * SIZE {
                return Poll::Ready(most);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let sibling = tokio::spawn(sibling);
        let zeroes = Outbound::from(vec![0; SIZE]);
        for _ in 0..MESSAGES {
            client.send(zeroes.clone()).await.unwrap();
        }
        let most = within(sibling).await.unwrap();
        // A turn's 512 KiB, and the message that goes past them.
        assert!(most <= 2 * SIZE, "{most} bytes in one turn");
        client.close(CloseCode::NORMAL);
        let report = within(reports.recv()).await.unwrap();
        assert!(
            report.bytes_received < 20_000 * MESSAGES as u64,
            "{report:?}"
        );
    }
}
