//! Settings of a node.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tracing::{Instrument, info_span};

use super::{
    core::Core,
    delivering::deliver_all,
    engine::Backplane,
    handle::{Cluster, Stay},
    hub::{Hub, now},
    node_id::NodeId,
    serving::serve_line,
    settings::ClusterSettings,
};

/// Settings of a node in a [`Cluster`]. Made by [`Cluster::builder`].
///
/// Every limit is one of this node, whatever those of the others are.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClusterBuilder {
    name: Box<str>,
    settings: ClusterSettings,
}

impl Cluster {
    /// Begins to take part in the cluster of this name, over an engine; as
    /// [`builder`](Self::builder) with the default settings.
    ///
    /// Neither waits nor fails for want of the engine: see [`connected`](Self::connected).
    ///
    /// # Panics
    ///
    /// If the name is not 1 to 32 of the characters `a`–`z`, `0`–`9` and `-`, or outside a runtime of tokio.
    #[must_use]
    pub fn start(name: &str, engine: impl Backplane) -> Self {
        Self::builder(name).start(engine)
    }

    /// Makes the settings of a node in the cluster of this name.
    ///
    /// All nodes with the same name and engine are one cluster: one name for each application and
    /// environment.
    pub fn builder(name: &str) -> ClusterBuilder {
        ClusterBuilder {
            name: name.into(),
            settings: ClusterSettings::default(),
        }
    }
}

impl ClusterBuilder {
    /// Names this node, for people who look at [`Cluster::nodes`]. Other nodes are told the first 64 bytes.
    /// Default: no name.
    pub fn node_name(mut self, name: impl Into<Box<str>>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Limits the bytes that wait for the engine or its answer; beyond it a broadcast is
    /// [`Full`](super::Remote::Full) for other nodes. Default: 8 MiB.
    pub fn max_queue(mut self, bytes: usize) -> Self {
        self.settings.max_queue = bytes;
        self
    }

    /// Limits the messages that wait for the engine or its answer, as [`max_queue`](Self::max_queue) does
    /// their bytes. Default: 65,536.
    pub fn max_queue_messages(mut self, messages: usize) -> Self {
        self.settings.max_queued = messages;
        self
    }

    /// Limits how long a message waits for the engine, and how long all are kept without a connection.
    /// Then it is given up, and new ones are [`Down`](super::Remote::Down). The time does not count in which topics
    /// are subscribed on a new connection, and for two seconds at most nodes are waited for that were there before.
    /// Default: 5 seconds.
    pub fn max_wait(mut self, limit: Duration) -> Self {
        self.settings.max_wait = limit;
        self
    }

    /// Limits the bytes of other nodes that wait for delivery here, with 128 for each message; beyond it the
    /// newest are dropped, and a [gap](super::Gap) is told. All groups share it: one that is held up can take all
    /// of it. Default: 16 MiB.
    pub fn max_inbound(mut self, bytes: usize) -> Self {
        self.settings.max_inbound = bytes;
        self
    }

    /// Limits the length of a message to and from other nodes, in bytes. What is longer is
    /// [`TooLarge`](super::Remote::TooLarge), or dropped and counted. Default: 1 MiB.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.settings.max_message_size = bytes;
        self
    }

    /// Sets how long a group's topic stays subscribed when its last member here is gone. Default: 5 seconds.
    pub fn linger(mut self, time: Duration) -> Self {
        self.settings.linger = time;
        self
    }

    /// Limits how many topics [linger](Self::linger); beyond it the oldest goes at once. Default: 10,000.
    pub fn max_lingering(mut self, topics: usize) -> Self {
        self.settings.max_lingering = topics;
        self
    }

    /// Sets how many topics are numbered: the messages of at least the last so many topics to which this
    /// node sent, and of twice as many at most. When one is forgotten, others cannot tell whether they have
    /// missed something of it. Default: 32,768, which take 4 MiB at most.
    pub fn numbered_topics(mut self, topics: usize) -> Self {
        self.settings.numbered_topics = topics;
        self
    }

    /// Limits how many other nodes are [listed](Cluster::nodes). The messages of more are delivered all the
    /// same. Default: 1,000.
    pub fn max_nodes(mut self, nodes: usize) -> Self {
        self.settings.max_nodes = nodes;
        self
    }

    /// Sets how often this node says that it is alive, ±20 % at random; from 100 nodes on it does more
    /// rarely. One that is not heard for three times as long has left. From 100 milliseconds to 10 minutes.
    /// Default: 5 seconds.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.settings.heartbeat = interval;
        self
    }

    /// Sets for how long the engine may leave something unanswered, before the connection is given up.
    /// Default: 3 seconds.
    pub fn answer_timeout(mut self, limit: Duration) -> Self {
        self.settings.answer_timeout = limit;
        self
    }

    /// Decides whether other nodes, and whoever else may publish on the engine, may close connections of
    /// this one. Default: `true`.
    pub fn remote_close(mut self, allow: bool) -> Self {
        self.settings.remote_close = allow;
        self
    }

    /// Begins to take part in the cluster, over an engine.
    ///
    /// Neither waits nor fails for want of the engine: see [`Cluster::connected`]. Two tasks run in the
    /// current runtime, until the node [leaves](Cluster::leave).
    ///
    /// # Panics
    ///
    /// If the name of the cluster is not 1 to 32 of the characters `a`–`z`, `0`–`9` and `-`; outside a runtime
    /// of tokio; or if the operating system has no random numbers.
    #[must_use]
    pub fn start(self, engine: impl Backplane) -> Cluster {
        self.start_as(engine, random_id(), random())
    }

    /// As [`start`](Self::start), with these instead of random numbers.
    pub(super) fn start_as(self, engine: impl Backplane, id: NodeId, seed: u64) -> Cluster {
        let Self { name, settings } = self;
        let leave_timeout = settings.leave_timeout;
        let promises = engine.promises();
        let core = Core::new(&name, settings, promises, id, seed, now());
        let core = match core {
            Ok(core) => core,
            Err(error) => panic!("the cluster cannot be called {name:?}: {error}"),
        };
        let span = info_span!("cluster", name = &*name, node = %core.id(), engine = engine.name());
        let hub = Arc::new(Hub::new(core));
        let stay = Stay {
            hub: hub.clone(),
            name,
            engine: engine.name(),
            leave_timeout,
        };
        let runtime = Handle::current();
        runtime.spawn(deliver_all(hub.clone()).instrument(span.clone()));
        runtime.spawn(serve_line(hub, engine).instrument(span));
        Cluster {
            stay: Arc::new(stay),
        }
    }
}

/// Draws the number of a node.
fn random_id() -> NodeId {
    // One in 2^64 is drawn again.
    std::iter::repeat_with(random)
        .find_map(NodeId::new)
        .expect("the numbers do not end")
}

fn random() -> u64 {
    getrandom::u64().expect("the operating system has random numbers")
}
