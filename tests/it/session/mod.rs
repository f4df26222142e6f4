//! A session as its peer and its application see it, over streams in memory.

#[cfg(feature = "http2")]
mod closing;
#[cfg(feature = "http2")]
mod deadlines;
#[cfg(feature = "http2")]
mod faults;
#[cfg(feature = "http2")]
mod flow;
#[cfg(feature = "http2")]
mod handles;
#[cfg(feature = "http2")]
mod lending;
#[cfg(feature = "http2")]
mod lent;
#[cfg(feature = "http2")]
mod limits;
#[cfg(feature = "http2")]
mod neighbours;
#[cfg(feature = "http2")]
mod order;
#[cfg(feature = "http2")]
mod rates;
#[cfg(feature = "http2")]
mod round_trips;
#[cfg(feature = "http2")]
mod slow;
#[cfg(feature = "http2")]
mod sockets;
pub(crate) mod support;
#[cfg(feature = "http2")]
mod turns;
#[cfg(feature = "http2")]
mod unlent;
