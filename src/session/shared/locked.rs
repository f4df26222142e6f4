//! What the lock of a connection protects.

use std::{mem, task::Waker};

use tokio::runtime::Handle;

use super::{
    inbox::Inbox,
    waiters::{Rare, Waiters},
};
use crate::{
    config::Config,
    memory::Held,
    protocol::{Outgoing, RoundTrips, State},
    session::transport::Transport,
};

/// What the lock protects.
///
/// | flag | set by | cleared by | read by |
/// |---|---|---|---|
/// | `idle` | the driver, when its turn ends | whoever takes the driver to wake it; its next round | all who change something |
/// | `writing` | the driver, with the queue it takes; for ever where that is lost | the driver, when it is written or put back | those who wait for everything to be written |
/// | `lent` | the driver, for a handler that may send without the lock; the handler, when it comes for the lock | the driver, when that is written or its turn ends | those who wait for everything to be written |
/// | `yielded` | a sender that lets the session write first; the driver, at the end | the driver, when something has left | the next sender |
/// | `taken_full` | the driver, with a queue it takes that was full | the driver, when it is written or put back | the next sender |
/// | `keeper` | a dropped `WebSocket`, `Receiver` or `ByteReader` | never | the driver, before it delivers or ends a turn |
/// | `observed` | a handle that asks for control frames | never | the driver, once a round |
pub(crate) struct Locked {
    pub(super) outgoing: Outgoing,
    /// While nobody reads or writes; in the driver's turn it is with that. Who has it writes, and who has the
    /// queue has it.
    ///
    /// `None`, too, once it is gone.
    pub(super) transport: Option<Transport>,
    /// Decoded and not yet received by the application.
    pub(super) inbox: Option<Box<Inbox>>,
    /// Wakes the session.
    ///
    /// Invariant: it is there while `idle`.
    pub(super) driver: Option<Waker>,
    /// How long pongs took.
    pub(super) round_trips: RoundTrips,
    /// The tasks that wait outside the session's.
    pub(super) waiters: Option<Box<Waiters>>,
    /// The session has to be woken for whatever is changed.
    ///
    /// Invariant: when it was set, under this lock, nothing was left that the driver could do.
    pub(super) idle: bool,
    /// What the driver waits for the application to take; of meaning only while `idle`.
    pub(super) awaited: Awaited,
    /// The driver has the queue, or has lost it.
    pub(super) writing: bool,
    pub(super) lent: Lent,
    /// No sender has to let the session write first until something has left.
    pub(super) yielded: bool,
    /// More is being written than may wait.
    pub(super) taken_full: bool,
    pub(super) keeper: Keeper,
    pub(super) observed: bool,
}

/// Whether the handler may have sent something that is not in `outgoing`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lent {
    Nothing,
    /// It may.
    Queue,
    /// It might have until it came for the lock itself: those who waited because of that are still to be
    /// woken.
    TakenBack,
}

/// Who keeps the connection open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Keeper {
    /// Whoever receives.
    Receiver,
    /// The handler, while it runs: the `Receiver` was dropped.
    Handler,
    /// The half of a byte stream that writes: the one that reads was dropped.
    Writer,
    /// A whole `WebSocket` was dropped.
    Nobody,
}

/// What the driver waits for the application to take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Awaited {
    Nothing,
    /// So much that there is room in the inbox.
    Room,
    /// All of the inbox, which counts in a budget.
    All,
}

impl Locked {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            outgoing: Outgoing::default(),
            transport: Some(transport),
            inbox: None,
            driver: None,
            round_trips: RoundTrips::default(),
            waiters: None,
            idle: false,
            awaited: Awaited::Nothing,
            writing: false,
            lent: Lent::Nothing,
            yielded: false,
            taken_full: false,
            keeper: Keeper::Receiver,
            observed: false,
        }
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        self.outgoing.state()
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.state() == State::Open
    }

    pub(crate) fn close_sent(&self) -> bool {
        self.outgoing.close_sent()
    }

    pub(crate) fn close_received(&self) -> bool {
        self.outgoing.close_received()
    }

    /// Returns how much can leave and has not, in bytes.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.outgoing.queued()
    }

    /// Returns how much waits, with what is behind a message in progress, in bytes.
    pub(crate) fn queued_in_all(&self) -> usize {
        self.outgoing.queued() + self.outgoing.queued_behind()
    }

    /// Reports whether so much waits that no further message is queued.
    #[inline]
    pub(super) fn is_full(&self, config: &Config) -> bool {
        self.taken_full || self.outgoing.is_full(config)
    }

    /// Reports whether messages are received, or waited for.
    #[inline]
    pub(super) fn is_received(&self) -> bool {
        self.keeper == Keeper::Receiver
    }

    /// Returns what was sent, or at least queued: messages, and bytes of their payload.
    pub(crate) fn sent(&self) -> (u64, u64) {
        (self.outgoing.messages, self.outgoing.bytes)
    }

    /// Asks for control frames.
    pub(crate) fn observe(&mut self) {
        self.observed = true;
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.observed
    }

    pub(crate) fn inbox_len(&self) -> usize {
        self.inbox.as_ref().map_or(0, |inbox| inbox.events.len())
    }

    pub(crate) fn inbox_size(&self) -> usize {
        self.inbox.as_ref().map_or(0, |inbox| inbox.size())
    }

    /// Returns what waits for the application and for the transport.
    pub(crate) fn held(&self) -> Held {
        let inbox = self.inbox.as_ref().map_or(0, |inbox| inbox.memory());
        self.outgoing.held().and(inbox)
    }

    /// Takes the driver to wake, if it is idle.
    #[inline]
    pub(super) fn take_driver(&mut self) -> Option<Waker> {
        if mem::replace(&mut self.idle, false) {
            self.driver.take()
        } else {
            None
        }
    }

    /// Returns where the session runs, if that is known: it is from the first turn on
    /// in which a task waits for the connection.
    pub(crate) fn runtime(&self) -> Option<&Handle> {
        self.waiters.as_ref()?.runtime.as_ref()
    }

    /// Begins a round of the driver's turn, for which it need not be woken. Reports whether it has been
    /// woken, with a waker to drop.
    #[inline]
    pub(crate) fn begin_round(&mut self, turn: &Waker) -> (bool, Option<Waker>) {
        let woken = !mem::replace(&mut self.idle, false);
        if self
            .driver
            .as_ref()
            .is_some_and(|waker| waker.will_wake(turn))
        {
            return (woken, None);
        }
        (woken, self.driver.replace(turn.clone()))
    }

    /// Ends the driver's turn, with nothing left to do.
    #[inline]
    pub(crate) fn end_turn(&mut self, awaited: Awaited) {
        if let Some(waiters) = &mut self.waiters
            && waiters.runtime.is_none()
        {
            waiters.runtime = Handle::try_current().ok();
        }
        self.idle = true;
        self.awaited = awaited;
    }

    /// Takes the transport, to read and write.
    #[inline]
    pub(crate) fn take_transport(&mut self) -> Option<Transport> {
        self.transport.take()
    }

    /// Takes the transport, where it is one of many streams on its connection.
    pub(crate) fn take_multiplexed(&mut self) -> Option<Transport> {
        self.transport
            .take_if(|transport| transport.is_multiplexed())
    }

    /// Puts the transport back that was [taken](Self::take_transport).
    #[inline]
    pub(crate) fn put_back_transport(&mut self, transport: Transport) {
        self.transport = Some(transport);
    }

    pub(super) fn waiters(&mut self) -> &mut Waiters {
        self.waiters.get_or_insert_default()
    }

    #[inline]
    pub(super) fn rare_ref(&self) -> Option<&Rare> {
        self.waiters.as_ref()?.rare.as_deref()
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.waiters().rare.get_or_insert_default()
    }
}
