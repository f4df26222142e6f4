//! Members with something that the application knows of them, and those that are taken out.

use std::{borrow::Borrow, hash::Hash, sync::Arc};

use super::{
    content::Broadcast, error::JoinError, farewell::Farewell, handle::Groups, key::Key,
    member::Membership,
};
use crate::session::Sender;

impl<K: Key, T: Send + Sync + 'static> Groups<K, T> {
    /// Adds a connection to a group, as [`join`](Self::join), with data that others want to know of the member.
    ///
    /// The data, such as a name or a user, is in [`presence`](Self::presence) and in the [events](Self::events) of the group
    /// while the connection is a member. Its type is that of the groups:
    ///
    /// ```
    /// use tower_websocket::{Error, Groups, WebSocket};
    ///
    /// struct User {
    ///     name: String,
    /// }
    ///
    /// #[derive(Clone, Default)]
    /// struct App {
    ///     rooms: Groups<String, User>,
    /// }
    ///
    /// async fn chat(mut socket: WebSocket, room: String, user: User, app: App) -> Result<(), Error> {
    ///     let farewell = format!("{} has left", user.name);
    ///     let Ok(membership) = app.rooms.join_as(room.clone(), &socket.sender(), user) else {
    ///         return Ok(());
    ///     };
    ///     let _membership = membership.on_leave(farewell);
    ///     for (_sender, user) in app.rooms.presence(&room) {
    ///         socket.send(format!("{} is here", user.name)).await?;
    ///     }
    ///     while let Some(message) = socket.recv().await? {
    ///         app.rooms.broadcast(&room, message).await;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`join`](Self::join); then `data` is dropped.
    #[must_use = "the connection leaves the group when the membership is dropped: `let _membership = …` keeps it, `let _ = …` \
                  drops it at once"]
    pub fn join_as(&self, key: K, sender: &Sender, data: T) -> Result<Membership<K>, JoinError> {
        self.table.join(key, sender, Some(Arc::new(data)))
    }

    /// Returns the members of a group that [joined with data](Self::join_as), and their data.
    ///
    /// They are in the order in which they joined. A user with two connections, such as two tabs, is there twice. To list
    /// each user once, fold the members by the user's id, and report that a user has left once the last member has:
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use tower_websocket::{Groups, groups::GroupEvent};
    ///
    /// struct User {
    ///     id: u64,
    ///     name: String,
    /// }
    ///
    /// /// The people in a room: each user by name, with the number of tabs.
    /// fn people(rooms: &Groups<String, User>, room: &str) -> BTreeMap<u64, (String, usize)> {
    ///     let mut people = BTreeMap::new();
    ///     for (_sender, user) in rooms.presence(room) {
    ///         people.entry(user.id).or_insert((user.name.clone(), 0)).1 += 1;
    ///     }
    ///     people
    /// }
    ///
    /// /// Tells rooms when users come and go, once for all tabs: a task that begins before the first joins.
    /// async fn tell(rooms: Groups<String, User>) {
    ///     let mut tabs = BTreeMap::new();
    ///     let mut events = rooms.events();
    ///     loop {
    ///         let (room, member, joined) = match events.recv().await {
    ///             GroupEvent::Joined(room, member) => (room, member, true),
    ///             GroupEvent::Left(room, member) => (room, member, false),
    ///             _ => continue,
    ///         };
    ///         let Some(user) = member.data() else {
    ///             continue; // joined without data
    ///         };
    ///         let count: &mut usize = tabs.entry((room.clone(), user.id)).or_default();
    ///         *count = if joined { *count + 1 } else { count.saturating_sub(1) };
    ///         match (joined, *count) {
    ///             (true, 1) => rooms.broadcast(&room, format!("{} is here", user.name)).await,
    ///             (false, 0) => {
    ///                 tabs.remove(&(room.clone(), user.id));
    ///                 rooms.broadcast(&room, format!("{} has left", user.name)).await
    ///             }
    ///             _ => continue, // another tab
    ///         };
    ///     }
    /// }
    /// ```
    ///
    /// These are the members of this node. If groups [span](super::GroupsBuilder::cluster) several nodes,
    /// [`count`](Self::count) returns how many members there are on all of them. Keep a list of them in a store that all
    /// nodes read, or have members broadcast that they join and leave.
    #[must_use]
    pub fn presence<Q>(&self, key: &Q) -> Vec<(Sender, Arc<T>)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let Some(group) = self.table.group(key) else {
            return Vec::new();
        };
        let all = group.members().into_iter();
        all.filter_map(|member| {
            // No other type comes in by `join_as`.
            let data = member.data()?.clone().downcast().ok()?;
            Some((member.sender().clone(), data))
        })
        .collect()
    }
}

impl<K: Key, T> Groups<K, T> {
    /// Removes a connection from a group, and returns whether it was a member.
    ///
    /// The connection stays open. It gets nothing of the group any longer, except messages that are queued already or are
    /// being broadcast at this moment. Its [`Membership`], which may still be held, has no effect from then on; the
    /// connection may [join](Self::join) again. To end the connection as well, [close](Sender::close) it.
    ///
    /// ```
    /// # use tower_websocket::{CloseCode, ConnectionId, Connections, Groups};
    /// # fn kick(rooms: &Groups, connections: &Connections, id: ConnectionId) {
    /// if let Some(member) = connections.get(id) {
    ///     rooms.remove("lobby", &member);
    ///     member.close((CloseCode::POLICY_VIOLATION, "no spam here"));
    /// }
    /// # }
    /// ```
    pub fn remove<Q>(&self, key: &Q, sender: &Sender) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let group = self.table.group(key);
        let member = group.and_then(|group| group.member(sender));
        member.is_some_and(|member| member.leave().was_member)
    }
}

impl<K: Key> Membership<K> {
    /// Sets a farewell, which is broadcast to the group when the connection has left it in any way.
    ///
    /// The ways are: the membership is dropped, the handler returns or panics, the connection ends, is closed as too
    /// slow or is [removed](crate::Groups::remove), or the group is [closed](crate::Groups::close). The farewell is broadcast once,
    /// behind what the member has broadcast before, to all members that are left, also on other nodes, and never to the
    /// connection itself. If the connection has left already, it is broadcast now. If a farewell is set again, the last
    /// one counts.
    ///
    /// ```
    /// # use tower_websocket::{Error, Groups, WebSocket, groups::JoinError};
    /// # async fn chat(mut socket: WebSocket, rooms: Groups, name: String) -> Result<(), Error> {
    /// # let join = || -> Result<_, JoinError> {
    /// let membership = rooms.join("lobby".to_owned(), &socket.sender())?;
    /// let membership = membership.on_leave(format!("{name} has left"));
    /// # Ok(membership) };
    /// # let Ok(_membership) = join() else { return Ok(()) };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A connection that is being closed has left when it is over: once the peer has answered, or after
    /// [`Config::close_timeout`](crate::Config::close_timeout). The outcome of the broadcast is in
    /// [`totals`](crate::Groups::totals) alone. The code that ends the membership broadcasts it, or a task of the runtime
    /// in which that code runs; outside of a runtime, a task of the runtime in which `on_leave` was called. Other
    /// broadcasts of the group wait behind it, and so for that runtime, which has to run. A runtime that has ended
    /// broadcasts no farewell, nor does a process that is killed.
    ///
    /// It is a broadcast as any other, by the [policy](super::SlowMember) of the group: if that keeps only the latest
    /// message for a slow member, a farewell takes the place of the latest one. Then make the farewell
    /// [droppable](Broadcast::droppable), or broadcast it to another group. A farewell takes about 100 bytes beside its
    /// message while it waits, and each member that leaves is one broadcast. If many members of a group of thousands leave
    /// at once, the next broadcast waits behind as many. There, broadcast a list of the members now and then instead.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    #[track_caller]
    pub fn on_leave(self, message: impl Into<Broadcast>) -> Self {
        let farewell = Farewell::new(message.into());
        self.member().set_farewell(farewell);
        self
    }
}
