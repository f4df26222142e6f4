//! One group and who is in it.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use tokio::{
    runtime::{self, Handle, RuntimeFlavor},
    task::yield_now,
};

use super::{delivery::SlowMember, member::Member, unwoken::Unwoken};
use crate::{
    lock::{Lock, LockGuard},
    session::Sender,
    sync::{FairMutex, spawn_on},
};

/// A group, as long as it has members.
pub(super) struct Group<K> {
    pub(super) key: K,
    /// That of the key.
    pub(super) hash: u64,
    pub(super) slow: SlowMember,
    /// Where it stands, for members to leave.
    pub(super) home: Arc<dyn Home<K>>,
    members: Lock<Members<K>>,
    /// Held by one broadcast at a time; the others get it in the order they came.
    pub(super) turn: FairMutex<()>,
    /// Sessions for which something was queued. For those of each runtime there is a promise.
    unwoken: Lock<Unwoken>,
}

/// The table of all groups, as a group and its members know it.
pub(super) trait Home<K>: Send + Sync {
    /// Takes a member out of its group, and the group away with its last one.
    fn leave(&self, group: &Arc<Group<K>>, member: &Member<K>);
}

/// Wakes the sessions of a group that run in one runtime, when it is dropped.
struct Promise<K> {
    group: Arc<Group<K>>,
    runtime: runtime::Id,
}

impl<K> Promise<K> {
    /// Waits while broadcasts follow upon each other, but not for long.
    async fn keep(self) {
        for _ in 0..MAX_TURNS {
            yield_now().await;
            if self.group.turn.try_lock().is_ok() {
                break;
            }
        }
    }
}

impl<K> Drop for Promise<K> {
    fn drop(&mut self) {
        let sessions = self.group.unwoken.lock().take(self.runtime);
        // Outside the lock.
        drop(sessions);
    }
}

/// Members in the order they joined, so that a broadcast meets each of them once.
struct Members<K> {
    /// Each by a number of its own.
    by_number: BTreeMap<u64, Arc<Member<K>>>,
    /// The number of the next one.
    next: u64,
    /// The number of each connection.
    by_connection: HashMap<usize, u64>,
}

impl<K> Group<K> {
    pub(super) fn new(key: K, hash: u64, slow: SlowMember, home: Arc<dyn Home<K>>) -> Self {
        Self {
            key,
            hash,
            slow,
            home,
            members: Lock::new(Members {
                by_number: BTreeMap::new(),
                next: 0,
                by_connection: HashMap::new(),
            }),
            turn: FairMutex::new(()),
            unwoken: Lock::default(),
        }
    }

    /// Has sessions woken once the broadcasts that follow at once are queued, too, so that they leave
    /// in one write.
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
                runtime: batch.runtime.id(),
            };
            spawn_on(&batch.runtime, promise.keep());
            push_out(&batch.runtime);
        }
        if sessions.take_woken()
            && let Ok(runtime) = Handle::try_current()
        {
            push_out(&runtime);
        }
    }

    /// Reports whether the connection is a member.
    pub(super) fn contains(&self, sender: &Sender) -> bool {
        self.lock().by_connection.contains_key(&sender.key())
    }

    /// Adds a member, whose connection must be none so far.
    pub(super) fn add(&self, member: &Arc<Member<K>>) {
        let mut members = self.lock();
        let number = members.next;
        members.next += 1;
        members.by_number.insert(number, member.clone());
        members.by_connection.insert(member.key(), number);
    }

    /// Takes a member out, to be dropped outside all locks; reports whether the group is empty now.
    pub(super) fn remove(&self, member: &Member<K>) -> (Option<Arc<Member<K>>>, bool) {
        let mut members = self.lock();
        let number = members.by_connection.get(&member.key()).copied();
        // The connection may have joined again.
        let number = number.filter(|number| {
            let there = members.by_number.get(number);
            there.is_some_and(|there| std::ptr::eq(&**there, member))
        });
        let Some(number) = number else {
            return (None, false);
        };
        members.by_connection.remove(&member.key());
        let removed = members.by_number.remove(&number);
        (removed, members.by_connection.is_empty())
    }

    /// Returns the numbers of all members so far.
    pub(super) fn numbers(&self) -> Range<u64> {
        0..self.lock().next
    }

    /// Takes the first few members out of a range of numbers; reports whether there are more.
    pub(super) fn take(&self, numbers: &mut Range<u64>, taken: &mut Vec<Arc<Member<K>>>) -> bool {
        let members = self.lock();
        taken.reserve(members.by_number.len().min(STRETCH));
        let mut rest = members.by_number.range(numbers.clone());
        taken.extend(
            rest.by_ref()
                .take(STRETCH)
                .map(|(_, member)| member.clone()),
        );
        match rest.next() {
            Some((next, _)) => {
                numbers.start = *next;
                true
            }
            None => false,
        }
    }

    pub(super) fn senders(&self) -> Vec<Sender> {
        let members = self.lock();
        let members = members.by_number.values();
        members.map(|member| member.sender().clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().by_connection.len()
    }

    /// Locks the members, for a few hundred of them at most.
    fn lock(&self) -> LockGuard<'_, Members<K>> {
        self.members.lock()
    }
}

/// Makes a task that was spawned last one that every thread of its runtime can run.
///
/// A thread keeps the last task for itself, and may be in for some blocking work now.
fn push_out(runtime: &Handle) {
    if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
        runtime.spawn(async {});
    }
}

/// How many members a broadcast sends to before others get their turn.
const STRETCH: usize = 256;

/// How often a broadcast may yield before the sessions that it has reached are woken.
const MAX_TURNS: usize = 64;
