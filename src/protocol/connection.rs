//! One end of a connection, without I/O.

use std::{collections::VecDeque, mem, time::Instant};

use bytes::BytesMut;

use super::{
    below::MAX_BELOW,
    close::CloseFrame,
    decoder::{Decoded, Limits},
    deflate::{Context, Shape},
    encoder::Encoder,
    error::ProtocolError,
    expiry::{Deadline, Expiry, Outcome},
    facts::Facts,
    incoming::Incoming,
    message::Event,
    not_open::NotOpen,
    outbound::Outbound,
    outgoing::Outgoing,
    random::random,
    role::Role,
    send_queue::SendQueue,
    state::State,
    timers::Timers,
};
use crate::config::Config;

/// One end of a WebSocket connection, from the end of the opening handshake on.
///
/// It has four kinds of methods:
///
/// - what happened outside: [`receive`](Self::receive), [`receive_paused`](Self::receive_paused),
///   [`receive_eof`](Self::receive_eof), [`transmitted`](Self::transmitted),
///   [`handle_timeout`](Self::handle_timeout);
/// - what the application wants: [`send`](Self::send), [`ping`](Self::ping), [`pong`](Self::pong),
///   [`close`](Self::close);
/// - what the caller has to do: [`poll_event`](Self::poll_event),
///   [`poll_transmit`](Self::poll_transmit), [`poll_timeout`](Self::poll_timeout);
/// - what is known: [`state`](Self::state), [`error`](Self::error),
///   [`is_finished`](Self::is_finished), [`is_clean`](Self::is_clean).
///
/// After a method of the first two kinds, call those of the third until they return `None`. Once
/// [`is_finished`](Self::is_finished) returns `true` and everything is transmitted, end the stream: the
/// server closes first (RFC 6455 §7.1.1). The [module](super#both-ends-in-memory) shows both ends at work.
///
/// ```
/// use std::time::Instant;
/// use bytes::Buf;
/// use tower_websocket::{Config, Event, protocol::{Connection, Role}};
///
/// let now = Instant::now();
/// let mut server = Connection::new(Role::Server, Config::default(), now);
/// server.receive(b"\x89\x80\x00\x00\x00\x00", now);
/// assert_eq!(server.poll_event(), Some(Event::Ping("".into())));
/// let queue = server.poll_transmit().expect("a pong waits");
/// assert_eq!(queue.chunk(), b"\x8a\x00");
/// queue.advance(2);
/// server.transmitted(now);
/// ```
#[derive(Debug)]
pub struct Connection {
    config: Config,
    limits: Limits,
    incoming: Incoming,
    encoder: Encoder,
    /// How messages are compressed, where that is agreed on, and what they may refer to.
    deflate: Option<(Shape, Option<Context>)>,
    outgoing: Outgoing,
    timers: Timers,
    /// What was received and could not be decoded yet: the beginning of a header.
    undecoded: BytesMut,
    events: VecDeque<Event>,
    /// A ping was queued and has not left.
    ping_queued: bool,
    /// How much [`poll_transmit`](Self::poll_transmit) gave last.
    offered: usize,
    error: Option<ProtocolError>,
    finished: bool,
}

impl Connection {
    /// Makes the state of a connection that opens now.
    #[must_use]
    pub fn new(role: Role, config: Config, now: Instant) -> Self {
        Self {
            limits: Limits::whole_messages(&config),
            incoming: Incoming::new(role),
            encoder: Encoder::new(role, &config),
            deflate: None,
            outgoing: Outgoing::default(),
            timers: Timers::new(now, u64::from_ne_bytes(random()), &config),
            config,
            undecoded: BytesMut::new(),
            events: VecDeque::new(),
            ping_queued: false,
            offered: 0,
            error: None,
            finished: false,
        }
    }

    /// Takes bytes from the peer, in pieces of any size.
    ///
    /// Pings and Closes are answered, and errors fail the connection. Then take the events, and transmit.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        if self.finished || bytes.is_empty() {
            return;
        }
        self.timers.heard();
        self.incoming.count(bytes.len());
        let mut input = mem::take(&mut self.undecoded);
        input.extend_from_slice(bytes);
        while !self.finished {
            match self.decode(&mut input, now) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.fail(error.close_frame());
                    self.error = Some(error);
                }
            }
        }
        if self.finished {
            return;
        }
        let frame = self.incoming.frame_in_progress(input.len());
        let frame = frame.filter(|_| !self.outgoing.close_sent());
        self.timers.watch_frame(frame, || now, &self.config);
        self.undecoded = input;
    }

    /// Records that reading stops for a while, as the application cannot keep up.
    ///
    /// Until the next [`receive`](Self::receive) neither the peer's silence nor an unfinished frame
    /// is held against it.
    pub fn receive_paused(&mut self, now: Instant) {
        self.timers.paused();
        self.timers.watch_frame(None, || now, &self.config);
    }

    /// Records that the peer has ended the stream; take the remaining events, and end the stream too.
    pub fn receive_eof(&mut self) {
        self.finished = true;
        self.outgoing.end();
        self.timers.ended();
    }

    /// Records that what [`poll_transmit`](Self::poll_transmit) returned was written as far as possible.
    ///
    /// Call it even if nothing was written: [`Config::write_timeout`] runs from then on.
    pub fn transmitted(&mut self, now: Instant) {
        let queued = self.outgoing.queued();
        let left = self.offered.saturating_sub(queued);
        let _much = self.timers.written(left, || now);
        self.offered = queued;
        if queued > 0 {
            if left > 0 || !self.timers.is_write_waiting() {
                self.timers.write_waits(now, MAX_BELOW, &self.config);
            }
            return;
        }
        self.timers.write_done();
        // Nothing is sent piece by piece here, so nothing waits behind such a message.
        if let Some(mut queue) = self.outgoing.clear() {
            self.outgoing.written(&self.encoder, &mut queue);
            self.outgoing.adopt(Some(queue));
        }
        if mem::take(&mut self.ping_queued) && self.state() == State::Open {
            self.timers.ping_written(now, &self.config);
        }
        if self.state() == State::Closing && !self.timers.is_closing() {
            self.timers.closing(now, self.config.close_timeout);
        }
    }

    /// Handles the deadlines that have passed; it may be called at any time.
    ///
    /// Transmit afterwards: it sends pings and starts the closing handshake by itself. It returns the deadline that
    /// passed last, which is never that of a ping. After [`Deadline::Write`] or [`Deadline::Close`] the connection is
    /// closed and its queue is dropped: end the stream at once.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Deadline> {
        let mut last = None;
        while let Some(expiry) = self.timers.expired(now, self.facts(), &self.config) {
            let Expiry::Passed(deadline) = expiry else {
                self.time_to_ping();
                continue;
            };
            last = Some(deadline);
            match deadline.outcome() {
                Outcome::Close(frame) => {
                    let _closing_already = self.close(frame);
                }
                Outcome::Fail(frame) => self.fail(frame),
                Outcome::GiveUp => self.abort(),
            }
        }
        last
    }

    /// Queues a message, which the caller has to transmit then.
    ///
    /// # Errors
    ///
    /// [`NotOpen`] once the closing handshake has begun on either side. The message is dropped.
    pub fn send(&mut self, message: impl Into<Outbound>) -> Result<(), NotOpen> {
        let outbound = message.into();
        if self.state() != State::Open {
            return Err(NotOpen);
        }
        if self.deflate.is_none() && !outbound.is_prepared() {
            // The short way.
            let message = outbound.into_message();
            drop(self.outgoing.message(&self.encoder, message));
            return Ok(());
        }
        let settings = self.config.compression.as_ref();
        let compress = settings.is_some_and(|settings| outbound.compresses(settings));
        let (shape, context) = match self.deflate.as_mut().filter(|_| compress) {
            Some((shape, context)) => (Some(*shape), context.as_mut()),
            None => (None, None),
        };
        let budget = &self.config.memory_budget;
        let mut encoded = outbound.encode(&self.encoder, shape, context, budget);
        drop(encoded.queue(&mut self.outgoing, &self.encoder));
        Ok(())
    }

    /// Queues a ping; a payload longer than 125 bytes is truncated.
    ///
    /// # Errors
    ///
    /// [`NotOpen`] once the closing handshake has begun on either side.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), NotOpen> {
        self.outgoing.ping(&self.encoder, payload)
    }

    /// Queues a pong; a payload longer than 125 bytes is truncated.
    ///
    /// # Errors
    ///
    /// [`NotOpen`] once the closing handshake has begun on either side.
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), NotOpen> {
        self.outgoing.pong(&self.encoder, payload)
    }

    /// Starts the closing handshake; only the first Close counts.
    ///
    /// # Errors
    ///
    /// [`NotOpen`] once the closing handshake has begun on either side.
    pub fn close(&mut self, frame: impl Into<CloseFrame>) -> Result<(), NotOpen> {
        self.close_with(Some(&frame.into()))
    }

    /// Starts the closing handshake with an empty Close frame (RFC 6455 §5.5.1); only the first Close counts.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub fn close_without_code(&mut self) -> Result<(), NotOpen> {
        self.close_with(None)
    }

    fn close_with(&mut self, frame: Option<&CloseFrame>) -> Result<(), NotOpen> {
        self.timers.stop_open();
        self.outgoing.close(&self.encoder, frame)
    }

    /// Returns the next event: a message or a control frame of the peer.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns what is to be written; `None` if there is nothing.
    ///
    /// Take what can be written from it, and call [`transmitted`](Self::transmitted) afterwards.
    pub fn poll_transmit(&mut self) -> Option<&mut SendQueue> {
        self.offered = self.outgoing.queued();
        (self.offered > 0).then(|| self.outgoing.frames_mut())
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout); `None` if no deadline runs.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Returns the state of the connection.
    #[must_use]
    pub fn state(&self) -> State {
        self.outgoing.state()
    }

    /// Returns the rule or limit that the peer broke, if that failed the connection.
    #[must_use]
    pub fn error(&self) -> Option<&ProtocolError> {
        self.error.as_ref()
    }

    /// Reports whether nothing more is received: write what is queued, then end the stream.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Reports whether the closing handshake is complete: a Close came, and ours is queued or written (§7.1.4).
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.outgoing.close_sent() && self.outgoing.close_received()
    }

    /// Reports whether so much waits to be written that no further message should.
    #[cfg(feature = "blocking")]
    pub(crate) fn is_full(&self) -> bool {
        self.outgoing.is_full(&self.config)
    }

    #[cfg(feature = "deflate")]
    pub(super) fn set_deflate(&mut self, params: super::DeflateParams) {
        self.incoming.set_deflate(params);
        let role = if self.encoder.masks() {
            Role::Client
        } else {
            Role::Server
        };
        self.deflate = self.config.compression.as_ref().map(|settings| {
            let direction = params.direction(role);
            let context = direction
                .context_takeover
                .then(|| Context::new(direction, settings));
            (Shape::new(direction, settings), context)
        });
    }

    /// Decodes one event; reports whether there was one.
    fn decode(&mut self, input: &mut BytesMut, now: Instant) -> Result<bool, ProtocolError> {
        let (mut unlimited, closing) = (usize::MAX, self.outgoing.close_sent());
        let decoded = self
            .incoming
            .decode(&self.limits, input, &mut unlimited, closing)?;
        let event = match decoded {
            None => return Ok(false),
            Some(Decoded::Event(event)) => event,
            Some(Decoded::Piece(_)) => unreachable!("the limits are those of whole messages"),
        };
        match &event {
            Event::Message(_) => {}
            Event::Close(frame) => {
                self.finished = true;
                self.timers.stop_open();
                self.outgoing.receive_close(&self.encoder, frame.as_ref());
            }
            Event::Ping(_) | Event::Pong(_) => self.incoming.control(
                &event,
                &mut self.outgoing,
                &mut self.timers,
                now,
                &self.encoder,
                &self.config,
            )?,
        }
        self.events.push_back(event);
        Ok(true)
    }

    /// Sends the ping that is due.
    fn time_to_ping(&mut self) {
        self.ping_queued |= self.ping(&random::<8>()).is_ok();
        if let Some((_, Some(context))) = &mut self.deflate {
            context.release_if_unused();
        }
    }

    /// Fails the connection (RFC 6455 §7.1.7).
    fn fail(&mut self, frame: CloseFrame) {
        let _closing_already = self.close(frame);
        self.finished = true;
    }

    /// Gives up: nothing is received or sent any more.
    fn abort(&mut self) {
        self.receive_eof();
        self.timers.stop_all();
        drop(self.outgoing.clear());
    }

    /// Returns messages and bytes received, and messages and bytes sent.
    #[cfg(all(test, feature = "deflate", feature = "layer", not(shuttle)))]
    pub(crate) fn traffic(&self) -> [u64; 4] {
        let (incoming, outgoing) = (&self.incoming, &self.outgoing);
        let received = (incoming.messages(), incoming.bytes());
        [received.0, received.1, outgoing.messages, outgoing.bytes]
    }

    fn facts(&self) -> Facts {
        let undecoded = self.undecoded.len();
        self.incoming.facts(&self.outgoing, &self.limits, undecoded)
    }
}

#[cfg(test)]
mod tests;
