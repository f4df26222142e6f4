//! The ends of a stream of HTTP/2 as a client has them: against a server that speaks frames, with
//! a second WebSocket on the connection.

use std::time::Duration;

use tokio::sync::mpsc;
use tower_websocket::{
    CloseCode, Config, Message, Sender, WebSocket,
    client::{Client, Http2Connection},
    session::{
        EndedBy::{self, Disconnect, Local, Peer},
        SessionReport,
    },
};

use super::support::{
    CANCEL, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Http2, OK, RST_STREAM, tasks,
};
use crate::session::{
    self,
    support::{idle, within},
};

/// What a server does, or has to see.
#[derive(Clone, Debug)]
enum Step {
    /// Sends DATA.
    Sends(Vec<u8>),
    /// Sends DATA with END_STREAM.
    SendsLast(Vec<u8>),
    /// Sends HEADERS with END_STREAM.
    SendsTrailers,
    /// Sends RST_STREAM with this code.
    Resets(u32),
    /// The client closes.
    Closes,
    /// Gets a Close frame.
    GetsClose,
    /// Gets END_STREAM, and no RST_STREAM before it.
    GetsEnd,
    /// Gets END_STREAM or RST_STREAM: trailers are a stream error by RFC 9113 §8.5, and an end for `h2`.
    GetsAnyEnd,
    /// Gets RST_STREAM with this code.
    GetsReset(u32),
    /// Sees that the session goes on.
    Waits,
}

use Step::*;

/// A way to end, what the client receives, and the report.
type Row = (
    &'static str,
    Vec<Step>,
    &'static [&'static str],
    (EndedBy, u16, bool),
);

/// A connection, and its far end.
struct Bed {
    connection: Http2Connection,
    server: Http2,
    reports: mpsc::UnboundedReceiver<SessionReport>,
    /// On stream 1.
    sibling: WebSocket,
    next: u32,
}

impl Bed {
    async fn new() -> Self {
        let (report, mut reports) = mpsc::unbounded_channel();
        let client = Client::new()
            .config(Config::default().ping_interval(None))
            .on_end(move |ended| {
                let _gone = report.send(ended.clone());
            });
        let (connection, mut server) = Http2::pair(&client, &[]).await;
        let sibling = open(&connection, &mut server, 1, END_HEADERS).await;
        assert!(reports.try_recv().is_err());
        Self {
            connection,
            server,
            reports,
            sibling,
            next: 3,
        }
    }

    /// Reads the next frame about `stream`; there is none about another.
    async fn frame(&mut self, stream: u32, shown: &str) -> Frame {
        let frame = within(self.server.next()).await.expect(shown);
        assert_eq!(frame.stream, stream, "{shown}: {frame:?}");
        frame
    }

    async fn walk(
        &mut self,
        stream: u32,
        name: &str,
        sender: &Sender,
        steps: impl Iterator<Item = Step>,
    ) {
        for step in steps {
            let shown = format!("{name}: {step:?}");
            match step {
                Sends(bytes) => self.server.write(&Frame::new(DATA, 0, stream, bytes)).await,
                SendsLast(bytes) => {
                    let frame = Frame::new(DATA, END_STREAM, stream, bytes);
                    self.server.write(&frame).await;
                }
                SendsTrailers => {
                    // A literal field, `x: y` (RFC 7541 §6.2.2).
                    let flags = END_HEADERS | END_STREAM;
                    let frame = Frame::new(HEADERS, flags, stream, *b"\x00\x01x\x01y");
                    self.server.write(&frame).await;
                }
                Resets(code) => self.server.write(&Frame::reset(stream, code)).await,
                Closes => sender.close(CloseCode::NORMAL),
                GetsClose => {
                    let frame = self.frame(stream, &shown).await;
                    // Masked, with a code.
                    assert_eq!(
                        (frame.kind, frame.payload[..2].to_vec()),
                        (DATA, vec![0x88, 0x82]),
                        "{shown}"
                    );
                    assert_eq!(frame.flags, 0, "{shown}");
                }
                GetsEnd => {
                    let frame = self.frame(stream, &shown).await;
                    assert_eq!(frame, Frame::new(DATA, END_STREAM, stream, []), "{shown}");
                }
                GetsAnyEnd => {
                    let frame = self.frame(stream, &shown).await;
                    let ends = frame == Frame::new(DATA, END_STREAM, stream, []);
                    assert!(ends || frame.kind == RST_STREAM, "{shown}: {frame:?}");
                }
                GetsReset(code) => {
                    let frame = self.frame(stream, &shown).await;
                    assert_eq!(frame, Frame::reset(stream, code), "{shown}");
                }
                Waits => {
                    idle().await;
                    assert!(self.reports.try_recv().is_err(), "{shown}");
                }
            }
        }
    }

    async fn run(&mut self, (name, steps, messages, expected): Row) {
        let stream = self.next;
        self.next += 2;
        let ends = matches!(steps[..], [SendsTrailers, ..]) && name.contains("answer");
        let flags = if ends {
            END_HEADERS | END_STREAM
        } else {
            END_HEADERS
        };
        let mut socket = open(&self.connection, &mut self.server, stream, flags).await;
        let sender = socket.sender();
        let receiving = tokio::spawn(async move {
            let mut received = vec![];
            while let Ok(Some(Message::Text(text))) = socket.recv().await {
                received.push(text.to_string());
            }
            socket.closed().await;
            received
        });
        let steps = steps.into_iter().skip(ends.into());
        self.walk(stream, name, &sender, steps).await;
        let report = within(self.reports.recv()).await.unwrap();
        assert_eq!(
            (report.ended_by, report.close_code, report.clean),
            expected,
            "{name}: {report:?}"
        );
        assert!(report.duration < AT_ONCE, "{name}: {report:?}");
        assert_eq!(within(receiving).await.unwrap(), messages, "{name}");
        idle().await;
        assert!(self.reports.try_recv().is_err(), "{name}: reported once");
        self.sibling_hears(name).await;
    }

    /// Sends something each way on the sibling; nothing else has come before it.
    async fn sibling_hears(&mut self, name: &str) {
        self.sibling.send("there").await.unwrap();
        let frame = self.frame(1, name).await;
        assert_eq!((frame.kind, frame.payload[0]), (DATA, 0x81), "{name}");
        self.server
            .write(&Frame::new(DATA, 0, 1, text("here")))
            .await;
        let message = within(self.sibling.recv()).await.unwrap();
        assert_eq!(message, Some("here".into()), "{name}");
    }

    /// Gives everything up; no task is left.
    async fn end(mut self) {
        drop((self.sibling, self.connection));
        let frame = within(self.server.next()).await.unwrap();
        assert_eq!((frame.kind, frame.payload[0]), (DATA, 0x88));
        self.server
            .write(&Frame::new(DATA, END_STREAM, 1, close()))
            .await;
        assert!(within(self.reports.recv()).await.unwrap().clean);
        while let Some(frame) = within(self.server.next()).await {
            assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
        }
        idle().await;
        assert_eq!(tasks(), 0);
    }
}

/// Opens a socket on `stream`, whose answer has these flags.
async fn open(
    connection: &Http2Connection,
    server: &mut Http2,
    stream: u32,
    flags: u8,
) -> WebSocket {
    let accepting = async {
        let asked = server.next().await.unwrap();
        assert_eq!((asked.kind, asked.stream), (HEADERS, stream), "{asked:?}");
        server.write(&Frame::new(HEADERS, flags, stream, OK)).await;
    };
    let (socket, ()) = within(async { tokio::join!(connection.connect("/"), accepting) }).await;
    socket.unwrap()
}

async fn run_all(rows: impl IntoIterator<Item = Row>) {
    let mut bed = Bed::new().await;
    for row in rows {
        bed.run(row).await;
    }
    bed.end().await;
}

fn text(text: &str) -> Vec<u8> {
    session::support::Frame::text(text).bytes()
}

fn close() -> Vec<u8> {
    b"\x88\x02\x03\xe8".to_vec()
}

/// The first half of a message of two frames.
fn begun() -> Vec<u8> {
    b"\x01\x05begun".to_vec()
}

/// Less than any deadline, which would also end a session that misses an end.
const AT_ONCE: Duration = Duration::from_millis(100);

/// RFC 9113 §7.
const STREAM_CLOSED: u32 = 5;

const CLEAN: (EndedBy, u16, bool) = (Peer, 1000, true);
const CUT: (EndedBy, u16, bool) = (Disconnect, 1006, false);

#[tokio::test(start_paused = true)]
async fn end_of_the_stream_is_reported_by_the_closes_before_it() {
    let ours = (Local, 1000, true);
    let ours_alone = (Local, 1000, false);
    run_all([
        (
            "END_STREAM on the DATA with the Close",
            vec![
                SendsLast([text("one"), close()].concat()),
                GetsClose,
                GetsEnd,
            ],
            &["one"][..],
            CLEAN,
        ),
        (
            "END_STREAM after ours",
            vec![Sends(close()), GetsClose, GetsEnd, Waits, SendsLast(vec![])],
            &[],
            CLEAN,
        ),
        (
            "END_STREAM on the answer",
            vec![SendsTrailers, GetsEnd],
            &[],
            CUT,
        ),
        (
            "END_STREAM before any message",
            vec![SendsLast(vec![]), GetsEnd],
            &[],
            CUT,
        ),
        (
            "END_STREAM between messages",
            vec![
                Sends([text("one"), text("two")].concat()),
                SendsLast(vec![]),
                GetsEnd,
            ],
            &["one", "two"],
            CUT,
        ),
        (
            "END_STREAM between the frames of a message",
            vec![Sends(text("one")), SendsLast(begun()), GetsEnd],
            &["one"],
            CUT,
        ),
        (
            "trailers between messages",
            vec![Sends(text("one")), SendsTrailers, GetsAnyEnd],
            &["one"],
            CUT,
        ),
        (
            "our Close, then data, a Close and END_STREAM",
            vec![
                Closes,
                GetsClose,
                Sends(begun()),
                Waits,
                SendsLast([b"\x80\x01x".to_vec(), close()].concat()),
                GetsEnd,
            ],
            &[],
            ours,
        ),
        (
            "DATA after both ends",
            vec![
                SendsLast(text("one")),
                GetsEnd,
                Sends(text("two")),
                GetsReset(STREAM_CLOSED),
            ],
            &["one"],
            CUT,
        ),
        (
            "our Close, then END_STREAM without one",
            vec![Closes, GetsClose, SendsLast(begun()), GetsEnd],
            &[],
            ours_alone,
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn reset_is_reported_once_by_what_was_said_before_it() {
    // NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM and CANCEL (RFC 9113 §7).
    run_all(
        [0, 1, 2, 7, CANCEL]
            .into_iter()
            .flat_map(|code| -> [Row; 5] {
                [
                    ("reset before any message", vec![Resets(code)], &[], CUT),
                    (
                        "reset inside a message",
                        vec![Sends(text("one")), Sends(begun()), Waits, Resets(code)],
                        &["one"],
                        CUT,
                    ),
                    (
                        "reset after our Close",
                        vec![Closes, GetsClose, Resets(code)],
                        &[],
                        (Local, 1000, false),
                    ),
                    (
                        "reset after both, ours first",
                        vec![Closes, GetsClose, Sends(close()), GetsEnd, Resets(code)],
                        &[],
                        (Local, 1000, true),
                    ),
                    (
                        "reset after both, the server's first",
                        vec![Sends(close()), GetsClose, GetsEnd, Resets(code)],
                        &[],
                        CLEAN,
                    ),
                ]
            }),
    )
    .await;
}

/// It is a stream error (RFC 9113 §5.1), which may be taken for one of the connection (§5.4.1), as `h2`
/// does: then it ends all WebSockets of the connection.
#[tokio::test(start_paused = true)]
async fn data_behind_the_end_of_a_stream_ends_the_connection() {
    let mut bed = Bed::new().await;
    let mut socket = open(&bed.connection, &mut bed.server, 3, END_HEADERS).await;
    let frames = [(END_STREAM, "one"), (0, "two")];
    for (flags, said) in frames {
        let frame = Frame::new(DATA, flags, 3, text(said));
        bed.server.write(&frame).await;
    }
    assert_eq!(within(socket.recv()).await.unwrap(), Some("one".into()));
    assert!(within(socket.recv()).await.is_err());
    assert!(within(bed.sibling.recv()).await.is_err());
    let mut goodbye = false;
    while let Some(frame) = within(bed.server.next()).await {
        assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
        goodbye |= frame.kind == GOAWAY;
    }
    assert!(goodbye, "the client says that it is over");
    for _ in 0..2 {
        let report = within(bed.reports.recv()).await.unwrap();
        let seen = (report.ended_by, report.close_code, report.clean);
        assert_eq!(seen, CUT, "{report:?}");
        assert!(report.duration < AT_ONCE, "{report:?}");
    }
    drop((socket, bed.sibling, bed.connection));
    idle().await;
    assert!(bed.reports.try_recv().is_err());
    assert_eq!(tasks(), 0);
}
