//! Compressing what is sent (RFC 7692 §7.2.1).

use std::{cell::Cell, mem, ops::Deref};

use super::{
    engine::{Compressor, compressor_size},
    history::History,
    params::{Direction, Shape},
};
use crate::{
    compression::{
        Compression,
        budget::{Budget, Reservation},
    },
    pool,
};

/// Compresses a whole message that stands by itself; `None` where that does not make it shorter.
pub(crate) fn deflate(shape: Shape, payload: &[u8]) -> Option<Output> {
    let mut deflater = Deflater::start(shape, None);
    let mut output = Output::take();
    deflater.finish(payload, &mut output.0);
    deflater.end(None);
    (output.len() < payload.len()).then_some(output)
}

/// A message that is being compressed.
#[derive(Debug)]
pub(crate) struct Deflater {
    compressor: Compressor,
    /// Counts the compressor as the connection's own.
    own: Option<Reservation>,
    /// What a later message may refer to, with context takeover: the end of what was written.
    recent: Option<History>,
}

impl Deflater {
    /// Starts a message, behind those that `context` remembers.
    pub(crate) fn start(shape: Shape, context: Option<&mut Context>) -> Self {
        let Some(context) = context else {
            let mut compressor = Compressor::take(shape);
            compressor.restart(&[]);
            return Self {
                compressor,
                own: None,
                recent: None,
            };
        };
        let (compressor, own) = context.take_compressor(shape);
        Self {
            compressor,
            own,
            recent: Some(History::new(1 << shape.window_bits)),
        }
    }

    /// Compresses more of the message; what comes of it may come later.
    pub(crate) fn write(&mut self, payload: &[u8], output: &mut Vec<u8>) {
        self.remember(payload);
        self.compressor.compress(payload, output, false);
    }

    /// Sees to it that the peer can read all that was written.
    pub(crate) fn flush(&mut self, output: &mut Vec<u8>) {
        self.compressor.compress(&[], output, true);
    }

    /// Compresses the rest of the message.
    pub(crate) fn finish(&mut self, payload: &[u8], output: &mut Vec<u8>) {
        #[cfg(test)]
        FINISHED.set(FINISHED.get() + 1);
        self.remember(payload);
        let start = output.len();
        self.compressor.compress(payload, output, true);
        if output[start..].ends_with(&TAIL) {
            output.truncate(output.len() - TAIL.len());
        } else {
            // Everything left with the last flush: an empty block, its tail removed.
            output.push(0);
        }
    }

    fn remember(&mut self, payload: &[u8]) {
        if let Some(recent) = &mut self.recent {
            recent.push(payload);
        }
    }

    /// Gives the compressor back once the message is finished.
    pub(crate) fn end(self, context: Option<&mut Context>) {
        let Some(context) = context else {
            return self.compressor.put_back();
        };
        if let Some(recent) = &self.recent {
            context.history.push(recent.as_slice());
        }
        context.keep_compressor(self.compressor, self.own);
    }
}

/// What a connection with context takeover remembers of what it has sent.
#[derive(Debug)]
pub(crate) struct Context {
    history: History,
    /// A compressor that has just compressed what `history` ends with.
    own: Option<Own>,
    /// Something was compressed since [`release_if_unused`](Self::release_if_unused).
    used: bool,
    budget: Budget,
}

#[derive(Debug)]
struct Own {
    compressor: Compressor,
    reservation: Reservation,
}

impl Context {
    pub(crate) fn new(direction: Direction, settings: &Compression) -> Self {
        Self {
            history: History::new(direction.window()),
            own: None,
            used: false,
            budget: settings.budget.clone(),
        }
    }

    /// Compresses a whole message; `None` where that does not make it shorter, and it has to be sent
    /// as it is.
    pub(crate) fn deflate(&mut self, shape: Shape, payload: &[u8]) -> Option<Output> {
        let (compressor, own) = self.take_compressor(shape);
        let mut deflater = Deflater {
            compressor,
            own,
            recent: None,
        };
        let mut output = Output::take();
        deflater.finish(payload, &mut output.0);
        if output.len() >= payload.len() {
            // The peer will not know of it, and a compressor of the connection's own would.
            deflater.compressor.put_back();
            return None;
        }
        self.history.push(payload);
        self.keep_compressor(deflater.compressor, deflater.own);
        Some(output)
    }

    /// Takes note of a message that was sent compressed, but by itself: the peer remembers it.
    pub(crate) fn sent_alone(&mut self, payload: &[u8]) {
        self.history.push(payload);
        self.own = None;
    }

    /// Gives the connection's own compressor up, unless it was used since the last time.
    pub(crate) fn release_if_unused(&mut self) {
        if !mem::take(&mut self.used) {
            self.own = None;
        }
    }

    fn take_compressor(&mut self, shape: Shape) -> (Compressor, Option<Reservation>) {
        self.used = true;
        if let Some(own) = self.own.take() {
            return (own.compressor, Some(own.reservation));
        }
        let mut compressor = Compressor::take(shape);
        compressor.restart(self.history.as_slice());
        let own = if self.history.as_slice().len() > OWN_FROM {
            self.budget.reserve_luxury(compressor_size(shape))
        } else {
            None
        };
        (compressor, own)
    }

    fn keep_compressor(&mut self, compressor: Compressor, own: Option<Reservation>) {
        match own {
            Some(reservation) => {
                self.own = Some(Own {
                    compressor,
                    reservation,
                });
            }
            None => compressor.put_back(),
        }
    }
}

/// Compressed bytes, in a buffer of the thread, which gets it back.
#[derive(Debug)]
pub(crate) struct Output(Vec<u8>);

impl Output {
    fn take() -> Self {
        Self(pool::take(&OUTPUT))
    }
}

impl Deref for Output {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let mut buffer = mem::take(&mut self.0);
        if buffer.capacity() <= MAX_OUTPUT {
            buffer.clear();
            pool::put_back(&OUTPUT, buffer);
        }
    }
}

thread_local! {
    static OUTPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

#[cfg(test)]
thread_local! {
    /// How many messages were compressed by this thread.
    pub(super) static FINISHED: Cell<usize> = const { Cell::new(0) };
}

/// What a sender removes from the end of a message (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// From here on it takes longer to tell the thread's compressor what was sent before than it does to
/// compress a short message.
const OWN_FROM: usize = 8 << 10;

/// A larger buffer goes back to the allocator.
const MAX_OUTPUT: usize = 64 << 10;
