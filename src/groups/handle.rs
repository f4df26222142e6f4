//! What applications hold of all groups.

use std::{borrow::Borrow, fmt, hash::Hash, sync::Arc};

use tokio::task::yield_now;

use super::{
    builder::GroupsBuilder,
    delivery::{Delivery, SlowMember},
    error::JoinError,
    events::GroupEvents,
    group::Group,
    key::Key,
    member::Membership,
    table::Table,
    unwoken::Unwoken,
};
use crate::{
    protocol::{Outbound, PreparedMessage},
    session::Sender,
};

/// Groups of connections, by a key: rooms, topics, users.
///
/// A group is there as long as it has members: the first member makes it. A message is encoded
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
/// A broadcast never waits for a member. [`SlowMember`] decides what happens to one whose send queue
/// is full; the others do not notice. A broadcast may overtake a message that a member's own
/// [`Sender::send`] is still waiting to queue.
///
/// # Order
///
/// Every member gets the broadcasts of a group in the same order. A broadcast to many members
/// yields after every 60 of them. Members may join and leave meanwhile; one that joins
/// during a broadcast does not receive it.
pub struct Groups<K = String> {
    table: Arc<Table<K>>,
}

impl<K: Key> Groups<K> {
    /// Makes groups whose slow members are closed with code 1013.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Makes groups with other settings than the default ones.
    ///
    /// ```
    /// use tower_websocket::{groups::SlowMember, Groups};
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
    /// `let _ = groups.join(…)` leaves at once. Joining takes a lock for a moment, and no time that
    /// grows with the number of members.
    ///
    /// # Errors
    ///
    /// The connection has ended, is in the group already, or in as many as it may be.
    pub fn join(&self, key: K, sender: &Sender) -> Result<Membership<K>, JoinError> {
        self.table.join(key, sender)
    }

    /// Sends a message to every member of a group.
    ///
    /// Waits for broadcasts to the same group that began before, and yields to the runtime in
    /// between, but never waits for a member. If there is no such group, the message is dropped.
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
        self.clone()
            .deliver(self.table.group(key), message.into(), None)
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
            .deliver(self.table.group(key), message.into(), except)
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
        let message = PreparedMessage::from(message);
        let _turn = group.turn().await;
        let (mut numbers, first) = group.begin(except);
        if let Some(first) = first {
            // Not under the lock.
            first.sender().prepare(&message);
        }
        let (mut sessions, mut odd, mut stretches) = (Unwoken::default(), Vec::new(), 0_u32);
        loop {
            let (mut stretch, mut done) = (Delivery::default(), Vec::new());
            stretch.sent = group.deliver(&mut numbers, &message, except, &mut sessions, &mut odd);
            for member in odd.drain(..) {
                if let Some(session) = member.deliver(&message, &mut stretch, &mut done) {
                    sessions.add(member.sender().clone(), session.runtime.as_ref());
                }
            }
            group.wake_later(&mut sessions);
            // At once, since the broadcast may be cancelled.
            self.table.totals.add(stretch);
            delivery.add(stretch);
            // Last, since it may panic.
            drop(done);
            if numbers.is_empty() {
                break;
            }
            stretches += 1;
            if stretches % LONG == 0 {
                group.progress.notify_waiters();
            }
            yield_now().await;
        }
        delivery
    }

    /// Returns the members of a group.
    #[must_use]
    pub fn members<Q>(&self, key: &Q) -> Vec<Sender>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.table
            .group(key)
            .map_or_else(Vec::new, |group| group.senders())
    }

    /// Returns how many members a group has.
    #[must_use]
    pub fn member_count<Q>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.table.group(key).map_or(0, |group| group.len())
    }

    /// Returns how many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().groups.len()
    }

    /// Reports whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the keys of all groups, in no order.
    #[must_use]
    pub fn keys(&self) -> Vec<K> {
        let groups = self.table.lock().groups.all();
        groups.iter().map(|group| group.key.clone()).collect()
    }

    /// Returns the events of all groups and their members from now on.
    #[must_use]
    pub fn events(&self) -> GroupEvents<K> {
        self.table.lock().subscribers.subscribe()
    }

    /// Returns the sum of what all broadcasts so far have come to.
    #[must_use]
    pub fn totals(&self) -> Delivery {
        self.table.totals.sum()
    }
}

impl<K: Key> GroupsBuilder<K> {
    /// Makes the groups.
    #[must_use]
    pub fn build(self) -> Groups<K> {
        Groups {
            table: Arc::new(Table::new(self.max_groups, self.slow)),
        }
    }
}

impl<K> Clone for Groups<K> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
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
            .field("len", &self.table.lock().groups.len())
            .finish_non_exhaustive()
    }
}

/// After so many stretches a broadcast is a long one: what it has queued so far leaves meanwhile.
const LONG: u32 = 32;
