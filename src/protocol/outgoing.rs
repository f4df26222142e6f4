//! The half of a connection that sends: queue, pongs, and the closing handshake.

mod prepared;

use std::mem;

use bytes::Bytes;

use super::{
    close::CloseFrame,
    encoder::{self, Encoder, FrameStart},
    message::{Message, MessageKind},
    not_open::NotOpen,
    outbound::Outbound,
    pongs::Pongs,
    send_queue::SendQueue,
    state::State,
};
use crate::{config::Config, memory::Held};

/// Everything that decides what leaves, and in which order.
///
/// The facts of the closing handshake are kept here and nowhere else; [`State`] is computed. Small,
/// because every idle connection has one: the encoder comes with each call, and the queue is there
/// only while something waits.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    queue: Option<Box<Unsent>>,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Pings of ours that no pong has answered.
    unanswered: u32,
    close_sent: bool,
    close_received: bool,
    /// The transport is gone, or nothing will be written to it any more.
    ended: bool,
    /// A message is being sent piece by piece: others wait behind it.
    streaming: bool,
}

/// What waits to be written, and which pongs are among it.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    pub(crate) frames: SendQueue,
    /// The messages that may only follow the one that is being sent piece by piece.
    behind: Option<Box<Behind>>,
    /// The messages in `frames`, and those of them that have left since it was last empty.
    messages: usize,
    pongs: Pongs,
}

/// Messages that wait for another one to end.
#[derive(Debug, Default)]
struct Behind {
    frames: SendQueue,
    messages: usize,
}

impl Unsent {
    /// Reports whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.behind.is_none()
    }

    fn held(&self) -> Held {
        let frames = self.frames.held();
        let behind = self.behind.as_ref();
        let behind = behind.map_or_else(Held::default, |behind| behind.frames.held());
        Held {
            own: frames.own + behind.own,
            weight: frames.weight + behind.weight,
        }
    }

    fn behind_len(&self) -> usize {
        self.behind.as_ref().map_or(0, |behind| behind.frames.len())
    }

    fn messages(&self) -> usize {
        let behind = self.behind.as_ref().map_or(0, |behind| behind.messages);
        self.messages + behind
    }
}

impl Outgoing {
    /// Queues a message; gives back what was copied of it, to be dropped elsewhere.
    #[inline]
    pub(crate) fn message(
        &mut self,
        encoder: &Encoder,
        message: Message,
    ) -> Result<Option<Bytes>, NotOpen> {
        let len = message.len();
        let queue = self.next_message(len)?;
        Ok(encoder.message_back(message, queue))
    }

    /// Queues what is to be sent, as it is. Gives what was copied of it, to be dropped elsewhere, with what is
    /// left in `outbound`. `None` where it may have been encoded before, and where the connection is not open: then
    /// nothing has changed.
    #[inline]
    pub(crate) fn outbound(
        &mut self,
        encoder: &Encoder,
        outbound: &mut Outbound,
    ) -> Option<Option<Bytes>> {
        if outbound.is_prepared() {
            return None;
        }
        let len = outbound.len();
        let queue = self.next_message(len).ok()?;
        if encoder.is_short(len) {
            encoder::short(outbound.kind(), outbound.as_bytes(), queue);
            return Some(None);
        }
        Some(encoder.message_back(outbound.take_message(), queue))
    }

    /// Queues a message of `len` bytes whose compressed form is `payload`.
    pub(crate) fn compressed(
        &mut self,
        encoder: &Encoder,
        kind: MessageKind,
        len: usize,
        payload: &[u8],
    ) -> Result<(), NotOpen> {
        let queue = self.next_message(len)?;
        encoder.compressed(kind, payload, queue);
        Ok(())
    }

    /// Where the next message of `len` bytes goes.
    #[inline(always)]
    fn next_message(&mut self, len: usize) -> Result<&mut SendQueue, NotOpen> {
        self.check_open()?;
        self.messages += 1;
        self.bytes += len as u64;
        let streaming = self.streaming;
        let queue = self.queue();
        Ok(if streaming {
            let behind = queue.behind.get_or_insert_default();
            behind.messages += 1;
            &mut behind.frames
        } else {
            queue.messages += 1;
            &mut queue.frames
        })
    }

    /// Starts a message that is sent piece by piece; other messages wait until it has ended.
    pub(crate) fn begin_stream(&mut self) -> Result<(), NotOpen> {
        self.check_open()?;
        self.streaming = true;
        Ok(())
    }

    pub(crate) fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Queues a piece of the message that is sent piece by piece, of which `len` bytes of payload
    /// became `payload`. Gives back what was copied.
    pub(crate) fn piece(
        &mut self,
        encoder: &Encoder,
        fin: bool,
        first: FrameStart,
        len: usize,
        payload: Bytes,
    ) -> Result<Option<Bytes>, NotOpen> {
        self.check_open()?;
        self.bytes += len as u64;
        self.messages += u64::from(fin);
        Ok(encoder.frame(fin, first, payload, &mut self.queue().frames))
    }

    /// The message that was sent piece by piece has ended: those behind it follow, unless a Close
    /// came before. Then they stay where they are, so that nobody takes them for sent.
    pub(crate) fn end_stream(&mut self) {
        self.streaming = false;
        if self.state() == State::Open
            && let Some(queue) = &mut self.queue
            && let Some(behind) = queue.behind.take()
        {
            queue.frames.append(behind.frames);
            queue.messages += behind.messages;
        }
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self, encoder: &Encoder, payload: &[u8]) -> Result<(), NotOpen> {
        self.check_open()?;
        self.unanswered = self.unanswered.saturating_add(1);
        encoder.ping(payload, &mut self.queue().frames);
        Ok(())
    }

    /// Takes a pong into account; reports whether it may answer a ping of ours, of which each has
    /// one.
    pub(crate) fn take_answer(&mut self) -> bool {
        let asked = self.unanswered > 0;
        self.unanswered -= u32::from(asked);
        asked
    }

    /// Reports whether every ping of ours has been answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.unanswered == 0
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

    /// Answers the peer's Close, unless ours was sent before.
    pub(crate) fn receive_close(&mut self, encoder: &Encoder, frame: Option<&CloseFrame>) {
        // §5.5.1: the same code goes back, and nothing more after it.
        let _already_closing = self.close(encoder, frame);
        self.close_received = true;
    }

    /// Answers a ping. After our own Close that goes on, until the peer's (§5.5.2).
    pub(crate) fn receive_ping(&mut self, encoder: &Encoder, payload: &[u8]) {
        if self.ended || self.close_received {
            return;
        }
        let queue = self.queue();
        queue.pongs.answer(encoder, payload, &mut queue.frames);
    }

    /// Takes the queue to write it, where something is in it.
    ///
    /// What may only follow a message in progress stays.
    pub(crate) fn take_queue(&mut self) -> Option<Box<Unsent>> {
        let mut taken = self.queue.take_if(|queue| !queue.frames.is_empty())?;
        if let Some(behind) = taken.behind.take() {
            self.queue().behind = Some(behind);
        }
        Some(taken)
    }

    /// Notes that all of `queue` was written; the newest unanswered ping is answered now.
    pub(crate) fn written(&mut self, encoder: &Encoder, queue: &mut Unsent) {
        queue.messages = 0;
        if let Some(payload) = queue.pongs.written() {
            self.receive_ping(encoder, &payload);
        }
    }

    /// Puts what could not be written in front of what was queued meanwhile; `left` bytes of it did
    /// leave. If those were the last pong, the newest unanswered ping is answered now.
    pub(crate) fn put_back(&mut self, encoder: &Encoder, mut rest: Box<Unsent>, left: usize) {
        let (len, mut newer_pongs) = (rest.frames.len(), Pongs::default());
        if let Some(newer) = self.queue.take() {
            rest.frames.append(newer.frames);
            rest.behind = newer.behind;
            rest.messages += newer.messages;
            newer_pongs = newer.pongs;
        }
        let ping = rest.pongs.put_back(left, len, newer_pongs);
        self.queue = Some(rest);
        if let Some(payload) = ping {
            self.receive_ping(encoder, &payload);
        }
    }

    /// Puts what somebody else has queued for this connection in front, and counts it.
    pub(crate) fn take_over(&mut self, encoder: &Encoder, other: &mut Self) {
        self.count_sent(other);
        if let Some(queue) = other.take_queue() {
            self.put_back(encoder, queue, 0);
        }
    }

    /// Counts what somebody else has sent over this connection.
    #[inline]
    pub(crate) fn count_sent(&mut self, other: &mut Self) {
        self.messages += mem::take(&mut other.messages);
        self.bytes += mem::take(&mut other.bytes);
    }

    /// Reports whether nothing waits and nothing is counted.
    pub(crate) fn is_unused(&self) -> bool {
        let empty = self.queue.as_ref().is_none_or(|queue| queue.is_empty());
        empty && (self.messages, self.bytes) == (0, 0)
    }

    /// Takes an empty queue to use, where it has none.
    pub(crate) fn adopt(&mut self, spare: Option<Box<Unsent>>) {
        if self.queue.is_none() {
            self.queue = spare;
        }
    }

    /// Reports whether queueing would have to allocate.
    pub(crate) fn needs_queue(&self) -> bool {
        self.queue.is_none()
    }

    /// Nothing will be written any more.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Throws away what waits; the caller drops it where that does no harm.
    #[must_use]
    pub(crate) fn clear(&mut self) -> Option<Box<Unsent>> {
        self.queue.take()
    }

    pub(crate) fn frames_mut(&mut self) -> &mut SendQueue {
        &mut self.queue().frames
    }

    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.frames.len())
    }

    /// What waits to be written, and how much of it would be free if the queue were dropped.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions ask"))]
    pub(crate) fn held(&self) -> Held {
        self.queue
            .as_ref()
            .map_or_else(Held::default, |queue| queue.held())
    }

    /// The bytes that are queued behind a message in progress.
    pub(crate) fn queued_behind(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.behind_len())
    }

    /// The messages that wait to be written.
    pub(crate) fn queued_messages(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.messages())
    }

    /// Reports whether so much waits that no further message should.
    #[inline]
    pub(crate) fn is_full(&self, config: &Config) -> bool {
        let Some(queue) = &self.queue else {
            return false;
        };
        queue.frames.len() + queue.behind_len() > config.max_send_queue
            || config
                .max_send_messages
                .is_some_and(|most| queue.messages() >= most)
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
    fn queue(&mut self) -> &mut Unsent {
        self.queue.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests;
