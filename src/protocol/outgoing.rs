//! The half of a connection that sends: queue, pongs, and the closing handshake.

use bytes::Bytes;

use super::{CloseFrame, Encoder, Event, Message, Role, SendQueue, State};
use crate::Config;

/// Everything that decides what leaves, and in which order.
///
/// The facts of the closing handshake are kept here and nowhere else; [`State`] is computed.
#[derive(Debug)]
pub(crate) struct Outgoing {
    queue: SendQueue,
    encoder: Encoder,
    /// The newest ping's payload, while the pongs before it have not left.
    latest_ping: Option<Box<[u8]>>,
    /// The bytes of pongs in the queue.
    unsent_pongs: u16,
    close_sent: bool,
    close_received: bool,
    /// The transport is gone, or nothing will be written to it any more.
    ended: bool,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// The connection takes no more messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NotOpen;

impl Outgoing {
    pub(crate) fn new(role: Role, config: &Config) -> Self {
        Self {
            queue: SendQueue::new(),
            encoder: Encoder::new(role, config),
            latest_ping: None,
            unsent_pongs: 0,
            close_sent: false,
            close_received: false,
            ended: false,
            messages: 0,
            bytes: 0,
        }
    }

    /// Queues a message.
    #[inline]
    pub(crate) fn message(&mut self, message: Message) -> Result<(), NotOpen> {
        self.check_open()?;
        self.messages += 1;
        self.bytes += message.len() as u64;
        self.encoder.message(message, &mut self.queue);
        Ok(())
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self, payload: &[u8]) -> Result<(), NotOpen> {
        self.check_open()?;
        self.encoder.ping(payload, &mut self.queue);
        Ok(())
    }

    /// Queues a pong that answers nothing, or a ping the application saw.
    pub(crate) fn pong(&mut self, payload: &[u8]) -> Result<(), NotOpen> {
        self.check_open()?;
        self.encoder.pong(payload, &mut self.queue);
        Ok(())
    }

    /// Starts the closing handshake (RFC 6455 §7.1.2).
    pub(crate) fn close(&mut self, frame: Option<&CloseFrame>) -> Result<(), NotOpen> {
        self.check_open()?;
        self.close_sent = true;
        self.encoder.close(frame, &mut self.queue);
        Ok(())
    }

    /// Does what a received event asks for: a pong, or the answer to a Close.
    pub(crate) fn receive(&mut self, event: &Event, auto_pong: bool) {
        match event {
            Event::Ping(payload) if auto_pong => self.answer_ping(payload),
            Event::Close(frame) => {
                // §5.5.1: the same code goes back, and nothing more after it.
                let _already_closing = self.close(frame.as_ref());
                self.close_received = true;
            }
            _ => {}
        }
    }

    /// Pongs leave in the order of their pings while they are few; then only the newest is
    /// answered, as §5.5.3 allows.
    fn answer_ping(&mut self, payload: &Bytes) {
        let len = payload.len() as u16 + PONG_OVERHEAD;
        if self.unsent_pongs + len > MAX_UNSENT_PONGS {
            self.latest_ping = Some(payload[..].into());
        } else if self.pong(payload).is_ok() {
            self.unsent_pongs += len;
        }
    }

    /// Everything queued has been written; the newest unanswered ping may be answered now.
    pub(crate) fn drained(&mut self) {
        self.unsent_pongs = 0;
        if let Some(payload) = self.latest_ping.take() {
            self.answer_ping(&payload.into());
        }
    }

    /// Nothing will be written any more.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.latest_ping = None;
    }

    pub(crate) fn queue_mut(&mut self) -> &mut SendQueue {
        &mut self.queue
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn close_sent(&self) -> bool {
        self.close_sent
    }

    pub(crate) fn close_received(&self) -> bool {
        self.close_received
    }

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
}

/// Ten pings of full length at once are answered one by one, and some more.
const MAX_UNSENT_PONGS: u16 = 2 << 10;

/// A header, masked.
const PONG_OVERHEAD: u16 = 6;
