//! One connection in one group.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Wake, Waker},
};

use super::{
    backlog::{Backlog, Left, Rare},
    data::Data,
    delivery::{Delivery, SlowMember},
    farewell::Farewell,
    group::Group,
    key::Key,
    unwoken::Unwoken,
};
use crate::{
    error::TrySendError,
    lock::{Lock, LockGuard},
    protocol::PreparedMessage,
    session::{Asleep, Plain, Sender},
};

/// The place of a connection in a group, made by [`Groups::join`](crate::Groups::join).
///
/// Dropping it leaves the group. If the connection has ended before, the drop has no effect.
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

    pub(super) fn member(&self) -> &Arc<Member<K>> {
        &self.member
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
                self.sender.count_full();
                self.sender.close(frame.clone());
                done.extend(self.leave().messages);
            }
            (Err(TrySendError::Full(_)), _) => {
                delivery.dropped += 1;
                self.sender.count_full();
            }
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
        if waiting.is_empty() {
            match self.sender.try_queue(message) {
                Ok(session) => {
                    delivery.sent += 1;
                    return session;
                }
                Err(TrySendError::Closed(_)) => return None,
                Err(TrySendError::Full(_)) => {}
            }
        }
        waiting.rare().messages.push_back(message.clone());
        if self.send_waiting(&mut waiting, done) {
            delivery.sent += 1;
            let messages = &mut waiting.rare().messages;
            if messages.len() > kept {
                delivery.dropped += 1;
                self.sender.count_full();
                done.extend(messages.pop_front());
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
        let Backlog { rare, room, .. } = waiting;
        let Some(Rare { messages, .. }) = rare.as_deref_mut() else {
            return true;
        };
        while let Some(message) = messages.front() {
            match self.sender.try_send_again(message) {
                Ok(()) => {
                    done.extend(messages.pop_front());
                    // It had its turn: others are before it now.
                    if let Some(ticket) = room.take() {
                        self.sender.leave_room(ticket);
                    }
                }
                Err(TrySendError::Closed(_)) => {
                    done.extend(messages.drain(..));
                    return false;
                }
                Err(TrySendError::Full(_)) => {
                    let waker = Waker::from(self.clone());
                    let len = message.message().len();
                    let mut cx = Context::from_waker(&waker);
                    let free = self.sender.poll_room(&mut cx, room, len);
                    if free.is_pending() {
                        return true;
                    }
                }
            }
        }
        true
    }

    /// Sends a message unless more than so many bytes are queued; as [`deliver`](Self::deliver).
    pub(super) fn deliver_droppable(
        &self,
        message: &PreparedMessage,
        queued_bytes: usize,
        delivery: &mut Delivery,
    ) -> Option<Asleep> {
        // What waits beside the queue is not overtaken. Where nothing does, nobody waits for the encoding.
        let waiting = (self.group.slow.kept() > 0).then(|| self.lock());
        let waiting = waiting.as_deref();
        if waiting.is_some_and(|waiting| waiting.left) || !self.sender.is_open() {
            return None;
        }
        if waiting.is_some_and(|waiting| !waiting.is_empty())
            || self.sender.queued_bytes() > queued_bytes
        {
            delivery.dropped += 1;
            return None;
        }
        match self.sender.try_queue(message) {
            Ok(session) => {
                delivery.sent += 1;
                return session;
            }
            Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                delivery.dropped += 1;
                self.sender.count_full();
            }
        }
        None
    }

    /// Sets what is said once it has left; says it if it has.
    pub(super) fn set_farewell(self: &Arc<Self>, farewell: Farewell) {
        let mut waiting = self.lock();
        let before = if !waiting.left {
            waiting.rare().farewell.replace(farewell)
        } else if !waiting.said {
            waiting.said = true;
            drop(waiting);
            return self.say(farewell, true);
        } else {
            Some(farewell)
        };
        drop(waiting);
        drop(before);
    }

    fn say(&self, farewell: Farewell, may_begin: bool) {
        let say = |content| self.group.clone().say(content, self.sender.clone());
        farewell.say(may_begin, say);
    }

    /// Leaves the group, unless it has, and says farewell.
    pub(super) fn leave(self: &Arc<Self>) -> Left {
        self.leave_and_say(true)
    }

    fn leave_and_say(self: &Arc<Self>, may_begin: bool) -> Left {
        let was_member = self.group.home.leave(&self.group, self);
        let mut waiting = self.lock();
        waiting.left = true;
        let (closed, room) = (waiting.closed.take(), waiting.room.take());
        let rare = waiting.rare.take();
        let Rare { messages, farewell } = rare.map_or_else(Rare::default, |rare| *rare);
        waiting.said |= farewell.is_some();
        drop(waiting);
        if let Some(ticket) = closed {
            self.sender.forget_closed(ticket);
        }
        if let Some(ticket) = room {
            self.sender.forget_room(ticket);
        }
        if let Some(farewell) = farewell {
            self.say(farewell, may_begin);
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
            waiting.is_some_and(|waiting| !waiting.left && waiting.is_empty())
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

    #[cfg(feature = "cluster")]
    pub(super) fn group(&self) -> &Arc<Group<K>> {
        &self.group
    }

    fn lock(&self) -> LockGuard<'_, Backlog> {
        self.waiting.lock()
    }
}

impl<K: Key> Wake for Member<K> {
    fn wake(self: Arc<Self>) {
        if self.sender.is_over() {
            // It may be in very many groups, and this is its session's turn: that takes a task for each.
            drop(self.leave_and_say(false));
            return;
        }
        let mut done = Vec::new();
        let mut waiting = self.lock();
        self.send_waiting(&mut waiting, &mut done);
        // Without a message for it, the room is for others.
        let unused = match waiting.is_empty() {
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

#[cfg(all(test, feature = "testing"))]
mod tests;
