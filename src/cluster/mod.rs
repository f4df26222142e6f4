//! Groups over many processes: what does no I/O.

#![expect(dead_code, reason = "no engine uses it yet")]

mod address;
mod alive;
mod envelope;
mod malformed;
mod node_id;
mod number;
mod numbers;
mod seen;
mod topic;
mod waste;
