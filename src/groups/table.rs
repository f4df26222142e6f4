//! What groups share: who is in which, joining and leaving.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use super::{
    data::Data,
    delivery::{SlowMember, Totals},
    elsewhere::{Elsewhere, Reach},
    error::JoinError,
    events::{GroupChange, Subscribers, Who},
    group::{Group, Home},
    index::Index,
    key::{Key, Names},
    member::{Member, Membership},
};
#[cfg(feature = "cluster")]
use crate::cluster::Gap;
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
    reach: Option<Reach<K>>,
    pub(super) totals: Totals,
}

/// Whom a broadcast is for.
pub(super) enum Found<K> {
    /// A group with members here.
    Group(Arc<Group<K>>),
    /// A group that has its members on other nodes, if anywhere.
    Elsewhere(Elsewhere),
    /// No group here, and none elsewhere: the topic of the key would be too long, if there is a cluster.
    Nowhere,
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
        reach: Option<Reach<K>>,
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
            reach,
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
    /// Tells the cluster of these groups, if they are in one.
    pub(super) fn register(self: &Arc<Self>) {
        if let Some(reach) = &self.reach {
            reach.register(self);
        }
    }

    /// Finds out whom a broadcast is for.
    pub(super) fn find<Q>(&self, key: &Q) -> Found<K>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Names<K> + ?Sized,
    {
        if let Some(group) = self.group(key) {
            return Found::Group(group);
        }
        let there = self.reach.as_ref();
        match there.map(|reach| reach.elsewhere(key)) {
            Some(Ok(elsewhere)) => Found::Elsewhere(elsewhere),
            Some(Err(_)) | None => Found::Nowhere,
        }
    }

    /// Returns where a group that is to be made will be on other nodes.
    fn free_topic(&self, key: &K) -> Result<Option<Elsewhere>, JoinError> {
        let there = self.reach.as_ref().map(|reach| reach.elsewhere(key));
        let there = there.transpose()?;
        if there.as_ref().is_some_and(Elsewhere::is_taken) {
            return Err(JoinError::TopicTaken);
        }
        Ok(there)
    }

    /// Adds a connection to a group, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// Those of [`Groups::join`](crate::Groups::join).
    pub(super) fn join(
        self: &Arc<Self>,
        key: K,
        sender: &Sender,
        data: Option<Data>,
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
                let elsewhere = self.free_topic(&key)?;
                Arc::new(Group::new(key, hash, slow, self.clone(), elsewhere))
            }
        };
        // From here on no code runs that is not ours, until the lock is released.
        let mut wanting = None;
        if created {
            state.groups.insert(&group);
            state.subscribers.push(|| GroupChange::Created, &group);
            let there = group.elsewhere.as_ref();
            wanting = there.map(|there| there.want(&group));
        }
        let member = group.add(sender.clone(), data);
        *state.memberships.entry(sender.key()).or_default() += 1;
        let joined = || GroupChange::Joined(Who::new(&member));
        state.subscribers.push(joined, &group);
        let heard = state.subscribers.take_heard();
        drop(state);
        // Leaves at once if the connection has ended meanwhile.
        let membership = Membership::new(member);
        // First what cannot panic.
        if let Some(wanting) = wanting {
            wanting.wake();
        }
        heard.wake();
        if membership.watch() {
            Ok(membership)
        } else {
            Err(JoinError::Closed)
        }
    }
}

impl<K: Key> Home<K> for Table<K> {
    /// No code of the key runs under the lock.
    fn leave(&self, group: &Arc<Group<K>>, member: &Member<K>) -> bool {
        let mut state = self.lock();
        let (removed, empty) = group.remove(member);
        if removed.is_none() {
            return false;
        }
        let key = member.key();
        if let Some(count) = state.memberships.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                state.memberships.remove(&key);
            }
        }
        let left = || GroupChange::Left(Who::new(member));
        state.subscribers.push(left, group);
        let mut wanting = None;
        if empty {
            state.groups.remove(group);
            state.subscribers.push(|| GroupChange::Destroyed, group);
            wanting = group.elsewhere.as_ref().map(Elsewhere::stop);
        }
        let heard = state.subscribers.take_heard();
        drop(state);
        // First what cannot panic.
        if let Some(wanting) = wanting {
            wanting.wake();
        }
        heard.wake();
        drop(removed);
        true
    }

    fn totals(&self) -> &Totals {
        &self.totals
    }

    #[cfg(feature = "cluster")]
    fn missed(&self, gap: Gap, group: &Arc<Group<K>>) {
        let mut state = self.lock();
        state.subscribers.push(|| GroupChange::Gap(gap), group);
        let heard = state.subscribers.take_heard();
        drop(state);
        heard.wake();
    }
}
