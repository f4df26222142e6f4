//! Groups over many processes: what does no I/O.

#![expect(dead_code, reason = "no engine uses it yet")]

mod address;
mod alive;
mod backoff;
mod backplane;
mod beats;
mod chance;
mod chunks;
mod envelope;
mod events;
mod incoming;
mod interest;
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
