//! A whole session over a transport in memory, on the paused clock: what the peer sends and when,
//! and what the handler does, come from the input.
//!
//! - There is exactly one report, and it comes within the deadlines of the last thing done.
//! - The transport is polled no more often than bytes and steps explain.
//! - What arrives at the peer are frames to a naive reader, and its messages the first of those that
//!   were sent.
//! - What the handler receives are the first of the messages that a naive reader finds in what the
//!   peer has sent.
#![no_main]

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use tokio::{
    io::{
        AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf,
        WriteHalf, duplex, split,
    },
    runtime::Builder,
    sync::mpsc,
    time::{sleep, timeout},
};
use tower::ServiceExt;
use tower_websocket::{
    CloseCode, CloseFrame, Compression, Config, Error, Event, Message, MessageKind, WebSocket,
    WebSocketLayer, handler,
    protocol::{Header, Opcode, apply_mask},
    service::OnUpgrade,
    testing,
};
use tower_websocket_fuzz::{
    bytes,
    deflate::{Kind, Writer},
    frames::{self, Deflate, End, Rules, Seen},
    text,
};

#[derive(Arbitrary, Debug)]
struct Input {
    http2: bool,
    deflate: bool,
    streaming: bool,
    max_message_size: Option<u8>,
    fragment_size: Option<u8>,
    small_queue: bool,
    pipe: u8,
    /// The peer's reader stops after so many bytes, and holds the connection.
    reads: Option<u8>,
    cut: u8,
    peer: Vec<Say>,
    /// The peer ends what it sends, or is silent from then on.
    eof: bool,
    steps: Vec<Do>,
}

#[derive(Arbitrary, Debug)]
enum Say {
    Bytes(#[arbitrary(with = owned)] Vec<u8>),
    Frame {
        fin: bool,
        rsv1: bool,
        #[arbitrary(with = |u: &mut Unstructured| u.choose(&OPCODES).copied())]
        opcode: Opcode,
        payload: Payload,
    },
    Text(Payload),
    Binary(Payload),
    /// Where that was agreed on: a block of literals and one reference, as long and as far.
    Compressed(bool, #[arbitrary(with = owned)] Vec<u8>, u8, u8),
    /// Text in two fragments, the second one a character, or the beginning of one.
    Character(u8),
    Close(u16),
    /// In tenths of a second.
    Pause(u8),
}

#[derive(Arbitrary, Clone, Debug)]
enum Payload {
    Bytes(#[arbitrary(with = owned)] Vec<u8>),
    Repeated(
        #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(b'a'..=b'z'))] u8,
        #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(0..=3000))] u16,
    ),
}

#[derive(Arbitrary, Clone, Debug)]
enum Do {
    Recv,
    RecvEvent,
    Echo,
    /// Reads so many chunks, and drops the reader.
    Read(u8),
    Send(bool, Payload),
    TrySend(Payload),
    /// Writes so many fragments.
    Write {
        is_text: bool,
        fragment: Payload,
        times: u8,
        finish: bool,
    },
    Ping,
    Flush,
    Close(u16),
    Abort,
    /// In tenths of a second.
    Pause(u8),
    /// Begins to receive, and does not wait.
    GiveUp,
    RecvAll,
}

fn owned(u: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    bytes(u).map(<[u8]>::to_vec)
}

/// What the handler has seen and done.
#[derive(Default)]
struct Log {
    received: Vec<Received>,
    sent: Vec<Message>,
}

enum Received {
    Whole(Vec<u8>, bool),
    /// The beginning of one.
    Part(Vec<u8>),
}

fuzz_target!(|input: Input| {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    runtime.block_on(run(input));
});

async fn run(mut input: Input) {
    input.peer.truncate(16);
    input.steps.truncate(16);
    let log = Arc::new(Mutex::new(Log::default()));
    let polls = Arc::new(AtomicUsize::new(0));
    let (ours, theirs) = duplex(usize::from(input.pipe) * 16 + 64);
    let steps: Arc<[Do]> = input.steps.clone().into();
    let route = {
        let log = log.clone();
        handler(move |socket| {
            let (steps, log) = (steps.clone(), log.clone());
            async move {
                // How a handler ends is looked at by its report.
                let _ended = follow(socket, &steps, &log).await;
            }
        })
    };
    let (sender, mut reports) = mpsc::unbounded_channel();
    let service = WebSocketLayer::new(route)
        .config(input.config())
        .on_end(move |report| {
            let _gone = sender.send(report.clone());
        })
        .endpoint();
    let mut request = testing::request("/");
    if input.http2 {
        request = request.http2();
    }
    if input.deflate {
        request = request.header("sec-websocket-extensions", "permessage-deflate");
    }
    let stream = Counted {
        stream: theirs,
        polls: polls.clone(),
    };
    let request = request.extension(OnUpgrade::new(stream)).into_request();
    let response = service.oneshot(request).await;
    let response = response.expect("the layer makes no errors");
    assert!(matches!(response.status().as_u16(), 101 | 200));

    let (wire, pauses) = input.wire();
    let (reader, writer) = split(ours);
    let bound = input.bound();
    let talk = async {
        let ((), seen) = tokio::join!(
            write(writer, &wire, &pauses, input.cut, input.eof),
            read(reader, input.reads)
        );
        seen
    };
    let wait = async {
        let report = reports.recv().await.expect("a report");
        assert!(reports.recv().await.is_none(), "two reports");
        report
    };
    let both = async { tokio::join!(talk, wait) };
    let (seen, report) = timeout(bound, both)
        .await
        .expect("the session ends within its deadlines");
    assert!(report.duration <= bound);

    let log = log.lock().expect("no panic held it");
    let written: usize = log.sent.iter().map(Message::len).sum();
    let most = 2000 + 4 * (wire.len() + written) + 50 * (input.peer.len() + input.steps.len());
    let polls = polls.load(Ordering::Relaxed);
    assert!(polls <= most, "{polls} polls, where {most} are many");
    check_sent(&input, &seen, &wire, &log);
    check_received(&input, &wire, &log);
}

/// What arrived at the peer is what was sent, up to some moment.
fn check_sent(input: &Input, seen: &[u8], wire: &[u8], log: &Log) {
    let rules = Rules {
        masked: false,
        max_message_size: u64::MAX,
        max_fragments: u64::MAX,
        ..input.rules()
    };
    let reading = frames::read(seen, &rules);
    let mut sent = log.sent.iter();
    let (mut closed, mut pongs) = (false, 0);
    for event in &reading.seen {
        match event {
            Seen::Text(payload) | Seen::Binary(payload) => {
                assert!(!closed, "a message behind the Close");
                let message = sent.next().expect("a message that was sent");
                assert_eq!(message.as_bytes(), payload);
                assert_eq!(message.is_text(), matches!(event, Seen::Text(_)));
            }
            Seen::Close(_) => {
                assert!(!closed, "two Closes");
                closed = true;
            }
            // RFC 6455 §5.5.2: pings are answered until the peer's Close, behind our own, too.
            Seen::Pong(_) => pongs += 1,
            Seen::Ping(_) => assert!(!closed, "a frame behind the Close"),
        }
    }
    assert_eq!(reading.end, End::Open, "what the peer was sent");
    assert!(pongs <= pings(wire), "{pongs} pongs");
    // RFC 6455 §5.5.1: "The application MUST NOT send any more data frames after sending a Close frame."
    assert!(!reading.data_behind_close, "a message behind the Close");
    if closed && let Some(first) = seen[seen.len() - reading.rest..].first() {
        assert_eq!(*first, 0x8a, "bytes behind the Close");
    }
}

/// The pings in `wire`, as far as there are frames in it (RFC 6455 §5.2).
fn pings(mut wire: &[u8]) -> usize {
    let mut pings = 0;
    while let [first, second, rest @ ..] = wire {
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((len, rest)) = rest.split_at_checked(extended) else {
            break;
        };
        let len = match len {
            [] => u64::from(second & 0x7f),
            len => len.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        pings += usize::from(first & 0x0f == 9);
        let Some(rest) = rest.get(len.saturating_add(mask)..) else {
            break;
        };
        wire = rest;
    }
    pings
}

/// What the handler received is what the peer sent, up to some moment.
fn check_received(input: &Input, wire: &[u8], log: &Log) {
    let reading = frames::read(wire, &input.rules());
    let close = |seen: &Seen| matches!(seen, Seen::Close(_));
    let is_closed = reading.seen.iter().any(close);
    let before = reading.seen.into_iter().take_while(|seen| !close(seen));
    let messages: Vec<_> = before
        .filter_map(|seen| match seen {
            Seen::Text(payload) => Some((payload, true)),
            Seen::Binary(payload) => Some((payload, false)),
            _ => None,
        })
        .collect();
    for (n, received) in log.received.iter().enumerate() {
        match (received, messages.get(n)) {
            (Received::Whole(payload, is_text), message) => {
                let message = message.expect("a message that the peer has sent");
                assert_eq!(message, &(payload.clone(), *is_text));
            }
            (Received::Part(part), Some((message, _))) => assert!(message.starts_with(part)),
            // It was not sent to its end.
            (Received::Part(part), None) => {
                assert_eq!(n, messages.len());
                let open = reading.open.as_deref().filter(|_| !is_closed);
                assert!(is_closed || open.is_some_and(|open| open.starts_with(part)));
            }
        }
    }
}

impl Input {
    fn config(&self) -> Config {
        // A message that is streamed has no limit to its size.
        let limit = self.max_message_size.map(|size| usize::from(size) * 16);
        let mut config = Config::default()
            .streaming(self.streaming)
            .max_message_size(limit.filter(|_| !self.streaming))
            .control_frame_rate(None)
            .fragment_size(self.fragment_size.map(|size| usize::from(size) + 1))
            .compression(self.deflate.then(Compression::dedicated));
        if self.small_queue {
            config = config.max_send_queue(256);
        }
        config
    }

    /// How a naive reader has to read what the peer sends.
    fn rules(&self) -> Rules {
        let limit = self.max_message_size.filter(|_| !self.streaming);
        Rules {
            masked: true,
            deflate: self.deflate.then_some(Deflate {
                takeover: true,
                window_bits: 15,
                strict: false,
            }),
            max_message_size: limit.map_or(u64::MAX, |size| u64::from(size) * 16),
            max_frame_size: u64::MAX,
            max_fragments: limit.map_or(u64::MAX, |_| 1024),
        }
    }

    /// When all has to be over: what both sides wait for, and the deadlines of the session.
    fn bound(&self) -> Duration {
        let peer = self.peer.iter().map(|say| match say {
            Say::Pause(tenths) => u64::from(*tenths),
            _ => 0,
        });
        let steps = self.steps.iter().map(|step| match step {
            Do::Pause(tenths) => u64::from(*tenths),
            _ => 0,
        });
        // Ping interval and timeout, twice where one Pong was on its way; frame, write and close.
        let deadlines = Duration::from_secs(2 * (20 + 20) + 30 + 10 + 5 + 1);
        deadlines
            + Duration::from_millis(100)
                * u32::try_from(peer.chain(steps).sum::<u64>()).expect("few")
    }

    /// What the peer sends, and the places where it pauses.
    fn wire(&self) -> (Vec<u8>, Vec<(usize, u8)>) {
        let (mut wire, mut pauses) = (Vec::new(), Vec::new());
        for say in &self.peer {
            match say {
                Say::Bytes(bytes) => wire.extend_from_slice(bytes),
                Say::Frame {
                    fin,
                    rsv1,
                    opcode,
                    payload,
                } => frame(*fin, *rsv1, *opcode, payload.bytes(), &mut wire),
                Say::Text(payload) => frame(true, false, Opcode::Text, payload.bytes(), &mut wire),
                Say::Binary(payload) => {
                    frame(true, false, Opcode::Binary, payload.bytes(), &mut wire);
                }
                Say::Compressed(is_text, literals, len, distance) => {
                    let mut writer = Writer::default();
                    writer.begin(Kind::Fixed, false, &[]);
                    writer.literals(literals);
                    writer.reference(usize::from(*len) + 3, usize::from(*distance) + 1);
                    writer.end();
                    let opcode = if *is_text {
                        Opcode::Text
                    } else {
                        Opcode::Binary
                    };
                    frame(true, true, opcode, writer.finish(), &mut wire);
                }
                Say::Character(len) => {
                    let last = "\u{20ac}".as_bytes()[..usize::from(len % 4)].to_vec();
                    let first = vec![b'a'; usize::from(len / 4)];
                    frame(false, false, Opcode::Text, first, &mut wire);
                    frame(true, false, Opcode::Continuation, last, &mut wire);
                }
                Say::Close(code) => {
                    let payload = code.to_be_bytes().to_vec();
                    frame(true, false, Opcode::Close, payload, &mut wire);
                }
                Say::Pause(tenths) => pauses.push((wire.len(), *tenths)),
            }
        }
        (wire, pauses)
    }
}

impl Payload {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Repeated(byte, times) => vec![*byte; usize::from(*times)],
        }
    }

    fn message(&self, is_text: bool) -> Message {
        if is_text {
            Message::text(text(self.bytes()))
        } else {
            Message::binary(self.bytes())
        }
    }
}

fn frame(fin: bool, rsv1: bool, opcode: Opcode, mut payload: Vec<u8>, to: &mut Vec<u8>) {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let header = Header {
        fin,
        rsv1,
        rsv2: false,
        rsv3: false,
        opcode,
        masking_key: Some(key),
        payload_len: payload.len() as u64,
    };
    to.extend_from_slice(&header.encode());
    apply_mask(&mut payload, key);
    to.extend_from_slice(&payload);
}

async fn write(
    mut writer: WriteHalf<DuplexStream>,
    wire: &[u8],
    pauses: &[(usize, u8)],
    cut: u8,
    eof: bool,
) {
    let mut sent = 0;
    for (at, tenths) in pauses.iter().copied().chain([(wire.len(), 0)]) {
        for chunk in wire[sent..at].chunks(usize::from(cut) * 4 + 1) {
            if writer.write_all(chunk).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        sent = at;
        sleep(Duration::from_millis(100) * u32::from(tenths)).await;
    }
    if eof {
        // The other end may be gone.
        let _gone = writer.shutdown().await;
    }
}

async fn read(mut reader: ReadHalf<DuplexStream>, most: Option<u8>) -> Vec<u8> {
    let mut seen = Vec::new();
    match most {
        None => {
            reader.read_to_end(&mut seen).await.expect("no resets");
        }
        Some(most) => {
            let mut first = (&mut reader).take(u64::from(most) * 8);
            first.read_to_end(&mut seen).await.expect("no resets");
            sleep(Duration::from_secs(15)).await;
        }
    }
    seen
}

async fn follow(mut socket: WebSocket, steps: &[Do], log: &Mutex<Log>) -> Result<(), Error> {
    let log = || log.lock().expect("no panic held it");
    for step in steps {
        match step {
            Do::Recv => {
                let Some(message) = socket.recv().await? else {
                    return Ok(());
                };
                log().received.push(Received::of(&message));
            }
            Do::RecvEvent => match socket.recv_event().await? {
                Some(Event::Message(message)) => log().received.push(Received::of(&message)),
                Some(_) => {}
                None => return Ok(()),
            },
            Do::Echo => {
                let Some(message) = socket.recv().await? else {
                    return Ok(());
                };
                log().received.push(Received::of(&message));
                log().sent.push(message.clone());
                socket.send(message).await?;
            }
            Do::Read(chunks) => {
                let Some(mut reader) = socket.recv_reader().await? else {
                    return Ok(());
                };
                let is_text = reader.kind() == MessageKind::Text;
                let n = log().received.len();
                log().received.push(Received::Part(Vec::new()));
                let mut payload = Vec::new();
                for _ in 0..*chunks {
                    let chunk = reader.chunk().await?;
                    let ended = chunk.is_none();
                    payload.extend_from_slice(&chunk.unwrap_or_default());
                    log().received[n] = if ended {
                        Received::Whole(payload.clone(), is_text)
                    } else {
                        Received::Part(payload.clone())
                    };
                    if ended {
                        break;
                    }
                }
            }
            Do::Send(is_text, payload) => {
                let message = payload.message(*is_text);
                log().sent.push(message.clone());
                socket.send(message).await?;
            }
            Do::TrySend(payload) => {
                let message = payload.message(false);
                if socket.try_send(message.clone()).is_ok() {
                    log().sent.push(message);
                }
            }
            Do::Write {
                is_text,
                fragment,
                times,
                finish,
            } => {
                let kind = if *is_text {
                    MessageKind::Text
                } else {
                    MessageKind::Binary
                };
                let part = fragment.message(*is_text);
                let whole = part.as_bytes().repeat(usize::from(*times % 8));
                let mut writer = socket.send_writer(kind).await?;
                for _ in 0..*times % 8 {
                    writer.send(part.as_bytes().to_vec()).await?;
                }
                if *finish {
                    log().sent.push(if *is_text {
                        Message::text(String::from_utf8(whole).expect("text"))
                    } else {
                        Message::binary(whole)
                    });
                    writer.finish().await?;
                }
            }
            Do::Ping => socket.ping("ping")?,
            Do::Flush => socket.flush().await?,
            Do::Close(code) => {
                if let Some(code) = CloseCode::new(*code) {
                    socket.close(CloseFrame::new(code, "bye"));
                }
            }
            Do::Abort => socket.sender().abort(),
            Do::Pause(tenths) => sleep(Duration::from_millis(100) * u32::from(*tenths)).await,
            Do::GiveUp => {
                if let Ok(message) = timeout(Duration::ZERO, socket.recv()).await {
                    let Some(message) = message? else {
                        return Ok(());
                    };
                    log().received.push(Received::of(&message));
                }
            }
            Do::RecvAll => {
                while let Some(message) = socket.recv().await? {
                    log().received.push(Received::of(&message));
                }
            }
        }
    }
    Ok(())
}

impl Received {
    fn of(message: &Message) -> Self {
        Self::Whole(message.as_bytes().to_vec(), message.is_text())
    }
}

/// Counts how often it is polled.
struct Counted {
    stream: DuplexStream,
    polls: Arc<AtomicUsize>,
}

impl Counted {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut DuplexStream> {
        let this = self.get_mut();
        let polls = this.polls.fetch_add(1, Ordering::Relaxed);
        assert!(polls < 1 << 20, "a loop without progress");
        Pin::new(&mut this.stream)
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

const OPCODES: [Opcode; 6] = [
    Opcode::Continuation,
    Opcode::Text,
    Opcode::Binary,
    Opcode::Close,
    Opcode::Ping,
    Opcode::Pong,
];
