//! What one turn of a session may use up, and what one round of it knows.

use std::mem;

use crate::{
    memory::Held,
    session::{
        loan::{Lends, Loan},
        shared::{inbox::Inbox, locked::Locked},
        transport::Transport,
    },
};

/// What lasts as long as one turn of a session.
#[derive(Default)]
pub(crate) struct Turn {
    pub(super) line: Line,
    /// The thread's buffer, and what the handler has sent; not there before it is needed, and while
    /// the handler has it.
    pub(super) loan: Option<Box<Loan>>,
    /// What the handler is lent when it is polled in this round.
    pub(super) lends: Lends,
    /// There may be messages in the buffer that the handler was not given.
    pub(super) undecoded: bool,
    /// What waited for the application and for the transport when the turn ended.
    pub(super) left: Held,
}

impl Turn {
    #[inline]
    pub(super) fn loan(&mut self) -> &mut Loan {
        self.loan.get_or_insert_with(Loan::take)
    }

    /// Forgets what was read and not decoded.
    pub(super) fn forget_undecoded(&mut self) {
        if mem::take(&mut self.undecoded) {
            self.loan().buffer.clear();
        }
    }

    /// Gives the buffer back to the thread.
    #[inline]
    pub(super) fn end(&mut self) {
        if let Some(loan) = self.loan.take() {
            debug_assert!(
                loan.sent.is_unused(),
                "it is written, or with what is shared"
            );
            loan.put_back();
        }
    }
}

/// Where a turn reads and writes, and how much of it.
#[derive(Default)]
pub(super) struct Line {
    /// The transport, from the first round of the turn to its end; before and after it lies with what is
    /// shared.
    ///
    /// `None` once it is gone.
    pub(super) transport: Option<Transport>,
    pub(super) budget: Budget,
}

impl Line {
    /// Reports whether the transport is one of many streams on its connection.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.transport
            .as_ref()
            .is_some_and(Transport::is_multiplexed)
    }
}

/// What one turn of a session may read, decompress and write before others get theirs.
///
/// Every loop of a turn spends some of it each time round, whatever the state of the transport, and
/// ends when it is spent.
#[derive(Debug)]
pub(super) struct Budget {
    messages: usize,
    bytes: usize,
    /// What may come out of the decompressor, in bytes.
    pub(super) inflated: usize,
    /// How often the handler may be given more of what was read.
    helpings: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            messages: TURN_MESSAGES,
            bytes: TURN_BYTES,
            inflated: TURN_BYTES,
            helpings: TURN_HELPINGS,
        }
    }
}

impl Budget {
    pub(super) fn is_spent(&self) -> bool {
        self.messages == 0 || self.bytes == 0 || self.decodes_no_more()
    }

    /// Reports whether even what was read has to wait for the next turn.
    pub(super) fn decodes_no_more(&self) -> bool {
        self.inflated == 0 || self.helpings == 0
    }

    /// One round of a turn counts like a message.
    pub(super) fn spend_round(&mut self) {
        self.spend(1, 0);
    }

    pub(super) fn spend(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn spend_helping(&mut self) {
        self.helpings = self.helpings.saturating_sub(1);
    }
}

/// What one round has to know of what is shared.
pub(super) struct Snapshot {
    pub(super) inbox: usize,
    /// How much waits to be written, in bytes.
    pub(super) queued: usize,
    pub(super) observed: bool,
    /// Our Close was sent: messages are thrown away.
    pub(super) closing: bool,
    /// It is known why the session was woken: there is probably nothing to read.
    pub(super) quiet: bool,
    /// What others have written since the last round, in bytes.
    pub(super) flushed: usize,
}

impl Snapshot {
    /// Looks at what is shared, in the middle of a round.
    pub(super) fn new(locked: &Locked) -> Self {
        Self {
            inbox: locked.inbox_size(),
            queued: locked.queued(),
            observed: locked.is_observed(),
            closing: locked.close_sent(),
            quiet: true,
            flushed: 0,
        }
    }

    /// Returns what waits for the application and for the transport, with what was decoded since;
    /// `None` if messages are thrown away.
    pub(super) fn held(&self, decoded: Option<&Inbox>) -> Option<usize> {
        let decoded = decoded.map_or(0, |inbox| inbox.size());
        (!self.closing).then_some(self.inbox + self.queued + decoded)
    }

    /// Returns the size of what is decoded before the handler is polled: little for one that takes
    /// messages as they come, so that the memory of one is there, and in the cache, for the next.
    pub(super) fn batch(&self, handler_finished: bool) -> usize {
        if handler_finished || self.inbox > 0 {
            usize::MAX
        } else {
            BATCH
        }
    }
}

/// Why a round does not begin.
pub(super) enum Aside {
    Aborted,
    /// Somebody else writes, and wakes the session then.
    Flushing,
}

/// What becomes of a round that begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Begun {
    Round,
    /// The transport is with somebody who writes, and who wakes the session then.
    Wait,
    /// The session was aborted.
    Over,
}

/// How a session goes on after a round.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// With another round.
    Round,
    /// With a turn to come, of which a waker is told.
    Wait,
    /// Not at all.
    Over,
}

/// What a handler is given at once that takes messages as they come, in bytes, with an allowance
/// for each message.
const BATCH: usize = 8 << 10;

/// How many messages one turn may decode, about.
const TURN_MESSAGES: usize = 128;

/// How many bytes one turn may read and write, about, and how many it may decompress.
const TURN_BYTES: usize = 512 << 10;

/// How often a handler is polled with more of one read, at most: the smallest messages of two reads
/// in batches make 170.
const TURN_HELPINGS: usize = 256;
