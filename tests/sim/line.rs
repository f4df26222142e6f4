//! Lines between clients and server: they cut, hesitate and fail.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::{
    rng::{Rng, lock},
    world::World,
};

/// What becomes of a line, after so many bytes have gone over it in both directions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Holds,
    /// Both ends fail, and what was under way is lost.
    Reset(usize),
    /// Nothing more gets through, and nobody is told.
    Vanishes(usize),
    /// What end 0 sends ends, as by a half-open connection that was closed.
    Ends(usize),
    /// What end 1 sends gets through no more: end 0 goes on sending, and takes nothing.
    Deafens(usize),
}

impl Fate {
    fn draw(rng: &mut Rng) -> Self {
        let after = match rng.below(3) {
            0 => rng.below(400),
            1 => rng.below(4_000),
            _ => rng.below(60_000),
        };
        match rng.below(100) {
            0..70 => Self::Holds,
            // Behind the handshake.
            70..78 => Self::Deafens(rng.pick(&[700, 1_000, 4_000])),
            78..86 => Self::Reset(after),
            86..93 => Self::Ends(after),
            _ => Self::Vanishes(after),
        }
    }

    fn has_come(self, moved: usize) -> bool {
        match self {
            Self::Holds => false,
            Self::Reset(after)
            | Self::Vanishes(after)
            | Self::Ends(after)
            | Self::Deafens(after) => moved >= after,
        }
    }
}

/// What both ends share.
struct Both {
    world: Arc<World>,
    rng: Rng,
    fate: Fate,
    /// How often, in a hundred times, an operation has to wait.
    hesitates: usize,
    /// How often what is read or written is cut.
    cuts: usize,
    capacity: usize,
    moved: usize,
    /// What was written by each end.
    bytes: [VecDeque<u8>; 2],
    /// Each end has shut down.
    shut: [bool; 2],
    /// Each end is gone.
    gone: [bool; 2],
    readers: [Option<Waker>; 2],
    writers: [Option<Waker>; 2],
    /// How often anybody has read, written, flushed or shut down.
    operations: usize,
}

impl Both {
    /// Whether the line is to be used now: counts, so that who goes round in circles is found.
    fn begin(&mut self) -> Result<(), io::Error> {
        self.operations += 1;
        if self.operations > MANY + PER_BYTE * self.moved {
            let (operations, moved) = (self.operations, self.moved);
            self.world
                .fail(&format!("{operations} operations for {moved} bytes"));
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if matches!(self.fate, Fate::Reset(_)) && self.fate.has_come(self.moved) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    /// Whether nothing goes from this end to the other any more.
    fn has_vanished(&self, from: usize) -> bool {
        let vanishes = match self.fate {
            Fate::Vanishes(_) => true,
            Fate::Deafens(_) => from == 1,
            _ => false,
        };
        vanishes && self.fate.has_come(self.moved)
    }

    fn has_ended(&self, end: usize) -> bool {
        self.shut[end]
            || self.gone[end]
            || (end == 0 && matches!(self.fate, Fate::Ends(_)) && self.fate.has_come(self.moved))
    }

    fn moved(&mut self, bytes: usize) {
        self.moved += bytes;
        if self.fate.has_come(self.moved) {
            self.wake_all();
        }
    }

    fn wake_all(&mut self) {
        for waker in self.readers.iter_mut().chain(&mut self.writers) {
            waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// One end of a line.
pub(crate) struct Line {
    both: Arc<Mutex<Both>>,
    end: usize,
    /// For a read and for a write that has to wait for no reason.
    waits: [Option<Pin<Box<Sleep>>>; 2],
}

impl Line {
    /// Makes the two ends of a line, the client's first.
    pub(crate) fn pair(
        world: &Arc<World>,
        rng: &mut Rng,
        faulty: bool,
        deaf: bool,
    ) -> (Self, Self) {
        let mut rng = rng.fork();
        let (mut hesitates, mut capacity) = (
            rng.pick(&[0, 0, 5, 30]),
            rng.pick(&[40, 300, 4_000, 16_000, 64_000]),
        );
        let (mut fate, mut cuts) = (Fate::Holds, rng.pick(&[0, 10, 50, 100]));
        if deaf {
            (hesitates, capacity, cuts) = (0, 64_000, 0);
            fate = Fate::Deafens(rng.pick(&[700, 1_000, 4_000]));
        } else if faulty {
            fate = Fate::draw(&mut rng);
        }
        let both = Arc::new(Mutex::new(Both {
            world: world.clone(),
            fate,
            hesitates,
            cuts,
            // So that what was sent is there within seconds.
            capacity: if hesitates > 5 {
                capacity.max(4_000)
            } else {
                capacity
            },
            moved: 0,
            bytes: Default::default(),
            shut: [false; 2],
            gone: [false; 2],
            readers: [None, None],
            writers: [None, None],
            operations: 0,
            rng,
        }));
        world.trace(|| format!("{:?}", View(both.clone())));
        let end = |end| Self {
            both: both.clone(),
            end,
            waits: [None, None],
        };
        (end(0), end(1))
    }

    /// The line as one sees it who does not use it.
    pub(crate) fn view(&self) -> View {
        View(self.both.clone())
    }

    /// Waits for no reason, now and then.
    fn poll_hesitate(&mut self, cx: &mut Context<'_>, kind: usize) -> Poll<()> {
        if let Some(wait) = &mut self.waits[kind] {
            if wait.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.waits[kind] = None;
            return Poll::Ready(());
        }
        let mut both = lock(&self.both);
        let hesitates = both.hesitates;
        if !both.rng.percent(hesitates) {
            return Poll::Ready(());
        }
        if both.rng.percent(50) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let wait = both.rng.pick(&[1, 3, 20, 200]);
        drop(both);
        let mut wait = Box::pin(sleep(Duration::from_millis(wait)));
        let poll = wait.as_mut().poll(cx);
        self.waits[kind] = Some(wait);
        poll
    }
}

/// A line as one sees it who does not use it.
pub(crate) struct View(Arc<Mutex<Both>>);

impl View {
    /// Whether the client hears nothing one day, and goes on.
    pub(crate) fn deafens(&self) -> bool {
        matches!(lock(&self.0).fate, Fate::Deafens(_))
    }

    /// Whether nothing ever happens to the line, and it carries the longest message in seconds.
    pub(crate) fn is_good(&self) -> bool {
        let both = lock(&self.0);
        let quick = both.hesitates == 0 || (both.capacity >= 4_000 && both.cuts <= 50);
        both.fate == Fate::Holds && quick
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let both = lock(&self.0);
        f.debug_struct("Line")
            .field("fate", &both.fate)
            .field("hesitates", &both.hesitates)
            .field("cuts", &both.cuts)
            .field("capacity", &both.capacity)
            .field("moved", &both.moved)
            .field("bytes", &[both.bytes[0].len(), both.bytes[1].len()])
            .field(
                "readers",
                &[both.readers[0].is_some(), both.readers[1].is_some()],
            )
            .field(
                "writers",
                &[both.writers[0].is_some(), both.writers[1].is_some()],
            )
            .finish_non_exhaustive()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.poll_hesitate(cx, 0).is_pending() {
            return Poll::Pending;
        }
        let (end, other) = (self.end, 1 - self.end);
        let mut both = lock(&self.both);
        both.begin()?;
        let there = both.bytes[other].len();
        let len = there.min(buf.remaining());
        let vanished = both.has_vanished(other);
        if vanished || (len == 0 && buf.remaining() > 0) {
            if !vanished && both.has_ended(other) {
                return Poll::Ready(Ok(()));
            }
            both.readers[end] = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let cuts = both.cuts;
        let len = if both.rng.percent(cuts) && len > 0 {
            both.rng.within(1..=len)
        } else {
            len
        };
        let (front, back) = both.bytes[other].as_slices();
        let first = front.len().min(len);
        buf.put_slice(&front[..first]);
        buf.put_slice(&back[..len - first]);
        both.bytes[other].drain(..len);
        both.moved(len);
        let writer = both.writers[other].take();
        drop(both);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.poll_hesitate(cx, 1).is_pending() {
            return Poll::Pending;
        }
        let (end, other) = (self.end, 1 - self.end);
        let mut both = lock(&self.both);
        both.begin()?;
        if both.gone[other] || both.shut[end] {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = both.capacity.saturating_sub(both.bytes[end].len());
        let mut len = bytes.len().min(room);
        if both.has_vanished(end) || (len == 0 && !bytes.is_empty()) {
            both.writers[end] = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let cuts = both.cuts;
        if both.rng.percent(cuts) && len > 0 {
            len = both.rng.within(1..=len);
        }
        if !both.has_ended(end) {
            both.bytes[end].extend(&bytes[..len]);
        }
        both.moved(len);
        let reader = both.readers[other].take();
        drop(both);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.both).begin()?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut both = lock(&self.both);
        both.begin()?;
        both.shut[self.end] = true;
        let reader = both.readers[1 - self.end].take();
        drop(both);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut both = lock(&self.both);
        both.gone[self.end] = true;
        let wakers: Vec<_> = [
            both.readers[1 - self.end].take(),
            both.writers[1 - self.end].take(),
        ]
        .into_iter()
        .flatten()
        .collect();
        drop(both);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// More operations than anybody needs who has a cause for each: a byte may be written alone, and read
/// alone. What was seen for any line is four, and two for each byte.
const MANY: usize = 100;
const PER_BYTE: usize = 2;
