//! What applications hold of all groups.

use std::{borrow::Borrow, fmt, hash::Hash, marker::PhantomData, sync::Arc};

use super::{
    builder::GroupsBuilder,
    content::{Broadcast, Content},
    delivery::{Delivery, SlowMember},
    error::JoinError,
    events::GroupEvents,
    key::{Key, Names},
    member::Membership,
    table::{Found, Table},
};
use crate::{protocol::CloseFrame, session::Sender};

/// Groups of connections, by a key: rooms, topics, users.
///
/// A group exists as long as it has members: the first member makes it. A message is encoded
/// once, and compressed once, for all of them. Groups are cheap to clone; put them into the state of the
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
/// The key is a `String` unless another type is named. The compiler needs the type:
/// `let rooms: Groups = Groups::new();`. If members have a name, or are users, name the type of that data, and
/// [join](Self::join_as) with it: `let rooms: Groups<String, User> = Groups::default();`.
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
///
/// # Many processes
///
/// With the feature `cluster` groups can [span](GroupsBuilder::cluster) the processes of an application. Members of
/// one process then get all broadcasts in the same order. Members of several processes get the broadcasts of each
/// process in its order. [`count`](Self::count) counts the members of all processes; everything else here is about
/// members of this process.
pub struct Groups<K = String, T = ()> {
    pub(super) table: Arc<Table<K>>,
    data: PhantomData<fn() -> T>,
}

impl<K: Key> Groups<K> {
    /// Creates groups whose slow members are closed with code 1013, and whose members have no data.
    ///
    /// For members with data, use `Groups::default()`.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Creates a builder of groups, for other settings than the default ones.
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
            reach: None,
            data: PhantomData,
        }
    }
}

impl<K: Key, T> Groups<K, T> {
    /// Adds a connection to a group, which is made if it is not there.
    ///
    /// The connection leaves when the [`Membership`] is dropped, or when it ends. Bind the membership to a name, such as
    /// `_membership`: `let _ = groups.join(…)` leaves at once. Joining takes a lock for a moment, and no time that
    /// grows with the number of members.
    ///
    /// Members with [data](Self::join_as) are in [`presence`](Self::presence); a [farewell](Membership::on_leave) is
    /// broadcast when the connection has left.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// use tower_websocket::{Groups, groups::JoinError};
    ///
    /// let rooms: Groups = Groups::new();
    /// let membership = rooms.join("lobby".to_owned(), &server.sender())?;
    /// assert_eq!(rooms.member_count("lobby"), 1);
    /// let again = rooms.join("lobby".to_owned(), &server.sender());
    /// assert!(matches!(again, Err(JoinError::AlreadyMember)));
    ///
    /// drop(membership);
    /// assert!(rooms.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The connection has ended, is in the group already, or in as many as it may be.
    #[must_use = "the connection leaves the group when the membership is dropped: `let _membership = …` keeps it, `let _ = …` \
                  drops it at once"]
    pub fn join(&self, key: K, sender: &Sender) -> Result<Membership<K>, JoinError> {
        self.table.join(key, sender, None)
    }

    /// Sends a message to every member of a group.
    ///
    /// The call waits for broadcasts to the same group that began before, and yields to the runtime in
    /// between, but never waits for a member, nor for other processes. If there is no such group, the message is
    /// dropped. To send a message that slow members may miss, use [`Broadcast::droppable`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// use tower_websocket::Groups;
    ///
    /// let rooms: Groups = Groups::new();
    /// let _membership = rooms.join("lobby".to_owned(), &server.sender())?;
    /// let delivery = rooms.broadcast("lobby", "hello, all").await;
    /// assert_eq!((delivery.sent, delivery.dropped, delivery.closed), (1, 0, 0));
    /// assert_eq!(client.recv().await?, Some("hello, all".into()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the broadcast: some members have got the message, others will not. The message is on its way
    /// to other processes before the first member gets it.
    /// A future that was polled, and is neither polled on nor dropped, holds up later broadcasts to
    /// the group.
    pub fn broadcast<Q, M>(
        &self,
        key: &Q,
        message: M,
    ) -> impl Future<Output = Delivery> + Send + use<K, T, Q, M>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Names<K> + ?Sized,
        M: Into<Broadcast>,
    {
        self.begin(key, Content::Message(message.into()), None)
    }

    /// Sends a message to every member of a group but one; as [`broadcast`](Self::broadcast).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// use tower_websocket::Groups;
    ///
    /// let rooms: Groups = Groups::new();
    /// let sender = server.sender();
    /// let _membership = rooms.join("lobby".to_owned(), &sender)?;
    /// let delivery = rooms.broadcast_except("lobby", "I am here", &sender).await;
    /// assert_eq!(delivery.sent, 0); // there is no other member
    /// # Ok(())
    /// # }
    /// ```
    pub fn broadcast_except<Q, M>(
        &self,
        key: &Q,
        message: M,
        except: &Sender,
    ) -> impl Future<Output = Delivery> + Send + use<K, T, Q, M>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Names<K> + ?Sized,
        M: Into<Broadcast>,
    {
        let content = Content::Message(message.into());
        self.begin(key, content, Some(except.clone()))
    }

    /// Closes the connections of all members of a group, which leave it.
    ///
    /// In a cluster these are the members on all nodes. A node that allows others no closes (`ClusterBuilder::remote_close`)
    /// keeps its members, and so does a node that the message does not reach: `Delivery::remote` says whether it was taken
    /// for the others, not what became of it.
    ///
    /// The members get what is in their queues, and so all that was broadcast to the group before; what waits
    /// [beside](SlowMember::DropOldest) a full queue is dropped. The call waits for no member, and takes its turn as a
    /// [`broadcast`](Self::broadcast) does. [`Delivery::closed`] counts the members of this node.
    ///
    /// # Cancel safety
    ///
    /// As that of [`broadcast`](Self::broadcast): the rest of the members stay.
    pub fn close<Q, F>(
        &self,
        key: &Q,
        frame: F,
    ) -> impl Future<Output = Delivery> + Send + use<K, T, Q, F>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Names<K> + ?Sized,
        F: Into<CloseFrame>,
    {
        self.begin(key, Content::Close(frame.into()), None)
    }

    /// Closes the connections of all members of a group but one; as [`close`](Self::close).
    ///
    /// With it a user has one session only, on all nodes: a connection that signs in joins the user's group, waits in a
    /// cluster until that is `Membership::subscribed`, and closes all others.
    pub fn close_except<Q, F>(
        &self,
        key: &Q,
        frame: F,
        except: &Sender,
    ) -> impl Future<Output = Delivery> + Send + use<K, T, Q, F>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Names<K> + ?Sized,
        F: Into<CloseFrame>,
    {
        self.begin(key, Content::Close(frame.into()), Some(except.clone()))
    }

    fn begin<Q>(
        &self,
        key: &Q,
        content: Content,
        except: Option<Sender>,
    ) -> impl Future<Output = Delivery> + Send + use<K, T, Q>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Names<K> + ?Sized,
    {
        self.clone().deliver(self.table.find(key), content, except)
    }

    /// Tells other nodes first, and then the members here: so both have the same order.
    async fn deliver(self, found: Found<K>, content: Content, except: Option<Sender>) -> Delivery {
        // Kept to the end: meanwhile no other connection has its key.
        let key = except.as_ref().map(Sender::key);
        let mut delivery = Delivery::default();
        match found {
            Found::Group(group) => {
                let _turn = group.turn().await;
                if let Some(there) = &group.elsewhere {
                    there.tell(&content, &mut delivery);
                }
                delivery.add(group.bring(&content, key).await);
            }
            Found::Elsewhere(there) => there.tell(&content, &mut delivery),
            Found::Nowhere => {}
        }
        delivery
    }

    /// Returns the members of a group on this node.
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

    /// Returns how many members a group has on this node.
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
    pub fn events(&self) -> GroupEvents<K, T> {
        self.table.lock().subscribers.subscribe()
    }

    /// Returns the sum of the outcomes of all broadcasts so far.
    #[must_use]
    pub fn totals(&self) -> Delivery {
        self.table.totals.sum()
    }
}

impl<K: Key, T> GroupsBuilder<K, T> {
    /// Builds the groups.
    #[must_use]
    pub fn build(self) -> Groups<K, T> {
        let table = Arc::new(Table::new(self.max_groups, self.slow, self.reach));
        table.register();
        Groups {
            table,
            data: PhantomData,
        }
    }
}

impl<K, T> Clone for Groups<K, T> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            data: PhantomData,
        }
    }
}

impl<K: Key, T: Send + Sync + 'static> Default for Groups<K, T> {
    fn default() -> Self {
        Groups::builder().member_data().build()
    }
}

impl<K, T> fmt::Debug for Groups<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups")
            .field("len", &self.table.lock().groups.len())
            .finish_non_exhaustive()
    }
}
