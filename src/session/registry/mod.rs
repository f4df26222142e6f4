//! All connections of a layer, from outside.

pub(super) mod connections;
pub(super) mod counters;
mod doors;
mod drain;

pub use connections::Connections;
pub use counters::Counters;
pub use drain::{Drain, Drained};

pub(crate) use connections::Place;
