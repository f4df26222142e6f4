//! One group and who is in it.

use std::{collections::BTreeMap, mem, ops::Range, sync::Arc, time::Duration};

use tokio::{
    runtime::{self, Handle, RuntimeFlavor},
    task::yield_now,
};

use super::{
    data::Data,
    delivery::{SlowMember, Totals},
    elsewhere::Elsewhere,
    member::Member,
    push_out::push_out,
    unwoken::{STRETCH, Sessions, Unwoken},
};
#[cfg(feature = "cluster")]
use crate::cluster::Gap;
use crate::{
    lock::{Lock, LockGuard},
    protocol::PreparedMessage,
    session::{Plain, Sender},
    sync::{FairGuard, FairMutex, Notify, spawn_on, within},
};

/// A group, as long as it has members.
pub(super) struct Group<K> {
    pub(super) key: K,
    /// That of the key.
    pub(super) hash: u64,
    pub(super) slow: SlowMember,
    /// Where it stands, for members to leave.
    pub(super) home: Arc<dyn Home<K>>,
    /// Where it is on other nodes.
    pub(super) elsewhere: Option<Elsewhere>,
    members: Lock<Members<K>>,
    /// Held by one broadcast at a time; the others get it in the order they came.
    turn: FairMutex<()>,
    /// Told when a broadcast has ended.
    ended: Notify,
    /// Sessions for which something was queued, and which were not woken. For those of each runtime there is a promise.
    unwoken: Lock<Unwoken>,
}

/// The turn of a broadcast. What waits for its end is told of it, also where it is cancelled.
pub(super) struct Turn<'a> {
    // Released before anybody is told.
    _held: FairGuard<'a, ()>,
    _told: Told<'a>,
}

struct Told<'a>(&'a Notify);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

/// The table of all groups, as a group and its members know it.
pub(super) trait Home<K>: Send + Sync {
    /// Takes a member out of its group, and the group away with its last one. Reports whether it was in it.
    fn leave(&self, group: &Arc<Group<K>>, member: &Member<K>) -> bool;

    /// Returns the sum of all deliveries.
    fn totals(&self) -> &Totals;

    /// Tells who listens that messages to a group are missing.
    #[cfg(feature = "cluster")]
    fn missed(&self, gap: Gap, group: &Arc<Group<K>>);
}

/// Writes for the sessions of a group that run in one runtime. Those that are left when it is dropped are woken,
/// all at once.
struct Promise<K> {
    group: Arc<Group<K>>,
    /// Not there once they are taken from the group.
    runtime: Option<runtime::Id>,
    sessions: Sessions,
}

impl<K> Promise<K> {
    /// Waits while broadcasts follow upon each other, but not for long. Then writes for the sessions, a few at
    /// a time.
    async fn keep(mut self) {
        yield_now().await;
        within(MAX_WAIT, self.group.quiet()).await;
        self.take_sessions();
        flush(mem::take(&mut self.sessions)).await;
    }

    fn take_sessions(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.sessions = self.group.unwoken.lock().take(runtime);
        }
    }
}

impl<K> Drop for Promise<K> {
    fn drop(&mut self) {
        self.take_sessions();
    }
}

/// Members in the order they joined, so that a broadcast meets each of them once.
///
/// No table that is made anew as a whole when it grows: that would take long under the lock.
struct Members<K> {
    /// Each by a number of its own.
    by_number: BTreeMap<u64, Arc<Member<K>>>,
    /// The number of the next one.
    next: u64,
    /// The number of each connection.
    connections: BTreeMap<usize, u64>,
}

impl<K> Group<K> {
    pub(super) fn new(
        key: K,
        hash: u64,
        slow: SlowMember,
        home: Arc<dyn Home<K>>,
        elsewhere: Option<Elsewhere>,
    ) -> Self {
        Self {
            key,
            hash,
            slow,
            home,
            elsewhere,
            members: Lock::new(Members {
                by_number: BTreeMap::new(),
                next: 0,
                connections: BTreeMap::new(),
            }),
            turn: FairMutex::new(()),
            ended: Notify::new(),
            unwoken: Lock::default(),
        }
    }

    /// Waits for the turn of a broadcast.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn {
            _held: self.turn.lock().await,
            _told: Told(&self.ended),
        }
    }

    /// Waits while broadcasts follow upon each other.
    async fn quiet(&self) {
        for _ in 0..MAX_WAITS {
            let ended = self.ended.notified();
            if self.turn.try_lock().is_ok() {
                break;
            }
            // Nothing is looked at again and again: in another thread than the broadcast's that would be in vain.
            ended.await;
        }
    }

    /// Has sessions written for once the broadcasts that follow at once are queued, too, so that they
    /// leave in one write.
    ///
    /// A task of their own runtime does that, never one of the caller's: if it does not run, they do
    /// not run either.
    pub(super) fn wake_later(self: &Arc<Self>, sessions: &mut Unwoken)
    where
        K: Send + Sync + 'static,
    {
        for batch in sessions.batches() {
            if batch.sessions.is_empty() || !self.unwoken.lock().append(batch) {
                continue;
            }
            // Dropped with its runtime, it wakes them.
            let promise = Promise {
                group: self.clone(),
                runtime: Some(batch.runtime.id()),
                sessions: Sessions::default(),
            };
            spawn_on(&batch.runtime, promise.keep());
            push_out(&batch.runtime);
        }
        if sessions.wake_anywhere()
            && let Ok(runtime) = Handle::try_current()
        {
            push_out(&runtime);
        }
    }

    /// Reports whether the connection is a member.
    pub(super) fn contains(&self, sender: &Sender) -> bool {
        self.lock().connections.contains_key(&sender.key())
    }

    /// Adds a connection, which must be no member so far.
    pub(super) fn add(self: &Arc<Self>, sender: Sender, data: Option<Data>) -> Arc<Member<K>> {
        let mut members = self.lock();
        let number = members.next;
        members.next += 1;
        members.connections.insert(sender.key(), number);
        let member = Member::new(self, number, sender, data);
        members.by_number.insert(number, member.clone());
        member
    }

    /// Takes a member out, to be dropped outside all locks; reports whether the group is empty now.
    pub(super) fn remove(&self, member: &Member<K>) -> (Option<Arc<Member<K>>>, bool) {
        let mut members = self.lock();
        let removed = members.by_number.remove(&member.number());
        // If it had left before, the connection may have joined again.
        if removed.is_some() {
            members.connections.remove(&member.key());
        }
        (removed, members.by_number.is_empty())
    }

    /// Returns the numbers of all members so far, and the first of them but one.
    pub(super) fn begin(&self, except: Option<usize>) -> (Range<u64>, Option<Arc<Member<K>>>) {
        let members = self.lock();
        let mut all = members.by_number.values();
        let first = all.find(|member| Some(member.key()) != except);
        (0..members.next, first.cloned())
    }

    /// Sends to the next few of the members in `numbers`, which become those that are left. Whoever needs more
    /// than a place in the queue is put to the `odd` ones.
    ///
    /// Returns how many it was sent to.
    #[inline(never)]
    pub(super) fn deliver(
        &self,
        numbers: &mut Range<u64>,
        message: &PreparedMessage,
        except: Option<usize>,
        sessions: &mut Unwoken,
        odd: &mut Vec<Arc<Member<K>>>,
    ) -> u64 {
        let keeps = self.slow.kept() > 0;
        let members = self.lock();
        // The lock keeps them in the group, with their settings.
        let mut plain = Plain::new(message);
        let mut sent = 0;
        let mut rest = members.by_number.range(numbers.clone());
        for (_, member) in rest.by_ref().take(STRETCH) {
            if Some(member.key()) == except {
                continue;
            }
            if member.deliver_plain(&mut plain, keeps, sessions) {
                sent += 1;
            } else {
                odd.push(member.clone());
            }
        }
        numbers.start = rest.next().map_or(numbers.end, |(next, _)| *next);
        sent
    }

    /// Takes the next few of the members in `numbers`, which become those that are left.
    pub(super) fn take_some(
        &self,
        numbers: &mut Range<u64>,
        except: Option<usize>,
        some: &mut Vec<Arc<Member<K>>>,
    ) {
        let members = self.lock();
        let mut rest = members.by_number.range(numbers.clone());
        let stretch = rest.by_ref().take(STRETCH);
        let stretch = stretch.filter(|(_, member)| Some(member.key()) != except);
        some.extend(stretch.map(|(_, member)| member.clone()));
        numbers.start = rest.next().map_or(numbers.end, |(next, _)| *next);
    }

    /// Finds the member that a connection is.
    pub(super) fn member(&self, sender: &Sender) -> Option<Arc<Member<K>>> {
        let members = self.lock();
        let number = members.connections.get(&sender.key())?;
        members.by_number.get(number).cloned()
    }

    /// Returns all members, in the order they joined.
    pub(super) fn members(&self) -> Vec<Arc<Member<K>>> {
        self.lock().by_number.values().cloned().collect()
    }

    pub(super) fn senders(&self) -> Vec<Sender> {
        let members = self.lock();
        let members = members.by_number.values();
        members.map(|member| member.sender().clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().by_number.len()
    }

    /// Locks the members, to send to a [`STRETCH`] of them at most.
    fn lock(&self) -> LockGuard<'_, Members<K>> {
        self.members.lock()
    }
}

/// Has sessions written for at once, by a task of their own runtime.
pub(super) fn flush_soon(sessions: &mut Unwoken) {
    for batch in sessions.batches() {
        if !batch.sessions.is_empty() {
            // Dropped with its runtime, it wakes them.
            spawn_on(&batch.runtime, flush(mem::take(&mut batch.sessions)));
            push_out(&batch.runtime);
        }
    }
    sessions.wake_anywhere();
}

/// Writes for sessions of the runtime that it runs in, a few at a time.
async fn flush(mut sessions: Sessions) {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread => {
            flush_on(runtime, sessions);
        }
        _ => {
            while sessions.flush_some() {
                yield_now().await;
            }
        }
    }
}

/// Writes for the first few sessions, and lets another thread go on with the rest meanwhile.
fn flush_on(runtime: Handle, mut sessions: Sessions) {
    let rest = sessions.take_rest();
    if !rest.is_empty() {
        let there = runtime.clone();
        spawn_on(&runtime, async move { flush_on(there, rest) });
        push_out(&runtime);
    }
    sessions.flush_some();
}

/// How long the sessions that were reached are not written for: broadcasts may take long, and one need not be polled
/// on.
const MAX_WAIT: Duration = Duration::from_millis(10);

/// How many broadcasts may follow upon each other meanwhile.
const MAX_WAITS: usize = 16;

#[cfg(test)]
mod tests;
