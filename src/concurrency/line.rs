//! A session over a stream in memory, and its peer.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use shuttle::{future::JoinHandle, sync::Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{end, give_up, start};
use crate::{
    config::Config,
    error::Error,
    session::{Agreed, Opened, Place, Session, SessionReport, Setup, Transport, WebSocket},
};

/// A session whose socket is held by the model.
pub(super) struct Line {
    pub(super) socket: WebSocket,
    /// The peer's end of the stream.
    pub(super) peer: End,
    /// The session's task.
    pub(super) session: Ended,
}

/// What is left of a session once its task has ended.
pub(super) struct Ended {
    task: JoinHandle<()>,
    reports: Arc<std::sync::Mutex<Vec<SessionReport>>>,
}

impl Ended {
    /// Waits for the end, which is reported once.
    pub(super) async fn report(self) -> SessionReport {
        end(self.task).await;
        let mut reports = self.reports.lock().unwrap();
        assert_eq!(reports.len(), 1, "one report");
        reports.remove(0)
    }
}

impl Line {
    /// Opens a session whose stream holds `room` bytes on the way to the peer.
    pub(super) fn open(config: Config, room: usize) -> Self {
        Self::open_at(config, room, None)
    }

    /// Opens a session that has its place in a registry.
    pub(super) fn open_at(config: Config, room: usize, place: Option<Place>) -> Self {
        let mut socket = None;
        let (peer, session) = serve(config, room, place, |opened| {
            socket = Some(opened);
            std::future::ready(Ok(()))
        });
        Self {
            socket: socket.unwrap(),
            peer,
            session: session.start(),
        }
    }
}

/// A session with a handler that no task runs yet.
pub(super) struct Serving<F> {
    pub(super) session: Session<F>,
    reports: Arc<std::sync::Mutex<Vec<SessionReport>>>,
}

impl<F: Future<Output = Result<(), Error>> + Send + 'static> Serving<F> {
    pub(super) fn start(self) -> Ended {
        Ended {
            task: start(self.session),
            reports: self.reports,
        }
    }

    /// Runs it for a few turns only, as in a runtime that ends.
    pub(super) fn start_and_drop(self, turns: usize) -> Ended {
        let session = self.session;
        Ended {
            task: start(async move {
                let _over = give_up(session, turns).await;
            }),
            reports: self.reports,
        }
    }
}

/// Makes a session with a handler.
pub(super) fn serve<F>(
    config: Config,
    room: usize,
    place: Option<Place>,
    handler: impl FnOnce(WebSocket) -> F,
) -> (End, Serving<F>) {
    let (stream, peer) = pair(room);
    let reports = Arc::<std::sync::Mutex<Vec<_>>>::default();
    let reported = reports.clone();
    let setup = Setup {
        config,
        on_end: Some(Arc::new(move |report: &SessionReport| {
            reported.lock().unwrap().push(report.clone());
        })),
        ..Setup::server()
    };
    let opened = Opened {
        transport: Transport::other(stream),
        read: Bytes::new(),
        setup: Arc::new(setup),
        agreed: Agreed::default(),
        place,
    };
    let session = Session::open(opened, handler);
    (peer, Serving { session, reports })
}

/// What the peer has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The messages, in the order they came.
    pub(super) messages: Vec<String>,
    pub(super) pings: Vec<String>,
    pub(super) pongs: Vec<String>,
    /// The code of the Close frame; 1005 if it has none, `None` if there was no Close frame.
    pub(super) close: Option<u16>,
}

/// Makes a frame as a client sends it, masked with zeros.
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    assert!(len < 126);
    let mut frame = vec![0x80 | opcode, 0x80 | len, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

/// Makes a Close frame with code 1000.
pub(super) fn close_frame() -> Vec<u8> {
    frame(CLOSE, &1000_u16.to_be_bytes())
}

pub(super) const TEXT: u8 = 1;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
const PONG: u8 = 10;

/// Sends something, answers the Close, and reads until the server ends the stream.
pub(super) async fn peer(mut stream: End, says: Vec<u8>) -> Seen {
    let mut seen = Seen::default();
    let says_close = says
        .windows(4)
        .any(|part| part == [0x80 | CLOSE, 0x82, 0, 0]);
    if stream.write_all(&says).await.is_err() {
        return seen;
    }
    let mut head = [0; 2];
    while stream.read_exact(&mut head).await.is_ok() {
        let pong = head[0] & 0xF == PONG;
        assert!(
            pong || seen.close.is_none(),
            "only pongs come behind a Close"
        );
        assert!(head[0] & 0x80 > 0 && head[1] < 126, "a short frame");
        let mut payload = vec![0; head[1].into()];
        if stream.read_exact(&mut payload).await.is_err() {
            break;
        }
        let text = || String::from_utf8(payload.clone()).unwrap();
        match head[0] & 0xF {
            1 | 2 => seen.messages.push(text()),
            PING => seen.pings.push(text()),
            PONG => seen.pongs.push(text()),
            CLOSE => {
                let code = payload.first_chunk().copied().map(u16::from_be_bytes);
                seen.close = Some(code.unwrap_or(1005));
                if !says_close {
                    // The session may have been aborted.
                    let _gone = stream.write_all(&frame(CLOSE, &payload)).await;
                }
            }
            other => panic!("opcode {other}"),
        }
    }
    seen
}

/// Makes a stream in memory, whose first end has room to write `room` bytes.
fn pair(room: usize) -> (End, End) {
    let (there, back) = (Pipe::new(room), Pipe::new(1 << 20));
    let first = End {
        reads: back.clone(),
        writes: there.clone(),
    };
    let second = End {
        reads: there,
        writes: back,
    };
    (first, second)
}

/// One end of a stream.
pub(super) struct End {
    reads: Arc<Pipe>,
    writes: Arc<Pipe>,
}

impl End {
    /// Returns how much was written at this end, in bytes.
    pub(super) fn has_come(&self) -> Arc<Pipe> {
        self.reads.clone()
    }
}

/// One direction.
pub(super) struct Pipe(Mutex<State>);

struct State {
    bytes: VecDeque<u8>,
    room: usize,
    written: usize,
    ended: bool,
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(room: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            bytes: VecDeque::new(),
            room,
            written: 0,
            ended: false,
            broken: false,
            reader: None,
            writer: None,
        })))
    }

    /// Returns how much was written so far, in bytes.
    pub(super) fn written(&self) -> usize {
        self.0.lock().unwrap().written
    }

    /// Changes something, and wakes the task that waits for it.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().unwrap();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.reads.0.lock().unwrap();
        if state.bytes.is_empty() && !state.ended {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = state.bytes.len().min(buf.remaining());
        let bytes: Vec<u8> = state.bytes.drain(..count).collect();
        let writer = state.writer.take();
        drop(state);
        buf.put_slice(&bytes);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.writes.0.lock().unwrap();
        if state.broken || state.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = buf.len().min(state.room - state.bytes.len());
        if count == 0 && !buf.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.bytes.extend(&buf[..count]);
        state.written += count;
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes.change(|state| state.ended = true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.writes.change(|state| state.ended = true);
        self.reads.change(|state| {
            state.broken = true;
            state.bytes.clear();
        });
    }
}
