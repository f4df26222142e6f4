//! ClusterSettings of a cluster, and every default.

use std::time::Duration;

/// How a node takes part in a cluster.
#[derive(Clone, Debug)]
pub(crate) struct ClusterSettings {
    /// The name of this node, for people; at most 64 bytes are told to others. Default: none.
    pub(crate) name: Box<str>,
    /// How many bytes may wait for the engine or its answer. Default: 8 MiB.
    pub(crate) max_queue: usize,
    /// How many envelopes may wait for the engine or its answer. Default: 65,536.
    pub(crate) max_queued: usize,
    /// How long one may wait, and how long all are kept without a connection; without the time in which a new
    /// connection is made use of. Default: 5 seconds.
    pub(crate) max_wait: Duration,
    /// How many bytes may wait for delivery here. Default: 16 MiB.
    pub(crate) max_inbound: usize,
    /// The largest message, out and in, in bytes. Default: 1 MiB.
    pub(crate) max_message_size: usize,
    /// How long a topic stays subscribed without members. Default: 5 seconds.
    pub(crate) linger: Duration,
    /// How many topics stay so; beyond it the oldest goes at once. Default: 10,000.
    pub(crate) max_lingering: usize,
    /// How many topics are numbered at least, and half of those at most. Default: 32,768.
    pub(crate) numbered_topics: usize,
    /// How many other nodes are listed. Default: 1,000.
    pub(crate) max_nodes: usize,
    /// How often this node says that it is alive, ±20 % at random; more rarely from 100 nodes on.
    /// Default: 5 seconds.
    pub(crate) heartbeat: Duration,
    /// How long the engine may leave something unanswered. Default: 3 seconds.
    pub(crate) answer_timeout: Duration,
    /// How long envelopes are held after all is subscribed again: for other nodes to be so, too.
    /// Default: 250 milliseconds.
    pub(crate) settling: Duration,
    /// After how long a refused subscription is tried again. Default: 30 seconds.
    pub(crate) retry_refused: Duration,
    /// How long leaving may take. Default: 2 seconds.
    pub(crate) leave_timeout: Duration,
    /// Whether other nodes may close connections here. Default: yes.
    pub(crate) remote_close: bool,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            name: Box::default(),
            max_queue: 8 << 20,
            max_queued: 65_536,
            max_wait: Duration::from_secs(5),
            max_inbound: 16 << 20,
            max_message_size: 1 << 20,
            linger: Duration::from_secs(5),
            max_lingering: 10_000,
            numbered_topics: 32_768,
            max_nodes: 1000,
            heartbeat: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(3),
            settling: Duration::from_millis(250),
            retry_refused: Duration::from_secs(30),
            leave_timeout: Duration::from_secs(2),
            remote_close: true,
        }
    }
}
