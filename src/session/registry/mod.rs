//! All connections of a layer, from outside.

mod connections;
mod counters;
mod doors;
mod drain;
pub(super) mod entry;
mod shards;

pub use connections::Connections;
pub use counters::Counters;
pub use drain::{Drain, Drained};

pub(crate) use entry::Place;
