//! One connection in one group.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    task::{Context, Wake, Waker},
};

use super::{
    data::Data,
    delivery::{Delivery, SlowMember},
    group::Group,
    key::Key,
    unwoken::Unwoken,
};
use crate::{
    error::TrySendError,
    lock::{Lock, LockGuard},
    protocol::PreparedMessage,
    session::{Asleep, Plain, Sender, Ticket},
};

/// A connection's place in a group: it leaves when this is dropped.
///
/// The connection's end ends it, too: then the drop has no effect. Made by
/// [`Groups::join`](crate::Groups::join).
#[must_use = "the connection leaves the group when this is dropped: `let _membership = …` keeps it, `let _ = …` drops it \
              at once"]
pub struct Membership<K: Key = String> {
    member: Arc<Member<K>>,
}

impl<K: Key> Membership<K> {
    pub(super) fn new(member: Arc<Member<K>>) -> Self {
        Self { member }
    }

    /// Leaves when the connection ends; `false` if it has.
    pub(super) fn watch(&self) -> bool {
        self.member.watch()
    }

    #[cfg(feature = "cluster")]
    pub(super) fn group(&self) -> &Group<K> {
        &self.member.group
    }

    /// Returns the key of the group.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.member.group.key
    }

    /// Leaves the group.
    pub fn leave(self) {}
}

impl<K: Key> Drop for Membership<K> {
    fn drop(&mut self) {
        drop(self.member.leave());
    }
}

impl<K: Key + fmt::Debug> fmt::Debug for Membership<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("key", self.key())
            .finish_non_exhaustive()
    }
}

/// A member, as the group sees it. As a waker, it is woken for room in its queue, and at the end.
pub(super) struct Member<K> {
    group: Arc<Group<K>>,
    /// Its own among all that the group has ever had.
    number: u64,
    sender: Sender,
    /// What the application knows of it.
    data: Option<Data>,
    waiting: Lock<Backlog>,
}

/// What waits for a member.
#[derive(Default)]
struct Backlog {
    /// Messages beside a full queue, where the group keeps some.
    messages: VecDeque<PreparedMessage>,
    /// The place in the line of those that wait for the end.
    closed: Option<Ticket>,
    /// The place in the line of those that wait for room.
    room: Option<Ticket>,
    /// Nothing waits any longer.
    left: bool,
}

/// What leaving has come to.
pub(super) struct Left {
    /// It was a member until now.
    pub(super) was_member: bool,
    /// What waited for it, to be dropped outside all locks.
    messages: VecDeque<PreparedMessage>,
}

impl<K: Key> Member<K> {
    fn watch(self: &Arc<Self>) -> bool {
        let waker = Waker::from(self.clone());
        let mut ticket = None;
        let poll = self
            .sender
            .poll_closed(&mut Context::from_waker(&waker), &mut ticket);
        self.lock().closed = ticket;
        poll.is_pending()
    }

    /// Sends a message, or does what the group does with those that are too slow.
    ///
    /// Returns the session that has to be woken to write it. What is `done` is to be dropped outside
    /// all locks.
    pub(super) fn deliver(
        self: &Arc<Self>,
        message: &PreparedMessage,
        delivery: &mut Delivery,
        done: &mut Vec<PreparedMessage>,
    ) -> Option<Asleep> {
        let kept = self.group.slow.kept();
        if kept > 0 {
            return self.deliver_or_keep(message, kept, delivery, done);
        }
        match (self.sender.try_queue(message), &self.group.slow) {
            (Ok(session), _) => {
                delivery.sent += 1;
                return session;
            }
            (Err(TrySendError::Closed(_)), _) => {}
            (Err(TrySendError::Full(_)), SlowMember::Close(frame)) => {
                delivery.closed += 1;
                self.sender.close(frame.clone());
                done.extend(self.leave().messages);
            }
            (Err(TrySendError::Full(_)), _) => delivery.dropped += 1,
        }
        None
    }

    /// Sends a message, or lets it wait behind others that do.
    fn deliver_or_keep(
        self: &Arc<Self>,
        message: &PreparedMessage,
        kept: usize,
        delivery: &mut Delivery,
        done: &mut Vec<PreparedMessage>,
    ) -> Option<Asleep> {
        let mut waiting = self.lock();
        if waiting.left {
            return None;
        }
        if waiting.messages.is_empty() {
            match self.sender.try_queue(message) {
                Ok(session) => {
                    delivery.sent += 1;
                    return session;
                }
                Err(TrySendError::Closed(_)) => return None,
                Err(TrySendError::Full(_)) => {}
            }
        }
        waiting.messages.push_back(message.clone());
        if self.send_waiting(&mut waiting, done) {
            delivery.sent += 1;
            if waiting.messages.len() > kept {
                delivery.dropped += 1;
                done.extend(waiting.messages.pop_front());
            }
        }
        None
    }

    /// Sends what waits, as far as there is room, and asks to be woken for more; `false` if the
    /// connection is closed. What is `done` is to be dropped outside the lock.
    fn send_waiting(
        self: &Arc<Self>,
        waiting: &mut Backlog,
        done: &mut Vec<PreparedMessage>,
    ) -> bool {
        while let Some(message) = waiting.messages.front() {
            match self.sender.try_send(message) {
                Ok(()) => {
                    done.extend(waiting.messages.pop_front());
                    // It had its turn: others are before it now.
                    if let Some(ticket) = waiting.room.take() {
                        self.sender.leave_room(ticket);
                    }
                }
                Err(TrySendError::Closed(_)) => {
                    done.extend(waiting.messages.drain(..));
                    return false;
                }
                Err(TrySendError::Full(_)) => {
                    let waker = Waker::from(self.clone());
                    let len = message.message().len();
                    let mut cx = Context::from_waker(&waker);
                    let room = self.sender.poll_room(&mut cx, &mut waiting.room, len);
                    if room.is_pending() {
                        return true;
                    }
                }
            }
        }
        true
    }

    /// Leaves the group, unless it has.
    pub(super) fn leave(self: &Arc<Self>) -> Left {
        let was_member = self.group.home.leave(&self.group, self);
        let mut waiting = self.lock();
        waiting.left = true;
        let (closed, room) = (waiting.closed.take(), waiting.room.take());
        let messages = std::mem::take(&mut waiting.messages);
        drop(waiting);
        if let Some(ticket) = closed {
            self.sender.forget_closed(ticket);
        }
        if let Some(ticket) = room {
            self.sender.forget_room(ticket);
        }
        Left {
            was_member,
            messages,
        }
    }
}

impl<K> Member<K> {
    pub(super) fn new(
        group: &Arc<Group<K>>,
        number: u64,
        sender: Sender,
        data: Option<Data>,
    ) -> Arc<Self> {
        Arc::new(Self {
            group: group.clone(),
            number,
            sender,
            data,
            waiting: Lock::default(),
        })
    }

    /// Sends a message if that takes nothing but a place in the queue; reports whether it has. The session goes to
    /// `sessions` if it has to be woken.
    ///
    /// For the group's lock: whoever is slow, closing, compressed, or has something waiting is left to
    /// [`deliver`](Self::deliver).
    #[inline(always)]
    pub(super) fn deliver_plain(
        &self,
        plain: &mut Plain<'_>,
        keeps: bool,
        sessions: &mut Unwoken,
    ) -> bool {
        // Who has that lock may wake somebody under it: it is not waited for.
        let waiting = keeps.then(|| self.waiting.try_lock());
        let free = waiting.as_ref().is_none_or(|waiting| {
            let waiting = waiting.as_ref();
            waiting.is_some_and(|waiting| !waiting.left && waiting.messages.is_empty())
        });
        free && self.sender.try_queue_plain(plain, |runtime| {
            sessions.add(self.sender().clone(), runtime)
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns what tells its connection from others.
    pub(super) fn key(&self) -> usize {
        self.sender.key()
    }

    pub(super) fn sender(&self) -> &Sender {
        &self.sender
    }

    pub(super) fn data(&self) -> Option<&Data> {
        self.data.as_ref()
    }

    fn lock(&self) -> LockGuard<'_, Backlog> {
        self.waiting.lock()
    }
}

impl<K: Key> Wake for Member<K> {
    fn wake(self: Arc<Self>) {
        if self.sender.is_over() {
            drop(self.leave());
            return;
        }
        let mut done = Vec::new();
        let mut waiting = self.lock();
        self.send_waiting(&mut waiting, &mut done);
        // Without a message for it, the room is for others.
        let unused = match waiting.messages.is_empty() {
            true => waiting.room.take(),
            false => None,
        };
        drop(waiting);
        if let Some(ticket) = unused {
            self.sender.forget_room(ticket);
        }
        drop(done);
    }
}
