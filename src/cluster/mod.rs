//! Groups that span many processes: nodes of a cluster, over the Redis or NATS that they have.
//!
//! The page `scaling` of these docs explains how to use it, and what is promised.
//!
//! ```no_run
//! # #[cfg(feature = "redis")]
//! # {
//! use tower_websocket::{Groups, cluster::{Cluster, Redis}};
//!
//! # #[tokio::main]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::start("shop", Redis::new("redis://127.0.0.1/")?);
//! let rooms: Groups = Groups::builder().cluster(&cluster, "rooms").build(); // was: Groups::new()
//! rooms.broadcast("lobby", "hello, members on all nodes").await;
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! - [`Cluster`], [`ClusterBuilder`]: this process as a node, and its settings.
//!   [`GroupsBuilder::cluster`](crate::groups::GroupsBuilder::cluster) makes groups span it.
//! - [`ClusterEvents`], [`ClusterEvent`], [`ClusterCounters`] ([`Refusals`], [`MalformedCounters`]): what happens, and how
//!   often.
//! - [`Remote`], [`PublishError`], [`Gap`]: the outcome of messages on their way.
//! - [`Node`], [`NodeId`], [`Address`] ([`ParseNodeIdError`], [`ParseAddressError`]): the nodes and connections of a cluster.
//! - [`ToTopic`]: keys that an engine can know groups by.
//! - Engines: `Redis` (feature `redis`), `Nats` (feature `nats`), `Memory` (feature `testing`).
//! - For another engine: [`Backplane`], [`Line`], [`Inlet`], [`Command`], [`Publish`], [`Ticket`], [`Topic`],
//!   [`Promises`], [`Lost`], [`BackplaneError`].
//!
//! # What an engine carries
//!
//! A topic has four parts: the name of the cluster, `1`, the name of the groups or `!` for what nodes send each other, and
//! the key. What is published to it is an envelope: a header of 24 bytes, and what the application sends. Integers are
//! little-endian.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | version, 1; others are dropped |
//! | 1 | 1 | kind, below; unknown ones are dropped, so that newer nodes can speak beside older ones |
//! | 2 | 1 | flags: bits 0–1 say whether to compress a message: 0 by its size, 1 always, 2 never; with bit 2, of a later version, it is dropped; others 0, ignored |
//! | 3 | 1 | 0, ignored |
//! | 4 | 8 | [`NodeId`] of the sender; 0 is a sender outside the cluster, which does not number |
//! | 12 | 8 | run: rises each time the sender begins to number this topic anew |
//! | 20 | 4 | index within the run, from 0; less than 2^32 - 1 |
//! | 24 | | by kind |
//!
//! | kind | | from offset 24 |
//! |---|---|---|
//! | 1, 2 | text, binary, to a group | the payload |
//! | 3 | closes the members of a group | payload of a Close frame (RFC 6455 §5.5.1) |
//! | 4, 5 | text, binary, to a connection | [`ConnectionId`](crate::ConnectionId) (8), the payload |
//! | 6 | closes a connection | [`ConnectionId`](crate::ConnectionId) (8), payload of a Close frame |
//! | 7 | alive | what the node reports of itself |
//! | 8 | leaving | nothing; more is ignored |
//! | 9 | asks every node how many members a group has there | number of the question (8), length of the topic (2), the topic; more is ignored |
//! | 10 | answers that, to the topic of the node that asks | number of the question (8), members (4); more is ignored |
//!
//! What nodes send each other goes to the key `all`, which every node subscribes to, and to `node-` with the
//! [`NodeId`] in 16 hexadecimal digits, which one node does. Questions and answers have no numbers: run and index are 0.
//!
//! What is malformed is dropped and counted. Nothing else is done with what a topic or an envelope says.

// Around a core without I/O and without a clock:
//
// - `core`: what is told what happens, and says what is to be done;
// - sending: `numbers` (what is sent, per topic), `outgoing` (what waits for the engine);
// - receiving: `seen` (doubles and gaps), `incoming` (what waits for delivery here);
// - `interest`: which topics are wanted and subscribed; `chunks`, which were asked for;
// - nodes: `nodes` (which are alive), `beats` (the own heartbeats), `alive` (what they say);
// - members of a group on all nodes: `counts` (what this node asks), `asked` (what it is asked), `question` (what
//   they say), `budget` (how often);
// - the connection: `link` (how far it is), `backoff` (when it is tried again), `backplane` (what it
//   and the core say to each other, with the trait in `engine`);
// - the wire: `envelope`, `number`, `malformed`, `topic`, `topic_map` and `spelling` (tables by it), `node_id`, `address`;
// - `settings`, `counters`, `events`, `waste`, `chance`.
//
// And what has a lock, a clock and two tasks:
//
// - `hub`: the core behind a lock, and whom it wakes; all others go through it;
// - `serving`: the task that has an engine served and keeps the time, `line` what the engine sees of it;
// - `delivering`: the task that delivers here; `deliver`, what it knows of groups;
// - `handle`, `builder`, `event_stream`, `to_topic`, `publish_error`: what applications see;
// - engines: `redis`, `nats`, `memory`.
//
// The lock is held for some hundred instructions, and never while the application's code runs: what is to be woken,
// told or dropped is handed out, and that is done once it is released. It comes after the lock of groups.

mod address;
mod alive;
mod asked;
mod backoff;
mod backplane;
mod beats;
mod budget;
mod builder;
mod chance;
mod chunks;
mod core;
mod counters;
pub(crate) mod counts;
pub(crate) mod deliver;
mod delivering;
mod engine;
mod envelope;
mod event_stream;
mod events;
mod handle;
pub(crate) mod hub;
mod incoming;
mod interest;
mod line;
mod link;
mod malformed;
#[cfg(feature = "testing")]
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod node_id;
mod nodes;
mod number;
mod numbers;
mod outgoing;
mod publish_error;
mod question;
#[cfg(feature = "redis")]
mod redis;
mod seen;
mod serving;
mod settings;
mod spelling;
mod to_topic;
pub(crate) mod topic;
mod topic_map;
mod waste;

#[cfg(feature = "testing")]
pub use self::memory::Memory;
#[cfg(feature = "nats")]
pub use self::nats::{Nats, NatsUrlError};
#[cfg(feature = "redis")]
pub use self::redis::{Redis, RedisUrlError};
pub use self::{
    address::{Address, ParseAddressError},
    backplane::{BackplaneError, Command, Lost, Promises, Publish, Ticket},
    builder::ClusterBuilder,
    counters::{ClusterCounters, MalformedCounters, Refusals},
    deliver::Gap,
    engine::Backplane,
    event_stream::{ClusterEvent, ClusterEvents},
    events::{Node, Remote},
    handle::Cluster,
    line::{Inlet, Line},
    node_id::{NodeId, ParseNodeIdError},
    publish_error::PublishError,
    to_topic::ToTopic,
    topic::Topic,
};
