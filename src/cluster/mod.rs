//! Groups over many processes: what does no I/O.

// The core of a cluster, without I/O and without a clock.
//
// - `core`: what is told what happens, and says what is to be done;
// - sending: `numbers` (what is sent, per topic), `outgoing` (what waits for the engine);
// - receiving: `seen` (doubles and gaps), `incoming` (what waits for delivery here);
// - `interest`: which topics are wanted and subscribed; `chunks`, which were asked for;
// - nodes: `nodes` (which are alive), `beats` (the own heartbeats), `alive` (what they say);
// - the connection: `link` (how far it is), `backoff` (when it is tried again), `backplane` (what it
//   and the core say to each other);
// - the wire: `envelope`, `number`, `malformed`, `topic`, `node_id`, `address`;
// - `settings`, `counters`, `events`, `waste`, `chance`.

mod address;
mod alive;
mod backoff;
mod backplane;
mod beats;
mod builder;
mod chance;
mod chunks;
mod core;
mod counters;
pub(crate) mod deliver;
mod delivering;
mod envelope;
mod events;
mod handle;
pub(crate) mod hub;
mod incoming;
mod interest;
mod line;
mod link;
mod listeners;
mod malformed;
mod node_id;
mod nodes;
mod number;
mod numbers;
mod outgoing;
mod publish_error;
#[cfg(feature = "redis")]
mod redis;
mod seen;
mod serving;
mod settings;
mod to_topic;
pub(crate) mod topic;
mod waste;

#[cfg(feature = "redis")]
pub use self::redis::{Redis, RedisUrlError};
pub use self::{
    address::{Address, ParseAddressError},
    backplane::{Backplane, BackplaneError, Command, Lost, Promises, Publish, Ticket},
    builder::ClusterBuilder,
    counters::{ClusterCounters, MalformedCounters, Refusals},
    deliver::Gap,
    events::{Node, Remote},
    handle::Cluster,
    line::{Inlet, Line},
    listeners::{ClusterEvent, ClusterEvents},
    node_id::{NodeId, ParseNodeIdError},
    publish_error::PublishError,
    to_topic::ToTopic,
    topic::Topic,
};
