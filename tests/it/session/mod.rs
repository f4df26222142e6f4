//! A session as its peer and its application see it, over streams in memory.

mod closing;
mod deadlines;
mod faults;
mod flow;
mod handles;
mod lending;
mod lent;
mod limits;
mod neighbours;
mod order;
mod rates;
mod round_trips;
mod slow;
mod sockets;
pub(crate) mod support;
mod turns;
mod unlent;
