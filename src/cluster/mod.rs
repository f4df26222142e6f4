//! Groups over many processes: what does no I/O.

#![expect(dead_code, reason = "no engine uses it yet")]

mod address;
mod node_id;
mod topic;
