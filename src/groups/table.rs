//! What groups share: who is in which, joining and leaving.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use super::{
    delivery::{SlowMember, Totals},
    error::JoinError,
    events::{GroupChange, Subscribers},
    group::{Group, Home},
    index::Index,
    key::Key,
    member::{Member, Membership},
};
use crate::{
    lock::{Lock, LockGuard},
    session::Sender,
};

/// All groups of one [`Groups`](crate::Groups), with what was set for them.
pub(super) struct Table<K> {
    state: Lock<TableState<K>>,
    hasher: RandomState,
    slow: Box<dyn Fn(&K) -> SlowMember + Send + Sync>,
    max_groups: Option<usize>,
    pub(super) totals: Totals,
}

pub(super) struct TableState<K> {
    pub(super) groups: Index<K>,
    /// How many groups each connection is in.
    memberships: BTreeMap<usize, usize>,
    pub(super) subscribers: Subscribers<K>,
}

impl<K> Table<K> {
    pub(super) fn new(
        max_groups: Option<usize>,
        slow: Box<dyn Fn(&K) -> SlowMember + Send + Sync>,
    ) -> Self {
        let state = TableState {
            groups: Index::default(),
            memberships: BTreeMap::new(),
            subscribers: Subscribers::default(),
        };
        Self {
            state: Lock::new(state),
            hasher: RandomState::new(),
            slow,
            max_groups,
            totals: Totals::default(),
        }
    }

    /// Locks the state, never over an await or a send.
    ///
    /// Of the application's code, `Eq` of the key and the policy run under it, and both before anything
    /// is changed.
    pub(super) fn lock(&self) -> LockGuard<'_, TableState<K>> {
        self.state.lock()
    }

    /// Finds a group. The key is hashed outside the lock.
    pub(super) fn group<Q>(&self, key: &Q) -> Option<Arc<Group<K>>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        self.lock().groups.get(hash, key)
    }
}

impl<K: Key> Table<K> {
    /// Adds a connection to a group, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// Those of [`Groups::join`](crate::Groups::join).
    pub(super) fn join(
        self: &Arc<Self>,
        key: K,
        sender: &Sender,
    ) -> Result<Membership<K>, JoinError> {
        let hash = self.hasher.hash_one(&key);
        let mut state = self.lock();
        // Whatever may panic of the key and the policy comes before anything is changed.
        let known = state.groups.get(hash, &key);
        if known.as_ref().is_some_and(|group| group.contains(sender)) {
            return Err(JoinError::AlreadyMember);
        }
        let joined = state.memberships.get(&sender.key()).copied().unwrap_or(0);
        if let Some(limit) = self.max_groups.filter(|&limit| joined >= limit) {
            return Err(JoinError::TooManyGroups { limit });
        }
        let created = known.is_none();
        let group = match known {
            // The key is dropped at the end, outside the lock.
            Some(group) => group,
            None => {
                let slow = (self.slow)(&key);
                Arc::new(Group::new(key, hash, slow, self.clone()))
            }
        };
        // From here on no code runs that is not ours, until the lock is released.
        if created {
            state.groups.insert(&group);
            state.subscribers.push(GroupChange::Created, &group);
        }
        let member = group.add(sender.clone());
        *state.memberships.entry(sender.key()).or_default() += 1;
        state
            .subscribers
            .push(GroupChange::Joined(sender.id()), &group);
        let told = state.subscribers.take_told();
        drop(state);
        // Leaves at once if the connection has ended meanwhile.
        let membership = Membership::new(member);
        told.wake();
        if membership.watch() {
            Ok(membership)
        } else {
            Err(JoinError::Closed)
        }
    }
}

impl<K: Key> Home<K> for Table<K> {
    /// No code of the key runs under the lock.
    fn leave(&self, group: &Arc<Group<K>>, member: &Member<K>) {
        let mut state = self.lock();
        let (removed, empty) = group.remove(member);
        if removed.is_none() {
            return;
        }
        let key = member.key();
        if let Some(count) = state.memberships.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                state.memberships.remove(&key);
            }
        }
        let left = GroupChange::Left(member.sender().id());
        state.subscribers.push(left, group);
        if empty {
            state.groups.remove(group);
            state.subscribers.push(GroupChange::Destroyed, group);
        }
        let told = state.subscribers.take_told();
        drop(state);
        told.wake();
        drop(removed);
    }
}
