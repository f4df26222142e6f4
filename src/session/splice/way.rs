//! One direction of two spliced connections.

use std::{
    cell::Cell,
    io, mem,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    config::Config,
    pool,
    protocol::{CloseFrame, Encoder, Found, FrameTracker, ProtocolError, Role, SendQueue},
    session::transport::Transport,
};

/// What comes from one side, on its way to the other.
pub(super) struct Way {
    tracker: FrameTracker,
    /// What was read and is not all there yet: of a header, or of a Close.
    held: Vec<u8>,
    /// Nothing was looked at yet, and something was read with the handshake.
    fresh: bool,
    /// What waits for the target: no more is read before it has left.
    queue: SendQueue,
    /// What the target is closed with, once no frame is open.
    closing: Option<CloseFrame>,
    /// Makes a Close for the target.
    encoder: Encoder,
    /// The target has its Close, or will: nothing more is passed.
    closed: bool,
    /// The source has sent its Close.
    close_seen: bool,
    /// The source has ended.
    ended: bool,
    shutdown: Shutdown,
    needs_flush: bool,
    progress: bool,
    bytes: u64,
}

/// How far the end of the target's stream is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shutdown {
    No,
    Wanted,
    Done,
}

/// What became of a way, as far as it concerns the other one.
pub(super) enum Moved {
    /// The source has nothing, or the target takes nothing, for now.
    Waiting,
    /// There may be more, and others have their turn.
    Spent,
    /// The source has come to its end, or has sent its Close in answer.
    Ended,
    /// The source's Close was passed on.
    Closed(Option<CloseFrame>),
    /// The source has sent a frame that is not passed on.
    Violation(ProtocolError),
    /// The source has ended or failed without a Close, be it in mid-frame.
    SourceGone {
        in_frame: bool,
    },
    TargetGone,
}

impl Way {
    /// Makes the way of what `sender` sends, of which something has come already.
    pub(super) fn new(sender: Role, config: &Config, read: Bytes) -> Self {
        let max_frame_size = config.max_frame_size.or(config.max_message_size);
        Self {
            tracker: FrameTracker::new(sender, max_frame_size),
            fresh: !read.is_empty(),
            held: read.into(),
            queue: SendQueue::new(),
            closing: None,
            encoder: Encoder::new(sender, &Config::default()),
            closed: false,
            close_seen: false,
            ended: false,
            shutdown: Shutdown::No,
            needs_flush: false,
            progress: true,
            bytes: 0,
        }
    }

    /// Passes what there is from the source to the target, each of which may be gone.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut source: Option<&mut Transport>,
        mut target: Option<&mut Transport>,
        budget: &mut usize,
    ) -> Moved {
        if mem::take(&mut self.fresh) {
            let mut read = BytesMut::new();
            read.extend_from_slice(&mem::take(&mut self.held));
            if let Some(moved) = self.take(read) {
                return moved;
            }
        }
        loop {
            match self.poll_write(cx, target.as_deref_mut()) {
                Poll::Pending => return Moved::Waiting,
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "a spliced websocket takes no more");
                    return Moved::TargetGone;
                }
                Poll::Ready(Ok(())) => {}
            }
            let Some(source) = source.as_deref_mut().filter(|_| !self.ended) else {
                return Moved::Waiting;
            };
            if *budget == 0 {
                return Moved::Spent;
            }
            if let Some(moved) = self.read(cx, source, budget) {
                return moved;
            }
        }
    }

    /// Reads once; `None` where that has brought something to pass.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Transport,
        budget: &mut usize,
    ) -> Option<Moved> {
        let mut buffer = take_buffer();
        buffer.reserve(BUFFER);
        buffer.extend_from_slice(&self.held);
        match source.poll_read(cx, &mut buffer) {
            Poll::Pending => {
                put_back(buffer);
                Some(Moved::Waiting)
            }
            Poll::Ready(Ok(read)) if read > 0 => {
                *budget = budget.saturating_sub(read);
                self.progress = true;
                self.held.clear();
                self.take(buffer)
            }
            Poll::Ready(_) => {
                put_back(buffer);
                self.ended = true;
                if self.close_seen {
                    return Some(Moved::Ended);
                }
                let in_frame = !self.closed && !self.tracker.is_between_frames();
                Some(Moved::SourceGone { in_frame })
            }
        }
    }

    /// Queues what may be passed of what was read, and keeps the rest.
    fn take(&mut self, mut buffer: BytesMut) -> Option<Moved> {
        let mut moved = None;
        if !self.close_seen {
            let open = self.tracker.left();
            let (len, found) = self.tracker.track(&buffer);
            if !self.closed {
                // Up to the end of the frame that is open, where a Close is to follow.
                let passed = match self.closing {
                    Some(_) => len.min(usize::try_from(open).unwrap_or(usize::MAX)),
                    None => len,
                };
                self.bytes += passed as u64;
                self.pass(&mut buffer, passed);
                buffer.advance(len - passed);
                moved = self.found(found);
                if self.closing.is_some() && (passed as u64 == open || moved.is_some()) {
                    self.close_now();
                }
            } else {
                buffer.advance(len);
                self.close_seen = !matches!(found, Found::Frames);
                moved = self.close_seen.then_some(Moved::Ended);
            }
        }
        if self.close_seen {
            buffer.clear();
        }
        self.held.extend_from_slice(&buffer);
        put_back(buffer);
        moved
    }

    fn pass(&mut self, buffer: &mut BytesMut, len: usize) {
        if len < SHARED {
            self.queue.gather(&buffer[..len]);
            buffer.advance(len);
        } else {
            self.queue.share(buffer.split_to(len).freeze());
        }
    }

    /// Notes what was found behind the frames that are passed.
    fn found(&mut self, found: Found) -> Option<Moved> {
        match found {
            Found::Frames => None,
            Found::Close(frame) => {
                self.close_seen = true;
                if self.closing.is_none() {
                    self.closed = true;
                }
                Some(Moved::Closed(frame))
            }
            Found::Violation(error) => {
                // Nothing of what follows is understood.
                self.close_seen = true;
                Some(Moved::Violation(error))
            }
        }
    }

    /// Has the target closed with a frame, unless it is already, once no frame is open.
    pub(super) fn close_with(&mut self, frame: CloseFrame) {
        if self.closed || self.closing.is_some() {
            return;
        }
        self.closing = Some(frame);
        if self.tracker.is_between_frames() {
            self.close_now();
        }
    }

    fn close_now(&mut self) {
        if let Some(frame) = self.closing.take() {
            self.encoder.close(Some(&frame), &mut self.queue);
            self.closed = true;
        }
    }

    /// Writes all that waits; ready when that is done, and the stream ended where that is wanted.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        target: Option<&mut Transport>,
    ) -> Poll<io::Result<()>> {
        let Some(target) = target else {
            self.queue = SendQueue::new();
            self.shutdown = Shutdown::Done;
            return Poll::Ready(Ok(()));
        };
        while !self.queue.is_empty() {
            match target.poll_write(cx, &mut self.queue) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(_)) => self.progress = true,
            }
            self.needs_flush = target.needs_flush();
        }
        if self.needs_flush {
            match target.poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(flushed) => flushed?,
            }
            self.needs_flush = false;
        }
        if self.shutdown == Shutdown::Wanted {
            match target.poll_shutdown(cx) {
                Poll::Pending => return Poll::Pending,
                // Where that fails, it has ended.
                Poll::Ready(_) => self.shutdown = Shutdown::Done,
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn shut_down(&mut self) {
        if self.shutdown == Shutdown::No {
            self.shutdown = Shutdown::Wanted;
        }
    }

    pub(super) fn is_shutting(&self) -> bool {
        self.shutdown != Shutdown::No
    }

    pub(super) fn is_shut(&self) -> bool {
        self.shutdown == Shutdown::Done
    }

    /// Reports whether something waits that the target does not take.
    pub(super) fn is_blocked(&self) -> bool {
        !self.queue.is_empty() || self.needs_flush
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.is_blocked()
    }

    /// Reports whether something has moved since it was asked.
    pub(super) fn take_progress(&mut self) -> bool {
        mem::take(&mut self.progress)
    }

    /// Reports whether the target has its Close, or will.
    pub(super) fn has_closed(&self) -> bool {
        self.closed || self.closing.is_some()
    }

    /// Reports whether the target's Close is queued or written.
    pub(super) fn has_sent_close(&self) -> bool {
        self.closed
    }

    /// Reports whether the target could be closed now.
    pub(super) fn can_close(&self) -> bool {
        self.closed || self.tracker.is_between_frames()
    }

    pub(super) fn has_seen_close(&self) -> bool {
        self.close_seen
    }

    /// Reports whether the source has ended.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended
    }

    pub(super) fn messages(&self) -> u64 {
        self.tracker.messages()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn take_buffer() -> BytesMut {
    pool::take(&BUFFER_OF_THREAD)
}

fn put_back(mut buffer: BytesMut) {
    buffer.clear();
    pool::put_back(&BUFFER_OF_THREAD, buffer);
}

thread_local! {
    /// No connection that waits has one.
    static BUFFER_OF_THREAD: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// How much is read at once.
const BUFFER: usize = 64 << 10;

/// From here on bytes are not copied on their way.
const SHARED: usize = 8 << 10;
