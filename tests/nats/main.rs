//! The driver of NATS, against a real server: `nats-server` of `.ci/engines`, or the one that `NATS_SERVER` names.

#![expect(clippy::unwrap_used, reason = "a failed test panics")]

mod breaks;
mod logins;
mod node;
mod rights;
mod server;
mod talking;
