//! Telling many connections the same.

mod delivery;
mod events;
mod group;
mod index;
mod member;
mod unwoken;

use std::{
    borrow::Borrow,
    collections::HashMap,
    error, fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, PoisonError},
};

use tokio::task::yield_now;

use self::{
    delivery::Totals,
    events::{Change, Subscribers},
    group::Group,
    index::Table,
    member::Member,
    unwoken::Unwoken,
};
pub use self::{
    delivery::{Delivery, SlowMember},
    events::{GroupEvent, GroupEvents},
    member::Membership,
};
use crate::{
    protocol::{Outbound, Prepared},
    session::{ConnectionId, Sender},
    sync::{Mutex, MutexGuard},
};

/// Groups of connections, by a key: rooms, topics, users.
///
/// A group is there as long as it has members: the first who joins makes it. A message is encoded
/// once, and compressed once, for all of them. Cheap to clone; put one into the state of the
/// application.
///
/// ```
/// use tower_websocket::{Error, Groups, WebSocket};
///
/// async fn chat(mut socket: WebSocket, room: String, rooms: Groups) -> Result<(), Error> {
///     let Ok(_membership) = rooms.join(room.clone(), &socket.sender()) else {
///         return Ok(());
///     };
///     while let Some(message) = socket.recv().await? {
///         rooms.broadcast(&room, message).await;
///     }
///     Ok(())
/// }
/// ```
///
/// The key is a `String` unless another one is named, and the compiler has to be told:
/// `let rooms: Groups = Groups::new();`.
///
/// # Members that cannot keep up
///
/// A broadcast waits for nobody. What happens to a member whose send queue is full is decided by
/// [`SlowMember`]; the others notice nothing of it. What a member's own [`Sender::send`] waits to
/// queue may be overtaken by a broadcast.
///
/// # Order
///
/// Every member gets the broadcasts of a group in the same order. A broadcast to many members gives
/// the runtime back after every few hundred of them; joining and leaving go on meanwhile, and who
/// joins during one does not get it.
pub struct Groups<K = String> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    state: Mutex<State<K>>,
    hasher: RandomState,
    slow: Box<dyn Fn(&K) -> SlowMember + Send + Sync>,
    max_groups: Option<usize>,
    totals: Totals,
}

struct State<K> {
    groups: Table<K>,
    /// How many groups each connection is in.
    memberships: HashMap<usize, usize>,
    subscribers: Subscribers<K>,
}

impl<K: Key> Groups<K> {
    /// Makes groups whose slow members are closed with code 1013.
    #[must_use]
    pub fn new() -> Self {
        Self::with(None, |_| SlowMember::default())
    }

    fn with(
        max_groups: Option<usize>,
        slow: impl Fn(&K) -> SlowMember + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            groups: Table::default(),
            memberships: HashMap::new(),
            subscribers: Subscribers::default(),
        };
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                hasher: RandomState::new(),
                slow: Box::new(slow),
                max_groups,
                totals: Totals::default(),
            }),
        }
    }

    /// Starts with other settings than the default ones.
    ///
    /// ```
    /// use tower_websocket::{Groups, SlowMember};
    ///
    /// let rooms: Groups = Groups::builder()
    ///     .max_groups_per_connection(100)
    ///     .slow_members(|room: &String| match room.as_str() {
    ///         "prices" => SlowMember::Conflate,
    ///         _ => SlowMember::default(),
    ///     })
    ///     .build();
    /// ```
    #[must_use]
    pub fn builder() -> GroupsBuilder<K> {
        GroupsBuilder {
            max_groups: None,
            slow: Box::new(|_| SlowMember::default()),
        }
    }

    /// Adds a connection to a group, which is made if it is not there.
    ///
    /// It leaves when the [`Membership`] is dropped, or when its connection ends. Bind it to a name:
    /// `let _ = groups.join(…)` leaves at once. Takes a lock for a moment, and no time that grows
    /// with the number of members.
    ///
    /// # Errors
    ///
    /// The connection has ended, is in the group already, or in as many as it may be.
    pub fn join(&self, key: K, sender: &Sender) -> Result<Membership<K>, JoinError> {
        let hash = self.inner.hasher.hash_one(&key);
        let mut state = self.inner.lock();
        // Whatever may panic of the key and the policy comes before anything is changed.
        let known = state.groups.get(hash, &key);
        if known.as_ref().is_some_and(|group| group.contains(sender)) {
            return Err(JoinError::AlreadyMember);
        }
        let joined = state.memberships.get(&sender.key()).copied().unwrap_or(0);
        if let Some(limit) = self.inner.max_groups.filter(|&limit| joined >= limit) {
            return Err(JoinError::TooManyGroups { limit });
        }
        let created = known.is_none();
        let group = match known {
            // The key is dropped at the end, outside the lock.
            Some(group) => group,
            None => {
                let slow = (self.inner.slow)(&key);
                Arc::new(Group::new(key, hash, slow))
            }
        };
        // From here on no code runs that is not ours, until the lock is released.
        if created {
            state.groups.insert(&group);
            state.subscribers.push(Change::Created, &group);
        }
        let member = Member::new(&self.inner, &group, sender.clone());
        group.add(&member);
        *state.memberships.entry(sender.key()).or_default() += 1;
        state.subscribers.push(Change::Joined(sender.id()), &group);
        let told = state.subscribers.take_told();
        drop(state);
        // Leaves at once where the connection has ended meanwhile.
        let membership = Membership::new(member);
        told.wake();
        if membership.watch() {
            Ok(membership)
        } else {
            Err(JoinError::Closed)
        }
    }

    /// Sends a message to every member of a group.
    ///
    /// Waits for broadcasts to the same group that began before, and yields to the runtime in
    /// between, but never waits for a member. Where there is no such group nobody gets it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the broadcast: some members have got the message, others will not.
    /// A future that was polled, and is neither polled on nor dropped, holds up later broadcasts to
    /// the group.
    pub fn broadcast<Q, M>(
        &self,
        key: &Q,
        message: M,
    ) -> impl Future<Output = Delivery> + Send + use<K, Q, M>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        M: Into<Outbound>,
    {
        self.clone().deliver(self.group(key), message.into(), None)
    }

    /// Sends a message to every member of a group but one; as [`broadcast`](Self::broadcast).
    pub fn broadcast_except<Q, M>(
        &self,
        key: &Q,
        message: M,
        except: &Sender,
    ) -> impl Future<Output = Delivery> + Send + use<K, Q, M>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        M: Into<Outbound>,
    {
        let except = Some(except.key());
        self.clone()
            .deliver(self.group(key), message.into(), except)
    }

    async fn deliver(
        self,
        group: Option<Arc<Group<K>>>,
        message: Outbound,
        except: Option<usize>,
    ) -> Delivery {
        let mut delivery = Delivery::default();
        let Some(group) = group else {
            return delivery;
        };
        let message = Prepared::from(message);
        let _turn = group.turn.lock().await;
        let mut numbers = group.numbers();
        let (mut members, mut sessions) = (Vec::new(), Unwoken::default());
        loop {
            let more = group.take(&mut numbers, &mut members);
            let count = members.len();
            let (mut stretch, mut done) = (Delivery::default(), Vec::new());
            for member in members.drain(..) {
                if Some(member.key()) != except
                    && let Some(session) = member.deliver(&message, &mut stretch, &mut done)
                {
                    sessions.add(member.sender(), session, count);
                }
            }
            group.wake_later(&mut sessions);
            // At once, since the broadcast may be cancelled.
            self.inner.totals.add(stretch);
            delivery.add(stretch);
            // Last, since it may panic.
            drop(done);
            if !more {
                break;
            }
            yield_now().await;
        }
        delivery
    }

    /// The members of a group.
    #[must_use]
    pub fn members<Q>(&self, key: &Q) -> Vec<Sender>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.group(key)
            .map_or_else(Vec::new, |group| group.senders())
    }

    /// How many members a group has.
    #[must_use]
    pub fn member_count<Q>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.group(key).map_or(0, |group| group.len())
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.lock().groups.len()
    }

    /// Whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of all groups, in no order.
    #[must_use]
    pub fn keys(&self) -> Vec<K> {
        let groups = self.inner.lock().groups.all();
        groups.iter().map(|group| group.key.clone()).collect()
    }

    /// Tells of groups and their members from now on.
    #[must_use]
    pub fn events(&self) -> GroupEvents<K> {
        self.inner.lock().subscribers.subscribe()
    }

    /// What all broadcasts so far have come to.
    #[must_use]
    pub fn totals(&self) -> Delivery {
        self.inner.totals.sum()
    }

    fn group<Q>(&self, key: &Q) -> Option<Arc<Group<K>>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.inner.hasher.hash_one(key);
        self.inner.lock().groups.get(hash, key)
    }
}

impl<K> Inner<K> {
    /// Never held over an await or a send.
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key> Inner<K> {
    /// Takes a member out of its group, and the group away with its last one. No code of the key
    /// runs meanwhile.
    fn leave(&self, group: &Arc<Group<K>>, member: &Member<K>, id: Option<ConnectionId>) {
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
        state.subscribers.push(Change::Left(id), group);
        if empty {
            state.groups.remove(group);
            state.subscribers.push(Change::Destroyed, group);
        }
        let told = state.subscribers.take_told();
        drop(state);
        told.wake();
        drop(removed);
    }
}

impl<K> Clone for Groups<K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<K: Key> Default for Groups<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> fmt::Debug for Groups<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups")
            .field("len", &self.inner.lock().groups.len())
            .finish_non_exhaustive()
    }
}

/// Settings of [`Groups`].
pub struct GroupsBuilder<K> {
    max_groups: Option<usize>,
    slow: Box<dyn Fn(&K) -> SlowMember + Send + Sync>,
}

impl<K: Key> GroupsBuilder<K> {
    /// Limits in how many groups a connection may be. Default: `None`, no limit.
    #[must_use]
    pub fn max_groups_per_connection(mut self, groups: impl Into<Option<usize>>) -> Self {
        self.max_groups = groups.into();
        self
    }

    /// Decides for each group, when it is made, what happens to members that cannot keep up.
    ///
    /// The function runs under a lock, and must not use the same [`Groups`]. If it panics, so does
    /// [`Groups::join`], and nothing is changed. Default: [`SlowMember::default`], they are closed
    /// with code 1013.
    #[must_use]
    pub fn slow_members(
        mut self,
        policy: impl Fn(&K) -> SlowMember + Send + Sync + 'static,
    ) -> Self {
        self.slow = Box::new(policy);
        self
    }

    /// Makes the groups.
    #[must_use]
    pub fn build(self) -> Groups<K> {
        Groups::with(self.max_groups, self.slow)
    }
}

impl<K> fmt::Debug for GroupsBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupsBuilder")
            .field("max_groups_per_connection", &self.max_groups)
            .finish_non_exhaustive()
    }
}

/// What a group is known by: anything that can be hashed, cloned and sent.
///
/// `Eq` runs under a lock, and must not use the same [`Groups`]. A key that panics, in whatever it
/// does, leaves nothing half-done.
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Key for K {}

/// Why a connection did not join a group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum JoinError {
    /// The connection has ended. One that is closing may still join.
    Closed,
    /// The connection is in the group already.
    AlreadyMember,
    /// The connection is in as many groups as it may be.
    TooManyGroups {
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection has ended"),
            Self::AlreadyMember => f.write_str("the connection is in the group already"),
            Self::TooManyGroups { limit } => {
                write!(
                    f,
                    "the connection is in {limit} groups, the most it may be in"
                )
            }
        }
    }
}

impl error::Error for JoinError {}

/// How many members a broadcast sends to before others get their turn.
const STRETCH: usize = 256;
