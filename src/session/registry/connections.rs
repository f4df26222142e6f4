//! The connections that are open: to be counted, found and sent to from anywhere.

use std::{fmt, sync::Arc};

use tokio::task::yield_now;

use super::{
    closing::Closing,
    counters::Counters,
    entry::{Entry, Place},
    shards::{Registry, SHARDS},
};
use crate::{
    handshake::{RETRY_AFTER_REFUSAL, Rejection},
    protocol::CloseFrame,
    session::{handle::Sender, id::ConnectionId},
    sync::atomic::{AtomicU64, Ordering},
};

/// The open connections of one layer or of several.
///
/// Hand a clone to [`WebSocketLayer::connections`](crate::WebSocketLayer::connections), and use
/// another one anywhere: to count connections, to look one up, to send to them, and to close them
/// when the server stops. A connection that has ended is removed by itself.
///
/// ```
/// use axum::{Router, extract::{Path, State}, http::StatusCode, routing::{any, post}};
/// use tower_websocket::{Connections, WebSocket, WebSocketLayer, handler};
///
/// async fn listen(mut socket: WebSocket) {
///     while let Ok(Some(_)) = socket.recv().await {}
/// }
///
/// async fn notify(
///     State(connections): State<Connections>,
///     Path(id): Path<String>,
///     text: String,
/// ) -> StatusCode {
///     let socket = id.parse().ok().and_then(|id| connections.get(id));
///     match socket.map(|socket| socket.try_send(text)) {
///         Some(Ok(())) => StatusCode::ACCEPTED,
///         Some(Err(_)) => StatusCode::SERVICE_UNAVAILABLE,
///         None => StatusCode::NOT_FOUND,
///     }
/// }
///
/// let connections = Connections::new();
/// let layer = WebSocketLayer::new(handler(listen)).connections(&connections);
/// let app: Router = Router::new()
///     .route("/listen", any(async || "a page").layer(layer))
///     .route("/notify/{id}", post(notify))
///     .with_state(connections);
/// ```
///
/// Each connection is a [`Sender`], which has [what is known of the peer](Sender::info) if that is kept, and
/// [what the application keeps with it](Sender::data).
///
/// It costs about 150 bytes per connection.
#[derive(Clone)]
pub struct Connections {
    registry: Arc<Registry>,
}

impl Connections {
    /// Creates a registry whose connections have numbers drawn at random.
    #[must_use]
    pub fn new() -> Self {
        Self::with_next(None)
    }

    /// Creates a registry whose connections are numbered from 1 on.
    ///
    /// It is for applications whose clients never see the numbers, or may guess them.
    #[must_use]
    pub fn sequential() -> Self {
        Self::with_next(Some(AtomicU64::new(1)))
    }

    fn with_next(next: Option<AtomicU64>) -> Self {
        Self {
            registry: Arc::new(Registry::new(next)),
        }
    }

    /// Returns how many connections are open, which means that their transport has not ended.
    ///
    /// The handler of a connection that has ended may still run, and [`drain`](Self::drain) waits for it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.registry.open.load(Ordering::Relaxed)
    }

    /// Reports whether no connection is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the connection with this number, if it is open.
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<Sender> {
        self.find(id).filter(|sender| !sender.is_over())
    }

    /// Iterates over the connections, in no order.
    ///
    /// Connections that open meanwhile may be among them or not. No lock is held between two of them, so
    /// sending to them holds up nothing else. To send the same to all, [`broadcast`](Self::broadcast) is
    /// kinder to the runtime, and to send to some of them, a [group](crate::Groups).
    pub fn iter(&self) -> impl Iterator<Item = Sender> + Send + use<> {
        self.sessions().filter(|sender| !sender.is_over())
    }

    /// Iterates over the sessions, those among them whose transport is gone and whose handler runs
    /// on.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = Sender> + Send + use<> {
        let (ids, registry) = (self.registry.clone(), self.registry.clone());
        let ids = (0..SHARDS).flat_map(move |index| ids.ids(index));
        ids.filter_map(move |id| registry.find(id))
    }

    /// Returns the numbers of all sessions, by shard. Yields after each that is not empty.
    pub(crate) async fn ids(&self) -> [Vec<ConnectionId>; SHARDS] {
        let mut all = [const { Vec::new() }; SHARDS];
        for (index, ids) in all.iter_mut().enumerate() {
            *ids = self.registry.ids(index);
            if !ids.is_empty() {
                yield_now().await;
            }
        }
        all
    }

    /// Waits for the turn of a broadcast to all.
    pub(crate) async fn turn(&self) -> impl Sized {
        self.registry.broadcasts.lock().await
    }

    /// Finds a session, also one whose transport is gone and whose handler runs on.
    pub(super) fn find(&self, id: ConnectionId) -> Option<Sender> {
        self.registry.find(id)
    }

    /// Returns what has happened so far.
    ///
    /// The example `metrics` writes it as text for Prometheus.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// use tower_websocket::{Connections, session::Sessions};
    ///
    /// let connections = Connections::new();
    /// let sessions = Sessions::new(Role::Server).connections(&connections);
    /// let (here, there) = tokio::io::duplex(4096);
    /// let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// let socket = sessions.over(here).spawn()?;
    ///
    /// socket.send("news").await?;
    /// assert_eq!(client.recv().await?, Some("news".into()));
    /// let counters = connections.counters();
    /// assert_eq!((counters.open, counters.messages_sent), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.registry.counting.snapshot(self.len())
    }

    /// Reports whether handshakes are refused because [`drain`](Self::drain) was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.registry.doors.closed().is_some()
    }

    /// Returns how handshakes are refused since then.
    pub(crate) fn refusal(&self) -> Option<Rejection> {
        self.registry.doors.closed().map(Closing::rejection)
    }

    /// Refuses handshakes from now on, and closes what opens nevertheless.
    pub(super) fn start_draining(&self, closing: Closing) {
        // The first drain decides.
        self.registry.doors.close(closing);
        self.registry.draining.notify_waiters();
    }

    /// Ends the connections that are in no list; returns how many there are.
    pub(super) fn abort_unlisted(&self) -> usize {
        // Before they are told, as they are gone soon after.
        let left = self.registry.unlisted.load(Ordering::Relaxed);
        self.registry.aborting.notify_waiters();
        left
    }

    /// Returns what connections are closed with since they are drained.
    pub(crate) fn farewell(&self) -> Option<CloseFrame> {
        self.registry
            .doors
            .closed()
            .map(|closing| closing.frame.clone())
    }

    /// Returns how many connections there are whose handler may still run.
    pub(crate) fn alive(&self) -> usize {
        self.registry.doors.inside()
    }

    /// Waits until there is none.
    pub(crate) async fn wait_until_gone(&self) {
        self.registry.wait_until_empty().await;
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.registry, &other.registry)
    }

    pub(crate) fn refuse(&self, rejection: &Rejection) {
        self.registry.counting.refuse(rejection.name());
    }

    pub(crate) fn refuse_by_hook(&self) {
        self.registry.counting.refuse("Hook");
    }

    /// Takes note that a handshake is accepted.
    ///
    /// # Errors
    ///
    /// Connections are drained.
    pub(crate) fn accept(&self) -> Result<Place, Rejection> {
        if !self.registry.doors.enter() {
            // They are closed with the reason why.
            let why = self.refusal();
            return Err(why.unwrap_or(Rejection::Draining {
                retry_after: RETRY_AFTER_REFUSAL,
            }));
        }
        self.registry.counting.accept();
        Ok(Place::new(Entry::new(
            self.registry.next_id(),
            self.registry.clone(),
        )))
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("len", &self.len())
            .field("draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn accept(connections: &Connections, count: usize) -> Vec<u64> {
        let places = (0..count).map(|_| connections.accept().unwrap());
        let ids = places.map(|place| place.id().unwrap().as_u64());
        ids.collect()
    }

    #[test]
    fn numbers_are_unique_and_in_no_order() {
        let connections = Connections::new();
        let ids = accept(&connections, 10_000);
        let unique: HashSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len());
        let rising = ids.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((4_000..6_000).contains(&rising), "{rising}");
        // All of the 64 bits are drawn.
        for bit in 0..64 {
            let set = ids.iter().filter(|id| *id >> bit & 1 == 1).count();
            assert!((4_500..5_500).contains(&set), "{set} times bit {bit}");
        }
    }

    #[test]
    fn numbers_count_from_one_where_that_is_asked_for() {
        let connections = Connections::sequential();
        let expected: Vec<_> = (1..=1000).collect();
        let clone = connections.clone();
        assert_eq!(accept(&connections, 1000), expected);
        assert_eq!(accept(&clone, 1), [1001]);
    }

    #[test]
    fn place_that_is_not_taken_is_a_failed_upgrade() {
        let connections = Connections::new();
        let place = connections.accept().unwrap();
        assert_eq!((connections.alive(), connections.len()), (1, 0));
        drop(place);
        accept(&connections, 10);
        assert_eq!((connections.alive(), connections.len()), (0, 0));
        let counters = connections.counters();
        assert_eq!((counters.accepted, counters.failed_upgrades), (11, 11));
    }

    #[test]
    fn nothing_is_accepted_once_connections_are_drained() {
        let connections = Connections::new();
        let before = connections.accept();
        connections.start_draining(Closing {
            frame: crate::CloseCode::GOING_AWAY.into(),
            retry_after: RETRY_AFTER_REFUSAL,
        });
        assert!(connections.accept().is_err());
        assert_eq!(connections.alive(), 1);
        drop(before);
        assert_eq!(connections.alive(), 0);
        assert_eq!(connections.counters().accepted, 1);
    }
}
