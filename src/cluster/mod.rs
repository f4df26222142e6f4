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

#![expect(dead_code, reason = "no engine uses it yet")]

mod address;
mod alive;
mod backoff;
mod backplane;
mod beats;
mod chance;
mod chunks;
mod core;
mod counters;
mod envelope;
mod events;
mod incoming;
mod interest;
mod link;
mod malformed;
mod node_id;
mod nodes;
mod number;
mod numbers;
mod outgoing;
mod seen;
mod settings;
mod topic;
mod waste;
