//! What a session lends to its own handler while it polls it.
//!
//! What was read lies in a slot of the thread then, with a queue: a handle of that connection finds them
//! there, decodes the next message where it lies and encodes what it sends, without a lock, an inbox or a
//! batch. Everybody else goes through the lock, and so does the handler for whatever is not a whole message.
//!
//! Why nothing is lost, and nothing comes in another order:
//!
//! 1. The slot is filled only around one poll of the handler, on that thread. The session keeps the connection
//!    alive meanwhile: its address is that of no other one.
//! 2. Messages are lent only where the inbox is spent, nothing has ended or is deferred, no message is open or
//!    streamed, and nobody asks for control frames or receives in another task. The driver alone adds to the
//!    inbox: nothing appears in it during the poll.
//! 3. A queue is lent only where the shared one is empty and nobody writes it, on an open connection, without a
//!    message in progress, without compression, without a limit on the number of messages.
//! 4. Who takes the lock, other than the driver, leaves a mark under it (`Shared::touched`), and the driver
//!    clears it under the lock when a round begins. Whoever finds the mark goes through the lock. Reading it
//!    needs no order: what has happened before is seen, through whatever told of it; what happens at the same
//!    time may as well have happened later.
//! 5. So nothing that is queued under the lock happens before something that is lent afterwards: **what is lent
//!    goes before what is shared**. It is put in front when the handler itself comes for the lock, and when the
//!    driver takes the queue.
//! 6. What is no whole plain message stays where it is, for the driver, which decodes it after the poll and
//!    then polls the handler again: nothing is decoded past a message before the handler was polled with it.
//! 7. `Locked::lent` says from the beginning of such a round to the end of the turn that something may have been
//!    sent that is not in the shared queue: a flush waits for it as for one that is being written.
//!
//! A loan is borrowed for the time of one operation, in which no code of others runs: payloads are dropped, and
//! wakers called, when it is over. A session that is polled inside another one's handler lends its own, and gives
//! the slot back as it was.

use std::{
    cell::{Cell, RefCell},
    mem, ptr,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes, BytesMut};

use super::{scratch, setup::Setup};
use crate::{
    pool,
    protocol::{Encoder, Limits, Message, Outbound, Outgoing, Role, take_plain},
    sync,
};

/// A buffer to read to, and what is lent with it.
///
/// A thread keeps one. A session that finds none, because it runs inside another one's turn, makes its own.
pub(super) struct Loan {
    /// The address of the connection that it is lent to.
    borrower: usize,
    /// What tells the session's waker from others.
    waker: (usize, usize),
    lends: Lends,
    rules: Rules,
    /// What was read; the first `decoded` bytes of it are decoded.
    pub(super) buffer: BytesMut,
    decoded: usize,
    received: u32,
    /// There was no more to receive because of the cork.
    corked: bool,
    /// What was sent.
    pub(super) sent: Outgoing,
}

/// What follows from the settings of a connection. Most of a thread's connections have the same.
struct Rules {
    /// Whose they are. Not kept alive, but while this is here nothing else is at its address.
    setup: Weak<Setup>,
    role: Role,
    limits: Limits,
    encoder: Encoder,
    /// With so much in its queue nothing more is received or sent before that is written.
    cork: usize,
}

impl Rules {
    #[cold]
    fn of(setup: &Arc<Setup>) -> Self {
        Self {
            setup: Arc::downgrade(setup),
            role: setup.role,
            limits: Limits::new(&setup.config),
            encoder: setup.encoder(),
            cork: CORK.min(setup.config.max_send_queue).max(1),
        }
    }
}

/// What is lent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Lends {
    pub(super) messages: bool,
    pub(super) queue: bool,
}

impl Lends {
    #[inline]
    pub(super) fn any(self) -> bool {
        self.messages || self.queue
    }
}

/// What has come of what was lent.
pub(super) struct Returned {
    /// How many messages were received.
    pub(super) received: u32,
    /// There may be more, once what was sent is written.
    pub(super) corked: bool,
}

impl Loan {
    /// Takes the thread's spare one, or makes one.
    #[inline]
    pub(super) fn take() -> Box<Self> {
        pool::take(&SPARE).unwrap_or_else(Self::make)
    }

    #[cold]
    fn make() -> Box<Self> {
        Box::new(Self {
            borrower: 0,
            waker: (0, 0),
            lends: Lends::default(),
            rules: Rules::of(&Arc::new(Setup::server())),
            buffer: BytesMut::new(),
            decoded: 0,
            received: 0,
            corked: false,
            sent: Outgoing::default(),
        })
    }

    /// Gives it back to the thread; what was not decoded is forgotten. One with something to send is not kept: another
    /// connection would send it.
    #[inline]
    pub(super) fn put_back(mut self: Box<Self>) {
        self.buffer.clear();
        if self.buffer.capacity() <= 2 * READ && self.sent.is_unused() {
            pool::put_back(&SPARE, Some(self));
        }
    }

    /// Empties the buffer, and makes room for one read.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.make_room();
    }

    /// Makes room for a read behind what was not decoded.
    #[inline]
    pub(super) fn make_room(&mut self) {
        let buffer = &mut self.buffer;
        // For less it is not worth moving what is in it to its front.
        if buffer.capacity() - buffer.len() < LEAST_READ {
            buffer.reserve(READ.saturating_sub(buffer.len()));
        }
    }

    /// Reports whether there is room for a read as it is.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.buffer.capacity() - self.buffer.len() >= LEAST_READ
    }

    /// Reports whether a message may come next that can be received as it lies there.
    #[inline]
    pub(super) fn begins_plain(&self) -> bool {
        // The header's first byte (RFC 6455 §5.2): whole, not compressed, text or binary.
        matches!(self.buffer.first(), Some(0x81 | 0x82))
    }

    /// Reports whether so much was sent that it is to be written first.
    #[inline]
    pub(super) fn is_corked(&self) -> bool {
        self.sent.queued() >= self.rules.cork
    }

    /// Gives a queue back that was written.
    #[inline]
    pub(super) fn put_back_queue(&mut self, queue: Box<crate::protocol::Unsent>) {
        if self.sent.needs_queue() && scratch::is_worth_keeping(&queue) {
            self.sent.adopt(Some(queue));
        } else {
            scratch::put_back_queue(queue);
        }
    }
}

/// Lends to the handler of the connection at `borrower`, which is about to be polled.
///
/// What is in the slot comes in its place: it has to be [taken back](take_back).
#[inline]
pub(super) fn lend(
    loan: &mut Option<Box<Loan>>,
    borrower: usize,
    lends: Lends,
    setup: &Arc<Setup>,
    cx: &Context<'_>,
) {
    let lent = loan.get_or_insert_with(Loan::take);
    lent.borrower = borrower;
    lent.waker = identity(cx.waker());
    lent.lends = lends;
    if lent.rules.setup.as_ptr() != Arc::as_ptr(setup) {
        lent.rules = Rules::of(setup);
    }
    swap(loan);
}

/// Takes back what was lent: it is in `loan` again, with what was not decoded.
#[inline]
pub(super) fn take_back(loan: &mut Option<Box<Loan>>) -> Returned {
    swap(loan);
    let lent = loan.get_or_insert_with(Loan::take);
    lent.lends = Lends::default();
    let decoded = mem::take(&mut lent.decoded);
    if decoded == lent.buffer.len() {
        lent.buffer.clear();
    } else {
        lent.buffer.advance(decoded);
    }
    Returned {
        received: mem::take(&mut lent.received),
        corked: mem::take(&mut lent.corked),
    }
}

/// Exchanges what the thread's slot has. A thread at its end has none: nothing is lent there.
#[inline]
fn swap(loan: &mut Option<Box<Loan>>) {
    let _ended = LENT.try_with(|slot| mem::swap(&mut *slot.borrow_mut(), loan));
}

/// Does something with what is lent to `borrower` in this thread; `None` if nothing is.
#[inline]
fn with<R>(borrower: usize, work: impl FnOnce(&mut Loan) -> R) -> Option<R> {
    let worked = LENT.try_with(|slot| {
        let mut slot = slot.borrow_mut();
        let loan = slot.as_deref_mut()?;
        (loan.borrower == borrower).then(|| work(loan))
    });
    worked.ok().flatten()
}

/// Receives the next message where it lies. `None` where the lock has to be asked. Not for who finds the mark of
/// somebody else, nor is what sends.
#[inline]
pub(super) fn poll_message(borrower: usize, cx: &Context<'_>) -> Option<Poll<Message>> {
    let received = with(borrower, |loan| {
        if !loan.lends.messages {
            return None;
        }
        if loan.is_corked() {
            loan.corked = true;
        } else if let Some(message) = loan.next_message() {
            return Some(Poll::Ready(message));
        }
        // Its own task is polled again anyway. Whoever else waits is remembered under the lock.
        (loan.waker == identity(cx.waker())).then_some(Poll::Pending)
    });
    received.flatten()
}

/// Sends a message. `None` where the lock has to be asked; else what was copied, to be dropped with what is left
/// in `outbound`.
#[inline]
pub(super) fn send(borrower: usize, outbound: &mut Outbound) -> Option<Option<Bytes>> {
    let sent = with(borrower, |loan| {
        if !loan.has_room_to_send() {
            return None;
        }
        if loan.sent.needs_queue() {
            loan.sent.adopt(scratch::take_queue());
        }
        loan.sent.outbound(&loan.rules.encoder, outbound)
    });
    sent.flatten()
}

/// Reports whether a message can be sent at once, without the lock.
#[inline]
pub(super) fn has_room_to_send(borrower: usize) -> bool {
    with(borrower, |loan| loan.has_room_to_send()).unwrap_or(false)
}

/// Returns how much the handler has sent in this thread, without the lock, that is not written, in bytes.
pub(super) fn queued(borrower: usize) -> usize {
    with(borrower, |loan| loan.sent.queued()).unwrap_or(0)
}

/// Gives what was sent so far, where the handler of the connection at `borrower` is polled in this thread.
pub(super) fn reclaim(borrower: usize, work: impl FnOnce(&mut Outgoing)) {
    with(borrower, |loan| work(&mut loan.sent));
}

impl Loan {
    #[inline]
    fn next_message(&mut self) -> Option<Message> {
        let rest = self.buffer.get_mut(self.decoded..)?;
        let (message, used) = take_plain(self.rules.role, &self.rules.limits, rest)?;
        self.decoded += used;
        self.received += 1;
        Some(message)
    }

    #[inline]
    fn has_room_to_send(&self) -> bool {
        self.lends.queue && !self.is_corked()
    }
}

/// What tells one waker from another, while both are there.
#[inline]
fn identity(waker: &Waker) -> (usize, usize) {
    (waker.data().addr(), ptr::from_ref(waker.vtable()).addr())
}

sync::thread_local! {
    static LENT: RefCell<Option<Box<Loan>>> = const { RefCell::new(None) };
}

thread_local! {
    static SPARE: Cell<Option<Box<Loan>>> = const { Cell::new(None) };
}

/// From here on a sender lets the session write first, in bytes.
pub(super) const CORK: usize = 64 << 10;

/// How much one read takes at most.
const READ: usize = 64 << 10;

/// With less room than this nothing is read.
const LEAST_READ: usize = 48 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_connection_has_not_sent_no_other_one_is_lent() {
        let mut loan = Loan::take();
        let sent = loan.sent.message(&loan.rules.encoder, "mine".into());
        assert!(sent.is_ok());
        loan.put_back();
        assert!(SPARE.take().is_none());
        let mut loan = Loan::take();
        loan.buffer.extend_from_slice(b"mine");
        loan.put_back();
        let spare = SPARE.take().expect("it is kept");
        assert!(spare.buffer.is_empty());
    }
}
