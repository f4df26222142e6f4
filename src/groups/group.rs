//! One group and who is in it.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use tokio::{runtime::Handle, task::yield_now};

use super::{STRETCH, delivery::SlowMember, member::Member};
use crate::Sender;

/// A group, as long as it has members.
pub(super) struct Group<K> {
    pub(super) key: K,
    pub(super) slow: SlowMember,
    members: Mutex<Members<K>>,
    /// Whose broadcast it is: those who wait get it in the order they came.
    pub(super) turn: tokio::sync::Mutex<()>,
    unwoken: Mutex<Unwoken>,
}

/// Sessions for which something was queued, and which were not woken to write it.
#[derive(Default)]
struct Unwoken {
    sessions: Vec<Waker>,
    /// Somebody will wake them.
    promised: bool,
}

/// Wakes the sessions of a group when it is dropped.
struct Promise<K>(Arc<Group<K>>);

impl<K> Promise<K> {
    /// Waits while broadcasts follow upon each other, but not for long.
    async fn keep(self) {
        for _ in 0..MAX_TURNS {
            yield_now().await;
            if self.0.turn.try_lock().is_ok() {
                break;
            }
        }
    }
}

impl<K> Drop for Promise<K> {
    fn drop(&mut self) {
        self.0.wake_now();
    }
}

/// Members in places that they keep, so that a broadcast meets each of them once.
struct Members<K> {
    places: Vec<Option<Arc<Member<K>>>>,
    free: Vec<usize>,
    /// The place of each connection.
    by_connection: HashMap<usize, usize>,
}

impl<K> Group<K> {
    pub(super) fn new(key: K, slow: SlowMember) -> Self {
        Self {
            key,
            slow,
            members: Mutex::new(Members {
                places: Vec::new(),
                free: Vec::new(),
                by_connection: HashMap::new(),
            }),
            turn: tokio::sync::Mutex::new(()),
            unwoken: Mutex::default(),
        }
    }

    /// Sees to it that sessions are woken: once the broadcasts that follow at once are queued, too,
    /// so that they leave in one write.
    pub(super) fn wake_later(self: &Arc<Self>, sessions: &mut Vec<Waker>)
    where
        K: Send + Sync + 'static,
    {
        let mut unwoken = self.lock_unwoken();
        unwoken.sessions.append(sessions);
        if mem::replace(&mut unwoken.promised, true) {
            return;
        }
        drop(unwoken);
        // Dropped with its runtime, it wakes them: they may be others' sessions.
        let promise = Promise(self.clone());
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(promise.keep());
        }
    }

    fn wake_now(&self) {
        let mut unwoken = self.lock_unwoken();
        unwoken.promised = false;
        let sessions = mem::take(&mut unwoken.sessions);
        drop(unwoken);
        sessions.into_iter().for_each(Waker::wake);
    }

    fn lock_unwoken(&self) -> MutexGuard<'_, Unwoken> {
        self.unwoken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a member; `false` where its connection is one already.
    pub(super) fn add(&self, member: &Arc<Member<K>>) -> bool {
        let mut members = self.lock();
        if members.by_connection.contains_key(&member.key()) {
            return false;
        }
        let place = members.free.pop().unwrap_or(members.places.len());
        if place == members.places.len() {
            members.places.push(None);
        }
        members.places[place] = Some(member.clone());
        members.by_connection.insert(member.key(), place);
        true
    }

    /// Takes a member out, to be dropped outside all locks; and tells whether nobody is left.
    pub(super) fn remove(&self, member: &Member<K>) -> (Option<Arc<Member<K>>>, bool) {
        let mut members = self.lock();
        let place = members.by_connection.get(&member.key()).copied();
        // The connection may have joined again.
        let place = place.filter(|&place| {
            let there = members.places[place].as_ref();
            there.is_some_and(|there| std::ptr::eq(&**there, member))
        });
        let Some(place) = place else {
            return (None, false);
        };
        members.by_connection.remove(&member.key());
        members.free.push(place);
        let removed = members.places[place].take();
        (removed, members.by_connection.is_empty())
    }

    /// Takes the next few members from place `next` on; tells whether there are more.
    pub(super) fn members_from(&self, next: &mut usize, taken: &mut Vec<Arc<Member<K>>>) -> bool {
        let members = self.lock();
        let end = members.places.len().min(*next + STRETCH);
        taken.extend(members.places[*next..end].iter().flatten().cloned());
        *next = end;
        end < members.places.len()
    }

    pub(super) fn senders(&self) -> Vec<Sender> {
        let members = self.lock();
        let members = members.places.iter().flatten();
        members.map(|member| member.sender().clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().by_connection.len()
    }

    /// Held for a few hundred members at most.
    fn lock(&self) -> MutexGuard<'_, Members<K>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often a broadcast may yield before the sessions that it has reached are woken.
const MAX_TURNS: usize = 64;
