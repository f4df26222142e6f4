//! What a call does while it waits: reads, decodes, writes and keeps time.

use std::{
    io::{self, IoSlice, Read, Write},
    mem,
    time::{Duration, Instant},
};

use bytes::Buf;

use super::{READ, WebSocket};
use crate::{
    blocking::error::blocks,
    error::Error,
    protocol::{Role, State, message::Event},
};

impl<S: Read + Write> WebSocket<S> {
    /// Returns the next event, whatever it takes.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.connection.poll_event() {
                if let Event::Close(frame) = &event {
                    self.received_close = Some(frame.clone());
                }
                return Ok(Some(event));
            }
            if self.ended {
                return self.outcome();
            }
            if self.connection.is_finished() {
                self.end()?;
            } else if self.unread.is_empty() {
                self.wait()?;
            } else {
                self.decode();
                // A pong that cannot leave now leaves later: the stream's timeout passes once for all that was read.
                if !self.stalled {
                    self.try_to_write();
                }
            }
        }
    }

    /// Decodes what was read of one frame: one message comes of it at most, and the application answers that
    /// before what is wrong behind it is found.
    fn decode(&mut self) {
        let bytes = &self.buffer[self.unread.clone()];
        let len = self.frame.advance(bytes);
        self.connection.receive(&bytes[..len], Instant::now());
        self.unread.start += len;
    }

    /// Writes what waits, keeps the deadlines and reads.
    fn wait(&mut self) -> Result<(), Error> {
        self.stalled = false;
        self.try_to_write();
        self.keep_time();
        // What a deadline has to say leaves before anything is waited for.
        self.try_to_write();
        if self.connection.is_finished() {
            return Ok(());
        }
        match self.read() {
            Ok(0) => {
                self.eof = true;
                self.connection.receive_eof();
            }
            Ok(len) => self.unread = 0..len,
            Err(error) if blocks(&error) => {
                self.keep_time();
                self.try_to_write();
                if !self.connection.is_finished() {
                    return Err(Error::Io(error));
                }
            }
            Err(error) => {
                self.eof = true;
                self.failure.get_or_insert(error);
                self.connection.receive_eof();
            }
        }
        Ok(())
    }

    /// Ends a connection on which nothing more is received: what is queued leaves, then the peer ends the
    /// stream.
    fn end(&mut self) -> Result<(), Error> {
        if !self.broken
            && let Err(error) = self.write()
        {
            let is_given_up = self.eof || self.connection.state() == State::Closed;
            if blocks(&error) && !is_given_up {
                self.keep_time();
                return Err(Error::Io(error));
            }
            self.fail(error);
        }
        // A server closes first, once it has the peer's Close, and a client waits for that (RFC 6455 §7.1.1).
        // What is unread when a TCP stream is dropped resets it, and the peer may never see the Close frame.
        while self.role == Role::Server && !self.frame.was_last() && !self.unread.is_empty() {
            let bytes = &self.buffer[self.unread.clone()];
            self.unread.start += self.frame.advance(bytes);
        }
        let has_closed = self.role == Role::Server && self.frame.was_last();
        if has_closed || self.eof || self.broken || self.connection.state() == State::Closed {
            self.ended = true;
            return Ok(());
        }
        let now = Instant::now();
        let until = *self
            .draining
            .get_or_insert_with(|| now + self.linger.min(LONGEST));
        match self.read() {
            Ok(len @ 1..) if now < until => self.unread = 0..len,
            // Dropped with more on its way, the stream would be reset.
            Err(error) if blocks(&error) && now < until && !self.connection.is_clean() => {
                return Err(Error::Io(error));
            }
            _ => self.ended = true,
        }
        Ok(())
    }

    /// Says how the connection ended, once.
    fn outcome(&mut self) -> Result<Option<Event>, Error> {
        if mem::replace(&mut self.told, true) {
            return Ok(None);
        }
        if let Some(error) = self.connection.error() {
            return Err(Error::Protocol(error.clone()));
        }
        if let Some(deadline) = self.deadline {
            return Err(Error::Timeout(deadline));
        }
        if self.connection.is_clean() {
            return Ok(None);
        }
        let failure = self.failure.take();
        Err(Error::Io(
            failure.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()),
        ))
    }

    fn read(&mut self) -> io::Result<usize> {
        loop {
            match self.stream.read(&mut self.buffer[..READ]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Writes what was just queued. What the stream does not take now leaves later.
    pub(super) fn write_queued(&mut self) -> Result<(), Error> {
        match self.write() {
            Ok(()) => Ok(()),
            Err(error) if blocks(&error) => {
                self.keep_time();
                Ok(())
            }
            Err(error) => Err(self.not_written(error)),
        }
    }

    /// Writes what is queued, while something else is waited for: how that fails is said at the end.
    fn try_to_write(&mut self) {
        if self.broken {
            return;
        }
        match self.write() {
            Ok(()) => {}
            Err(error) if blocks(&error) => {
                self.stalled = true;
                self.keep_time();
            }
            Err(error) => self.fail(error),
        }
    }

    pub(super) fn write(&mut self) -> io::Result<()> {
        while let Some(queue) = self.connection.poll_transmit() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = queue.chunks_vectored(&mut slices);
            let written = match self.stream.write_vectored(&slices[..count]) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                written => written,
            };
            if let Ok(len) = written {
                // A stream that claims to have written more than it was given is not believed.
                queue.advance(len.min(queue.len()));
                self.unflushed = true;
            }
            self.connection.transmitted(Instant::now());
            // A peer that takes a byte now and then keeps us here.
            self.keep_time();
            written?;
        }
        if self.unflushed {
            self.stream.flush()?;
            self.unflushed = false;
        }
        Ok(())
    }

    pub(super) fn not_written(&mut self, error: io::Error) -> Error {
        if blocks(&error) {
            self.keep_time();
        } else {
            self.broken = true;
        }
        Error::Io(error)
    }

    /// Nothing can be written any more; what the peer has sent before may still be there.
    fn fail(&mut self, error: io::Error) {
        self.broken = true;
        self.failure.get_or_insert(error);
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.connection.poll_timeout().is_some_and(|at| at <= now)
            && let Some(deadline) = self.connection.handle_timeout(now)
        {
            self.deadline.get_or_insert(deadline);
        }
    }
}

/// How many pieces are written at once.
const SLICES: usize = 16;

/// The longest time that an instant can be ahead.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
