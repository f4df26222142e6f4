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

/// The settings of a node in a [`Cluster`], made by [`Cluster::builder`].
///
/// Every limit is one of this node, whatever those of the others are.
///
/// ```
/// # #[cfg(feature = "testing")]
/// # {
/// use std::time::Duration;
/// use tower_websocket::cluster::{Cluster, Memory};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn run() {
/// let cluster = Cluster::builder("shop")
///     .node_name("eu-1")
///     .max_queue(16 << 20)
///     .max_queue_messages(10_000)
///     .max_wait(Duration::from_secs(2))
///     .max_inbound(32 << 20)
///     .max_message_size(64 << 10)
///     .linger(Duration::from_secs(30))
///     .heartbeat(Duration::from_secs(1))
///     .remote_close(false)
///     .start(Memory::new());
/// cluster.connected().await;
/// assert_eq!(&*cluster.nodes()[0].name, "eu-1");
/// # }
/// # run();
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClusterBuilder {
    name: Box<str>,
    settings: ClusterSettings,
}

impl Cluster {
    /// Starts to take part in the cluster of this name, over an engine.
    ///
    /// It is [`builder`](Self::builder) with the default settings. If the engine cannot be reached, it neither waits nor fails:
    /// see [`connected`](Self::connected).
    ///
    /// # Panics
    ///
    /// Panics if the name is not 1 to 32 of the characters `a`–`z`, `0`–`9` and `-`, or outside a runtime of tokio.
    #[must_use]
    pub fn start(name: &str, engine: impl Backplane) -> Self {
        Self::builder(name).start(engine)
    }

    /// Creates the settings of a node in the cluster of this name.
    ///
    /// All nodes with the same name and engine are one cluster: use one name for each application and
    /// environment.
    pub fn builder(name: &str) -> ClusterBuilder {
        ClusterBuilder {
            name: name.into(),
            settings: ClusterSettings::default(),
        }
    }
}

impl ClusterBuilder {
    /// Sets the name of this node, for the readers of [`Cluster::nodes`].
    ///
    /// Other nodes get the first 64 bytes of the name. Default: no name.
    pub fn node_name(mut self, name: impl Into<Box<str>>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Limits the bytes that wait for the engine or its answer.
    ///
    /// A broadcast beyond the limit is [`Full`](super::Remote::Full) for other nodes. Default: 8 MiB.
    pub fn max_queue(mut self, bytes: usize) -> Self {
        self.settings.max_queue = bytes;
        self
    }

    /// Limits the messages that wait for the engine or its answer, as [`max_queue`](Self::max_queue) does their bytes.
    ///
    /// Default: 65,536.
    pub fn max_queue_messages(mut self, messages: usize) -> Self {
        self.settings.max_queued = messages;
        self
    }

    /// Limits how long a message waits for the engine, and how long messages are kept without a connection.
    ///
    /// After it a message is given up, and new ones are [`Down`](super::Remote::Down). The time in which topics
    /// are subscribed on a new connection does not count, nor the two seconds at most for which nodes are waited for that
    /// were there before. Default: 5 seconds.
    pub fn max_wait(mut self, limit: Duration) -> Self {
        self.settings.max_wait = limit;
        self
    }

    /// Limits the bytes of other nodes that wait for delivery here, with 128 more for each message.
    ///
    /// Beyond the limit the newest are dropped, and a [gap](super::Gap) is reported. All groups share it: one that is held up
    /// can take all of it. Default: 16 MiB.
    pub fn max_inbound(mut self, bytes: usize) -> Self {
        self.settings.max_inbound = bytes;
        self
    }

    /// Limits the length of a message to and from other nodes, in bytes.
    ///
    /// A longer message is [`TooLarge`](super::Remote::TooLarge), or dropped and counted. Default: 1 MiB.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.settings.max_message_size = bytes;
        self
    }

    /// Sets how long a group's topic stays subscribed when its last member here is gone.
    ///
    /// Default: 5 seconds.
    pub fn linger(mut self, time: Duration) -> Self {
        self.settings.linger = time;
        self
    }

    /// Limits how many topics [linger](Self::linger); beyond it the oldest is unsubscribed at once.
    ///
    /// Default: 10,000.
    pub fn max_lingering(mut self, topics: usize) -> Self {
        self.settings.max_lingering = topics;
        self
    }

    /// Sets how many topics are numbered, so that other nodes notice what they miss.
    ///
    /// The messages of at least this many topics are numbered, those to which this node sent last, and of twice as many at
    /// most. If one is forgotten, other nodes cannot know whether they have
    /// missed something of it. Default: 32,768, which take 4 MiB at most.
    pub fn numbered_topics(mut self, topics: usize) -> Self {
        self.settings.numbered_topics = topics;
        self
    }

    /// Limits how many other nodes are [listed](Cluster::nodes).
    ///
    /// The messages of more nodes are delivered all the same. Default: 1,000.
    pub fn max_nodes(mut self, nodes: usize) -> Self {
        self.settings.max_nodes = nodes;
        self
    }

    /// Sets how often this node reports that it is alive, ±20 % at random.
    ///
    /// From 100 nodes on it does so more rarely. A node that is not heard for three times as long has left. The time is from
    /// 100 milliseconds to 10 minutes. Default: 5 seconds.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.settings.heartbeat = interval;
        self
    }

    /// Limits how long the engine may leave something unanswered, before the connection is given up.
    ///
    /// Default: 3 seconds.
    pub fn answer_timeout(mut self, limit: Duration) -> Self {
        self.settings.answer_timeout = limit;
        self
    }

    /// Sets whether other nodes may close connections of this one.
    ///
    /// The same holds for everything else that may publish on the engine. If `false`, such closes are ignored and
    /// [counted](super::ClusterCounters::closes_ignored). Default: `true`.
    pub fn remote_close(mut self, allow: bool) -> Self {
        self.settings.remote_close = allow;
        self
    }

    /// Starts to take part in the cluster, over an engine.
    ///
    /// If the engine cannot be reached, it neither waits nor fails: see [`Cluster::connected`]. Two tasks run in the
    /// current runtime, until the node [leaves](Cluster::leave).
    ///
    /// # Panics
    ///
    /// Panics if the name of the cluster is not 1 to 32 of the characters `a`–`z`, `0`–`9` and `-`; outside a runtime
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
