//! All connections of a layer, from outside.

mod closing;
mod connections;
mod counters;
mod doors;
mod drain;
pub(super) mod entry;
mod prometheus;
mod round_trips;
mod shards;

pub use connections::Connections;
pub use counters::Counters;

pub use drain::{Drain, Drained};
pub use round_trips::RttHistogram;

pub(crate) use entry::Place;
#[cfg(feature = "client")]
pub(super) use entry::{Entry, Unlisted};
