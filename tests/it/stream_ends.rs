//! Every way in which a stream of HTTP/2 ends under a WebSocket (RFC 9113 §5.1 and §8.5, RFC 8441
//! §5): a client made of `h2` against hyper's server, with a second WebSocket on the connection.
//!
//! §8.5 has trailers on such a stream be a stream error; `h2` takes them for its end. Both do here.

use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::SendRequest, ext::Protocol};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{io::duplex, sync::mpsc};
use tower_websocket::{
    Config, Connections, Error, Message, WebSocket, WebSocketLayer,
    session::{
        EndedBy::{self, Disconnect, Local, Peer},
        SessionReport,
    },
};

use crate::{
    session::support::{Frame, PIPE, client_frame, close, idle, text, within},
    support::handler,
};

/// What a client does, or has to see.
#[derive(Clone, Debug)]
enum Step {
    /// Sends DATA.
    Sends(Vec<u8>),
    /// Sends DATA with END_STREAM.
    SendsLast(Vec<u8>),
    /// Sends HEADERS with END_STREAM.
    SendsTrailers,
    /// Sends RST_STREAM.
    Resets(Reason),
    /// Gets this message.
    Gets(&'static str),
    /// Gets a Close frame with this code.
    GetsClose(u16),
    /// Gets a Close frame without a code.
    GetsEmptyClose,
    /// Gets some of its messages back, and END_STREAM.
    GetsEchoesThenEnd,
    /// Gets END_STREAM, and neither a frame nor RST_STREAM before it.
    GetsEnd,
    /// Gets the end of the stream, with RST_STREAM or without.
    GetsAnyEnd,
    /// Sees that the session goes on.
    Waits,
}

use Step::*;

/// A way to end, and the report that it has to give.
struct Row {
    name: String,
    steps: Vec<Step>,
    /// What the application receives.
    delivered: &'static [&'static str],
    ended_by: EndedBy,
    close_code: u16,
    clean: bool,
}

fn row(
    name: impl Into<String>,
    steps: impl Into<Vec<Step>>,
    delivered: &'static [&'static str],
    (ended_by, close_code, clean): (EndedBy, u16, bool),
) -> Row {
    Row {
        name: name.into(),
        steps: steps.into(),
        delivered,
        ended_by,
        close_code,
        clean,
    }
}

/// Sends every message back, and leaves after `leave`.
async fn echo(mut socket: WebSocket, delivered: mpsc::UnboundedSender<String>) {
    while let Ok(Some(message)) = socket.recv().await {
        let Message::Text(text) = message else {
            panic!("only texts are sent");
        };
        if text == "sibling" {
            let sent: Result<(), Error> = socket.send(text).await;
            sent.expect("the sibling lives");
            continue;
        }
        let _gone = delivered.send(text.to_string());
        if text == "leave" {
            return;
        }
        // The stream may have ended behind the message.
        let _gone = socket.send(text).await;
    }
}

/// A stream as its client has it.
struct Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    received: Vec<u8>,
}

impl Stream {
    /// Receives a frame; `None` at END_STREAM, an error where the stream is reset.
    async fn next(&mut self) -> Result<Option<Frame>, h2::Error> {
        loop {
            if let Some(frame) = Frame::take(&mut self.received) {
                return Ok(Some(frame));
            }
            match within(self.recv.data()).await.transpose()? {
                None => return Ok(None),
                Some(data) => {
                    self.recv.flow_control().release_capacity(data.len())?;
                    self.received.extend_from_slice(&data);
                }
            }
        }
    }

    async fn echoes(&mut self, row: &str) {
        let sent = self.send.send_data(text("sibling").into(), false);
        sent.unwrap_or_else(|error| panic!("{row}: {error}"));
        let frame = self.next().await;
        let frame = frame.unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!(frame, Some(Frame::text("sibling")), "{row}");
    }
}

/// A connection, and what its server tells.
struct Bed {
    requests: SendRequest<Bytes>,
    connections: Connections,
    reports: mpsc::UnboundedReceiver<SessionReport>,
    delivered: mpsc::UnboundedReceiver<String>,
    sibling: Option<Stream>,
    ended: u64,
}

impl Bed {
    async fn new() -> Self {
        let (ours, theirs) = duplex(PIPE);
        let (report, reports) = mpsc::unbounded_channel();
        let (deliver, delivered) = mpsc::unbounded_channel();
        let connections = Connections::new();
        let service = WebSocketLayer::new(handler(move |socket| echo(socket, deliver.clone())))
            .config(Config::default().ping_interval(None))
            .connections(&connections)
            .on_end(move |ended| {
                let _gone = report.send(ended.clone());
            })
            .endpoint();
        tokio::spawn(async move {
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http2().enable_connect_protocol();
            let service = TowerToHyperService::new(service);
            let _gone = server
                .serve_connection_with_upgrades(TokioIo::new(theirs), service)
                .await;
        });
        let (requests, mut connection) = h2::client::handshake(ours).await.unwrap();
        // The server's settings have to be seen before an Extended CONNECT may be sent.
        let mut pings = connection.ping_pong().unwrap();
        tokio::spawn(connection);
        within(pings.ping(h2::Ping::opaque())).await.unwrap();
        let mut bed = Self {
            requests,
            connections,
            reports,
            delivered,
            sibling: None,
            ended: 0,
        };
        bed.sibling = Some(bed.open(false).await);
        bed
    }

    /// Opens a WebSocket; `last` with END_STREAM on the CONNECT.
    async fn open(&mut self, last: bool) -> Stream {
        let mut requests = self.requests.clone().ready().await.unwrap();
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri("http://localhost/")
            .version(Version::HTTP_2)
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"))
            .body(())
            .unwrap();
        let (response, send) = requests.send_request(request, last).unwrap();
        let response = within(response).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Stream {
            send,
            recv: response.into_body(),
            received: vec![],
        }
    }

    /// Goes through a row on a stream of its own.
    async fn run(&mut self, row: Row) {
        let stream = self.open(false).await;
        self.run_on(stream, row).await;
    }

    async fn walk(&mut self, stream: &mut Stream, name: &str, steps: Vec<Step>) {
        for step in steps {
            let shown = format!("{name}: {step:?}");
            match step {
                Sends(bytes) => stream.send.send_data(bytes.into(), false).expect(&shown),
                SendsLast(bytes) => stream.send.send_data(bytes.into(), true).expect(&shown),
                SendsTrailers => {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("x-trailer", HeaderValue::from_static("last"));
                    stream.send.send_trailers(trailers).expect(&shown);
                }
                Resets(reason) => stream.send.send_reset(reason),
                Gets(text) => {
                    let frame = stream.next().await.expect(&shown);
                    assert_eq!(frame, Some(Frame::text(text)), "{shown}");
                }
                GetsClose(code) => {
                    let frame = stream.next().await.expect(&shown).expect(&shown);
                    assert_eq!(frame.code(), Some(code), "{shown}");
                }
                GetsEmptyClose => {
                    let frame = stream.next().await.expect(&shown).expect(&shown);
                    assert!(frame.is_close() && frame.payload.is_empty(), "{shown}");
                }
                GetsEchoesThenEnd => {
                    while let Some(frame) = stream.next().await.expect(&shown) {
                        assert_eq!(frame.first, 0x81, "{shown}");
                    }
                }
                GetsEnd => assert_eq!(stream.next().await.expect(&shown), None, "{shown}"),
                GetsAnyEnd => {
                    if let Ok(frame) = stream.next().await {
                        assert_eq!(frame, None, "{shown}");
                    }
                }
                Waits => {
                    idle().await;
                    assert!(self.reports.try_recv().is_err(), "{shown}");
                }
            }
        }
    }

    async fn run_on(&mut self, mut stream: Stream, row: Row) {
        let name = &*row.name;
        self.walk(&mut stream, name, row.steps).await;
        let report = within(self.reports.recv()).await.unwrap();
        self.ended += 1;
        assert_eq!(
            (report.ended_by, report.close_code, report.clean),
            (row.ended_by, row.close_code, row.clean),
            "{name}: {report:?}"
        );
        // The clock stands still but for the steps that wait.
        assert!(report.duration < AT_ONCE, "{name}: {report:?}");
        idle().await;
        let second = self.reports.try_recv();
        assert!(second.is_err(), "{name}: reported once: {second:?}");
        let mut delivered = vec![];
        while let Ok(text) = self.delivered.try_recv() {
            delivered.push(text);
        }
        assert_eq!(delivered, row.delivered, "{name}");
        assert_eq!(report.messages_received, delivered.len() as u64, "{name}");
        self.sibling.as_mut().unwrap().echoes(name).await;
        let counters = self.connections.counters();
        assert_eq!((counters.open, self.connections.len()), (1, 1), "{name}");
        assert_eq!(counters.closed.values().sum::<u64>(), self.ended, "{name}");
        // Only now, as it resets what has not ended.
        drop(stream);
        idle().await;
        assert!(self.reports.try_recv().is_err(), "{name}: reported once");
    }

    /// Closes the sibling, after which nothing is left.
    async fn end(mut self) {
        let mut sibling = self.sibling.take().unwrap();
        let steps = vec![SendsLast(close(1000, "")), GetsClose(1000), GetsEnd];
        self.walk(&mut sibling, "sibling", steps).await;
        let report = within(self.reports.recv()).await.unwrap();
        assert!(report.clean, "{report:?}");
        idle().await;
        let counters = self.connections.counters();
        assert_eq!((counters.open, self.connections.len()), (0, 0));
        assert_eq!(counters.accepted, self.ended + 1);
        assert_eq!(counters.failed_upgrades, 0);
    }
}

async fn run_all(rows: impl IntoIterator<Item = Row>) {
    let mut bed = Bed::new().await;
    for row in rows {
        bed.run(row).await;
    }
    bed.end().await;
}

/// The first half of a message of two frames.
fn begun() -> Vec<u8> {
    client_frame(0x01, "begun")
}

/// All but the last bytes of a frame.
fn cut() -> Vec<u8> {
    let mut frame = text("cut in the middle");
    frame.truncate(9);
    frame
}

/// Less than any deadline, which would also end a session that misses an end.
const AT_ONCE: Duration = Duration::from_millis(100);

const CLEAN: (EndedBy, u16, bool) = (Peer, 1000, true);
const CUT: (EndedBy, u16, bool) = (Disconnect, 1006, false);

#[tokio::test(start_paused = true)]
async fn end_of_the_stream_with_or_after_the_peers_close_is_clean() {
    let last = || close(1000, "");
    run_all([
        row(
            "END_STREAM on the DATA with the Close",
            [SendsLast(last()), GetsClose(1000), GetsEnd],
            &[],
            CLEAN,
        ),
        row(
            "END_STREAM on the DATA with a message and the Close",
            [
                SendsLast([text("one"), last()].concat()),
                Gets("one"),
                GetsClose(1000),
                GetsEnd,
            ],
            &["one"],
            CLEAN,
        ),
        row(
            "END_STREAM on an empty DATA after the Close",
            [Sends(last()), SendsLast(vec![]), GetsClose(1000), GetsEnd],
            &[],
            CLEAN,
        ),
        row(
            "END_STREAM after ours",
            [
                Sends(last()),
                GetsClose(1000),
                GetsEnd,
                Waits,
                SendsLast(vec![]),
            ],
            &[],
            CLEAN,
        ),
        row(
            "an empty Close",
            [SendsLast(client_frame(0x88, "")), GetsEmptyClose, GetsEnd],
            &[],
            (Peer, 1005, true),
        ),
        row(
            "trailers after the Close",
            [Sends(last()), SendsTrailers, GetsClose(1000), GetsAnyEnd],
            &[],
            CLEAN,
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn end_of_the_stream_without_a_close_is_1006_behind_all_messages() {
    run_all([
        row("before any message", [SendsLast(vec![]), GetsEnd], &[], CUT),
        row(
            "between messages",
            [Sends(text("one")), Gets("one"), SendsLast(vec![]), GetsEnd],
            &["one"],
            CUT,
        ),
        row(
            "with messages that nobody has received yet",
            [
                Sends([text("one"), text("two")].concat()),
                SendsLast(text("three")),
                GetsEchoesThenEnd,
            ],
            &["one", "two", "three"],
            CUT,
        ),
        row(
            "between the frames of a message",
            [
                Sends([text("one"), begun()].concat()),
                Gets("one"),
                SendsLast(vec![]),
                GetsEnd,
            ],
            &["one"],
            CUT,
        ),
        row(
            "inside a frame",
            [
                Sends([text("one"), cut()].concat()),
                Gets("one"),
                SendsLast(vec![]),
                GetsEnd,
            ],
            &["one"],
            CUT,
        ),
        row(
            "inside the header of a Close",
            [SendsLast(close(1000, "")[..1].to_vec()), GetsEnd],
            &[],
            CUT,
        ),
        row(
            "trailers between messages",
            [Sends(text("one")), Gets("one"), SendsTrailers, GetsAnyEnd],
            &["one"],
            CUT,
        ),
        row(
            "trailers inside a message",
            [
                Sends([text("one"), begun()].concat()),
                Gets("one"),
                SendsTrailers,
                GetsAnyEnd,
            ],
            &["one"],
            CUT,
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_our_close_is_thrown_away_up_to_the_peers() {
    let many = || [text("late"), begun(), client_frame(0x80, "late")].concat();
    run_all([
        row(
            "messages, a Close and END_STREAM in one",
            [
                Sends(text("leave")),
                GetsClose(1000),
                Sends(many()),
                Waits,
                SendsLast([many(), close(1000, "")].concat()),
                GetsEnd,
            ],
            &["leave"],
            (Local, 1000, true),
        ),
        row(
            "a Close, then END_STREAM",
            [
                Sends(text("leave")),
                GetsClose(1000),
                Sends(many()),
                Sends(close(1000, "")),
                GetsEnd,
                Waits,
                SendsLast(vec![]),
            ],
            &["leave"],
            (Local, 1000, true),
        ),
        row(
            "END_STREAM without a Close",
            [
                Sends(text("leave")),
                GetsClose(1000),
                SendsLast(many()),
                GetsEnd,
            ],
            &["leave"],
            (Local, 1000, false),
        ),
        row(
            "trailers without a Close",
            [
                Sends(text("leave")),
                GetsClose(1000),
                SendsTrailers,
                GetsAnyEnd,
            ],
            &["leave"],
            (Local, 1000, false),
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn reset_is_reported_once_by_what_was_said_before_it() {
    let reasons = [
        Reason::NO_ERROR,
        Reason::CANCEL,
        Reason::PROTOCOL_ERROR,
        Reason::INTERNAL_ERROR,
        Reason::REFUSED_STREAM,
    ];
    run_all(reasons.into_iter().flat_map(|reason| {
        let named = |place: &str| format!("{reason:?} {place}");
        [
            row(named("before any message"), [Resets(reason)], &[], CUT),
            row(
                named("between messages"),
                [Sends(text("one")), Gets("one"), Resets(reason)],
                &["one"],
                CUT,
            ),
            row(
                named("inside a message"),
                [
                    Sends([text("one"), begun()].concat()),
                    Gets("one"),
                    Resets(reason),
                ],
                &["one"],
                CUT,
            ),
            row(
                named("inside a frame"),
                [
                    Sends([text("one"), cut()].concat()),
                    Gets("one"),
                    Resets(reason),
                ],
                &["one"],
                CUT,
            ),
            row(
                named("after our Close"),
                [Sends(text("leave")), GetsClose(1000), Resets(reason)],
                &["leave"],
                (Local, 1000, false),
            ),
            row(
                named("after both, ours first"),
                [
                    Sends(text("leave")),
                    GetsClose(1000),
                    Sends(close(1000, "")),
                    GetsEnd,
                    Resets(reason),
                ],
                &["leave"],
                (Local, 1000, true),
            ),
            row(
                named("after both, the peer's first"),
                [
                    Sends(close(1000, "")),
                    GetsClose(1000),
                    GetsEnd,
                    Resets(reason),
                ],
                &[],
                CLEAN,
            ),
        ]
    }))
    .await;
}

/// A WebSocket whose client can say nothing any more, not even goodbye.
#[tokio::test(start_paused = true)]
async fn connect_that_ends_its_stream_opens_and_ends_at_once() {
    let mut bed = Bed::new().await;
    for _ in 0..3 {
        let stream = bed.open(true).await;
        let row = row("END_STREAM on the CONNECT", [GetsEnd], &[], CUT);
        bed.run_on(stream, row).await;
    }
    bed.end().await;
}
