//! The half of a connection that sends: queue, pongs, and the closing handshake.

use bytes::Bytes;

use super::{CloseFrame, Encoder, Event, Message, SendQueue, State};

/// Everything that decides what leaves, and in which order.
///
/// The facts of the closing handshake are kept here and nowhere else; [`State`] is computed. Small,
/// because every idle connection has one: the encoder comes with each call, and the queue is there
/// only while something waits.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    queue: Option<Box<Queue>>,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    close_sent: bool,
    close_received: bool,
    /// The transport is gone, or nothing will be written to it any more.
    ended: bool,
}

/// What waits to be written, and which pongs are among it.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) frames: SendQueue,
    /// The newest ping's payload, while too many pongs before it have not left.
    latest_ping: Option<Box<[u8]>>,
    /// The bytes of pongs in `frames`.
    unsent_pongs: u16,
}

/// The connection takes no more messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NotOpen;

impl Outgoing {
    /// Queues a message; gives back what was copied of it, to be dropped elsewhere.
    #[inline]
    pub(crate) fn message(
        &mut self,
        encoder: &Encoder,
        message: Message,
    ) -> Result<Option<Bytes>, NotOpen> {
        self.check_open()?;
        self.messages += 1;
        self.bytes += message.len() as u64;
        Ok(encoder.message(message, &mut self.queue().frames))
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self, encoder: &Encoder, payload: &[u8]) -> Result<(), NotOpen> {
        self.check_open()?;
        encoder.ping(payload, &mut self.queue().frames);
        Ok(())
    }

    /// Queues a pong that answers nothing, or a ping the application saw.
    pub(crate) fn pong(&mut self, encoder: &Encoder, payload: &[u8]) -> Result<(), NotOpen> {
        self.check_open()?;
        encoder.pong(payload, &mut self.queue().frames);
        Ok(())
    }

    /// Starts the closing handshake (RFC 6455 §7.1.2).
    pub(crate) fn close(
        &mut self,
        encoder: &Encoder,
        frame: Option<&CloseFrame>,
    ) -> Result<(), NotOpen> {
        self.check_open()?;
        self.close_sent = true;
        encoder.close(frame, &mut self.queue().frames);
        Ok(())
    }

    /// Does what a received event asks for: a pong, or the answer to a Close.
    pub(crate) fn receive(&mut self, encoder: &Encoder, event: &Event, auto_pong: bool) {
        match event {
            Event::Ping(payload) if auto_pong => self.answer_ping(encoder, payload),
            Event::Close(frame) => {
                // §5.5.1: the same code goes back, and nothing more after it.
                let _already_closing = self.close(encoder, frame.as_ref());
                self.close_received = true;
            }
            _ => {}
        }
    }

    /// Pongs leave in the order of their pings while they are few; then only the newest is
    /// answered, as §5.5.3 allows.
    fn answer_ping(&mut self, encoder: &Encoder, payload: &[u8]) {
        if self.check_open().is_err() {
            return;
        }
        let len = payload.len() as u16 + PONG_OVERHEAD;
        let queue = self.queue();
        if queue.unsent_pongs + len > MAX_UNSENT_PONGS {
            queue.latest_ping = Some(payload.into());
        } else {
            queue.unsent_pongs += len;
            encoder.pong(payload, &mut queue.frames);
        }
    }

    /// Takes the queue to write it, where something is in it.
    pub(crate) fn take_queue(&mut self) -> Option<Box<Queue>> {
        self.queue.take_if(|queue| !queue.frames.is_empty())
    }

    /// Takes note that all of `queue` was written, and empties it; the newest unanswered ping is
    /// answered now.
    pub(crate) fn written(&mut self, encoder: &Encoder, queue: &mut Queue) {
        queue.unsent_pongs = 0;
        if let Some(payload) = queue.latest_ping.take() {
            self.answer_ping(encoder, &payload);
        }
    }

    /// Puts what could not be written in front of what was queued meanwhile.
    pub(crate) fn put_back(&mut self, mut rest: Box<Queue>) {
        if let Some(newer) = self.queue.take() {
            rest.frames.append(newer.frames);
        }
        self.queue = Some(rest);
    }

    /// Takes an empty queue to use, where it has none.
    pub(crate) fn adopt(&mut self, spare: Option<Box<Queue>>) {
        if self.queue.is_none() {
            self.queue = spare;
        }
    }

    /// Whether queueing would have to allocate.
    pub(crate) fn needs_queue(&self) -> bool {
        self.queue.is_none()
    }

    /// Nothing will be written any more.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Throws away what waits; the caller drops it where that does no harm.
    #[must_use]
    pub(crate) fn clear(&mut self) -> Option<Box<Queue>> {
        self.queue.take()
    }

    pub(crate) fn frames_mut(&mut self) -> &mut SendQueue {
        &mut self.queue().frames
    }

    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.frames.len())
    }

    pub(crate) fn close_sent(&self) -> bool {
        self.close_sent
    }

    pub(crate) fn close_received(&self) -> bool {
        self.close_received
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        match (self.ended, self.close_sent || self.close_received) {
            (true, _) => State::Closed,
            (false, true) => State::Closing,
            (false, false) => State::Open,
        }
    }

    fn check_open(&self) -> Result<(), NotOpen> {
        if self.state() == State::Open {
            Ok(())
        } else {
            Err(NotOpen)
        }
    }

    #[inline]
    fn queue(&mut self) -> &mut Queue {
        self.queue.get_or_insert_default()
    }
}

/// Ten pings of full length at once are answered one by one, and some more.
const MAX_UNSENT_PONGS: u16 = 2 << 10;

/// A header, masked.
const PONG_OVERHEAD: u16 = 6;
