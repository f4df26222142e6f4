//! A line that plays what a peer sent once, and goes wrong where it is told to.

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};
use tower_websocket::handshake::key;

use crate::lock;
use crate::reading::{Recording, field, head_len};

/// What happens at an operation. Reads, writes, flushes and shutdowns count together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// This operation fails, and all that follow.
    Error(ErrorKind),
    /// It has to be tried again, at once.
    PendingOnce,
    /// It has to be tried again a little later.
    PendingLater,
    /// Half of the bytes go.
    Partial,
    /// One byte goes, now and whenever there are more.
    OneByte,
    /// Nothing more comes, or goes, whichever it is.
    End,
    /// It waits for ever, and so does all that goes the same way.
    Stall,
    /// It waits for ever, and so does everything.
    StallAll,
}

impl Fault {
    pub(super) const ALL: [Self; 10] = [
        Self::Error(ErrorKind::ConnectionReset),
        Self::Error(ErrorKind::BrokenPipe),
        Self::Error(ErrorKind::TimedOut),
        Self::PendingOnce,
        Self::PendingLater,
        Self::Partial,
        Self::OneByte,
        Self::End,
        Self::Stall,
        Self::StallAll,
    ];

    /// Whether the conversation is to go on as if there were nothing.
    pub(super) fn is_harmless(self) -> bool {
        matches!(
            self,
            Self::PendingOnce | Self::PendingLater | Self::Partial | Self::OneByte
        )
    }
}

/// How a line behaves; by default as well as one can.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    pub(super) fault: Option<(usize, Fault)>,
    /// Reads and writes are cut at random, and every fourth operation has to be tried again.
    pub(super) cut: Option<u64>,
    /// The peer does not wait for answers, but for the last of them.
    pub(super) hurried: bool,
}

/// What there is to be seen from outside.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) operations: usize,
    /// Bytes of the peer that were read.
    pub(super) read: usize,
    pub(super) written: Vec<u8>,
    /// Many operations in a row moved nothing, and no time passed.
    pub(super) spins: bool,
    /// The line was let go of.
    pub(super) dropped: bool,
}

pub(super) struct Line {
    pieces: VecDeque<Vec<u8>>,
    resets: bool,
    /// The answer waits for the whole question, and has its key put in.
    answers: bool,
    gate: Option<Pin<Box<Sleep>>>,
    later: Option<Pin<Box<Sleep>>>,
    plan: Plan,
    /// By direction.
    stalled: [bool; 2],
    ended: [bool; 2],
    failed: Option<ErrorKind>,
    one_byte: bool,
    idle: (usize, Option<Instant>),
    seen: Arc<Mutex<Seen>>,
}

const READ: usize = 0;
const WRITE: usize = 1;

/// How many bytes an operation may move.
type Most = usize;

impl Line {
    pub(super) fn new(recording: &Recording, plan: Plan) -> Self {
        let mut pieces: VecDeque<_> = recording.pieces.iter().cloned().collect();
        if plan.hurried {
            // Handshakes come one by one, and so does the end.
            let ends = pieces.split_off(pieces.len() - 4);
            let said = pieces.split_off(pieces.len().min(3));
            pieces.push_back(said.into_iter().flatten().collect());
            pieces.extend(ends);
            pieces.retain(|piece| !piece.is_empty());
        }
        Self {
            pieces,
            resets: recording.resets,
            answers: recording.is_server && !recording.http2,
            gate: None,
            later: None,
            plan,
            stalled: [false; 2],
            ended: [false; 2],
            failed: None,
            one_byte: false,
            idle: (0, None),
            seen: Arc::default(),
        }
    }

    pub(super) fn seen(&self) -> Arc<Mutex<Seen>> {
        self.seen.clone()
    }

    /// Counts an operation, and decides how much of it there is.
    fn poll_operation(&mut self, cx: &mut Context<'_>, way: usize) -> Poll<io::Result<Most>> {
        if let Some(later) = &mut self.later {
            ready!(later.as_mut().poll(cx));
            self.later = None;
        }
        let at = {
            let mut seen = lock(&self.seen);
            seen.operations += 1;
            let now = Some(Instant::now());
            let (count, since) = &mut self.idle;
            (*count, *since) = if *since == now {
                (*count + 1, now)
            } else {
                (0, now)
            };
            if *count > SPIN {
                seen.spins = true;
                drop(seen);
                // An error might be what is met with over and over.
                panic!("operations in circles");
            }
            seen.operations - 1
        };
        let mut most = Most::MAX;
        if let Some((fault_at, fault)) = self.plan.fault
            && fault_at == at
        {
            match fault {
                Fault::Error(kind) => self.failed = Some(kind),
                Fault::PendingOnce => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Fault::PendingLater => {
                    let mut later = Box::pin(sleep(LATER));
                    let waits = later.as_mut().poll(cx);
                    self.later = Some(later);
                    ready!(waits);
                }
                Fault::Partial => most = 0,
                Fault::OneByte => self.one_byte = true,
                Fault::End => self.ended[way] = true,
                Fault::Stall => self.stalled[way] = true,
                Fault::StallAll => self.stalled = [true; 2],
            }
        }
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        if self.stalled[way] {
            return Poll::Pending;
        }
        if self.one_byte {
            most = 1;
        }
        if let Some(state) = &mut self.plan.cut {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            if (*state >> 20).is_multiple_of(4) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let (few, many) = (1 + (*state >> 32) % 20, 1 + (*state >> 32) % 5000);
            most = (if *state & 1 == 0 { few } else { many }) as usize;
        }
        Poll::Ready(Ok(most))
    }

    /// Bytes went.
    fn moved(&mut self) {
        self.idle = (0, None);
    }

    /// The answer to our client's handshake, with the key it asks for.
    fn answer(&mut self) -> bool {
        let seen = lock(&self.seen);
        if head_len(&seen.written).is_none() {
            return false;
        }
        let mut answer: Vec<u8> = Vec::new();
        while head_len(&answer).is_none() {
            answer.extend(self.pieces.pop_front().expect("there is an answer"));
        }
        let asked = field(&seen.written, "sec-websocket-key").expect("there is a key");
        let accept = key::accept(&seen.written[asked]);
        let place = field(&answer, "sec-websocket-accept").expect("it is answered");
        answer[place].copy_from_slice(accept.as_bytes());
        self.pieces.push_front(answer);
        self.answers = false;
        true
    }
}

/// What of `len` bytes goes: all, as many as may go, or half.
fn share(len: usize, most: Most) -> usize {
    if most == 0 {
        len.div_ceil(2)
    } else {
        len.min(most)
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let most = ready!(this.poll_operation(cx, READ))?;
        if this.ended[READ] {
            return Poll::Ready(Ok(()));
        }
        // The next piece comes when nobody has anything to do any more.
        let gate = this.gate.get_or_insert_with(|| Box::pin(sleep(GATE)));
        ready!(gate.as_mut().poll(cx));
        if this.answers && !this.answer() {
            let gate = this.gate.insert(Box::pin(sleep(GATE)));
            return gate.as_mut().poll(cx).map(|()| Ok(()));
        }
        let Some(piece) = this.pieces.front_mut() else {
            this.failed = this.resets.then_some(ErrorKind::ConnectionReset);
            this.ended[READ] = true;
            return Poll::Ready(this.failed.map_or(Ok(()), |kind| Err(kind.into())));
        };
        let len = share(piece.len().min(buf.remaining()), most);
        buf.put_slice(&piece[..len]);
        piece.drain(..len);
        if piece.is_empty() {
            this.pieces.pop_front();
            this.gate = None;
        }
        lock(&this.seen).read += len;
        this.moved();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let most = ready!(this.poll_operation(cx, WRITE))?;
        if this.ended[WRITE] {
            return Poll::Ready(Ok(0));
        }
        let written = share(slices.iter().map(|slice| slice.len()).sum(), most);
        let mut room = written;
        let mut seen = lock(&this.seen);
        for slice in slices {
            let piece = &slice[..slice.len().min(room)];
            seen.written.extend_from_slice(piece);
            room -= piece.len();
        }
        drop(seen);
        if written > 0 {
            this.moved();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.plan.cut.is_none_or(|seed| seed.is_multiple_of(2))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_operation(cx, WRITE).map_ok(|_| ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_operation(cx, WRITE).map_ok(|_| ())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        lock(&self.seen).dropped = true;
    }
}

/// Between two pieces: the paused clock moves when every task waits.
const GATE: Duration = Duration::from_millis(10);

/// How long an operation is kept waiting.
const LATER: Duration = Duration::from_millis(1);

/// More operations in a row than anybody needs to find out that nothing moves.
const SPIN: usize = 60;
