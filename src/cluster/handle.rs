//! What applications hold of a cluster.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    address::Address,
    counters::ClusterCounters,
    envelope::Carried,
    event_stream::ClusterEvents,
    events::{Node, Remote},
    hub::{Hub, now},
    node_id::NodeId,
    topic::TopicPrefix,
};
use crate::{
    protocol::{CloseFrame, Outbound},
    session::{Connections, Sender},
};

/// This process as a node of a cluster: [`Groups`](crate::Groups) that are built with it span all nodes.
///
/// It is cheap to clone. When the last clone is dropped, and the last [`Groups`](crate::Groups) that were built with
/// it, the node leaves as with [`leave`](Self::leave).
///
/// ```
/// # #[cfg(feature = "testing")]
/// # {
/// use tower_websocket::{Groups, cluster::{Cluster, Memory, Remote}};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn run() {
/// let cluster = Cluster::start("shop", Memory::new()); // or a Redis, or a NATS
/// cluster.connected().await;
/// assert!(cluster.counters().connected);
///
/// let rooms: Groups = Groups::builder().cluster(&cluster, "rooms").build();
/// let delivery = rooms.broadcast("lobby", "hello, all nodes").await;
/// assert!(!delivery.remote.is_refused());
///
/// let nodes = cluster.nodes();
/// assert_eq!(nodes.len(), 1); // this one
/// assert_eq!(nodes[0].id, cluster.id());
/// assert_eq!(cluster.connections(), 0); // none are attached
/// cluster.leave().await;
/// # }
/// # run();
/// # }
/// ```
#[derive(Clone)]
pub struct Cluster {
    pub(super) stay: Arc<Stay>,
}

/// A node's stay in the cluster, until this is dropped.
pub(super) struct Stay {
    pub(super) hub: Arc<Hub>,
    pub(super) name: Box<str>,
    pub(super) engine: &'static str,
    pub(super) leave_timeout: Duration,
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.hub.with(|state, now| state.core.leave(now));
    }
}

impl Cluster {
    /// Waits until there is a connection to the engine and all topics are subscribed, or the node has left.
    ///
    /// It does not wait for topics that the engine denies, or cannot reach.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn connected(&self) -> impl Future<Output = ()> + Send + use<> {
        self.stay.hub.clone().connected()
    }

    /// Attaches these connections: other nodes may send to them and close them.
    ///
    /// [`connections`](Self::connections) counts them. If several registries are attached, the numbers of their connections
    /// must be different: they are, unless they are [sequential](Connections::sequential).
    ///
    /// ```
    /// # #[cfg(feature = "testing")]
    /// # {
    /// use tower_websocket::{
    ///     Config, Connections, WebSocket,
    ///     cluster::{Cluster, Memory},
    ///     protocol::Role,
    ///     session::Sessions,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let connections = Connections::new();
    /// let cluster = Cluster::start("shop", Memory::new());
    /// cluster.attach(&connections);
    ///
    /// let (here, there) = tokio::io::duplex(4096);
    /// let socket = Sessions::new(Role::Server).connections(&connections).over(here).spawn()?;
    /// let mut client = WebSocket::over(there, Role::Client).spawn()?;
    ///
    /// let address = cluster.address(&socket.sender()).expect("it has a number");
    /// let _remote = cluster.send(address, "for you"); // on every node
    /// assert_eq!(client.recv().await?, Some("for you".into()));
    /// # Ok(())
    /// # }
    /// # run().unwrap();
    /// # }
    /// ```
    pub fn attach(&self, connections: &Connections) {
        let connections = connections.clone();
        self.stay.hub.with(|state, _| {
            let is_new = !state
                .attached
                .iter()
                .any(|other| other.is_same(&connections));
            if is_new {
                state.attached.push(connections.clone());
            }
        });
    }

    /// Returns the address of a connection of this node.
    ///
    /// It is `None` if the connection is registered in no [`Connections`], and so has no number. Other nodes can use it only
    /// if those are [attached](Self::attach).
    #[must_use]
    pub fn address(&self, sender: &Sender) -> Option<Address> {
        Some(Address {
            node: self.id(),
            connection: sender.id()?,
        })
    }

    /// Sends a message to one connection, on whatever node it is.
    ///
    /// It does not wait. A message for a connection that has ended, or whose send queue is full, is
    /// dropped without a report. It returns [`Remote::Local`] if the connection would be one of this node.
    pub fn send(&self, address: Address, message: impl Into<Outbound>) -> Remote {
        self.tell(
            Carried::MessageTo(address.connection, message.into()),
            address.node,
        )
    }

    /// Closes one connection, on whatever node it is; as [`send`](Self::send).
    pub fn close(&self, address: Address, frame: impl Into<CloseFrame>) -> Remote {
        let frame = Some(frame.into());
        self.tell(
            Carried::CloseConnection(address.connection, frame),
            address.node,
        )
    }

    fn tell(&self, carried: Carried, node: NodeId) -> Remote {
        let hub = &self.stay.hub;
        if node == self.id() {
            hub.tell_connection(carried);
            return Remote::Local;
        }
        hub.with(|state, now| {
            let topic = state.core.topic_of(node);
            state.core.publish(&topic, &carried, now)
        })
    }

    /// Returns the number of this node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.stay.hub.with(|state, _| state.core.id())
    }

    /// Returns the live nodes, this one first.
    ///
    /// The state of the others is that of their last heartbeat, which comes every 5 seconds by default.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.stay.hub.weigh();
        self.stay.hub.with(|state, _| state.core.nodes(now()))
    }

    /// Returns how many connections the live nodes have.
    ///
    /// Those of this node are counted now, those of the others at their last heartbeat. Only connections that are
    /// [attached](Self::attach) count.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.stay.hub.weigh();
        self.stay.hub.with(|state, _| state.core.connections())
    }

    /// Returns the events of the cluster from now on.
    #[must_use]
    pub fn events(&self) -> ClusterEvents {
        self.stay.hub.events()
    }

    /// Returns what was counted so far, and the current state.
    #[must_use]
    pub fn counters(&self) -> ClusterCounters {
        self.stay.hub.with(|state, _| state.core.counters())
    }

    /// Leaves the cluster: sends what is queued for other nodes, then says goodbye to them.
    ///
    /// Without the goodbye they find out later. It takes 2 seconds at most.
    /// Groups go on among the members of this node. Call it after a [drain](Connections::drain).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop it.
    pub fn leave(&self) -> impl Future<Output = ()> + Send + use<> {
        let hub = self.stay.hub.clone();
        let limit = self.stay.leave_timeout;
        hub.with(|state, now| state.core.leave(now));
        async move {
            hub.left(limit).await;
        }
    }
}

/// For [groups](crate::groups).
impl Cluster {
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.stay.hub
    }

    /// Returns what the topics of groups begin with.
    ///
    /// # Panics
    ///
    /// The name is none.
    pub(crate) fn prefix(&self, groups: &str) -> TopicPrefix {
        match TopicPrefix::new(&self.stay.name, groups) {
            Ok(prefix) => prefix,
            Err(error) => panic!("groups cannot be called {groups:?}: {error}"),
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.stay.name)
            .field("engine", &self.stay.engine)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
