//! Sessions: the only code that reads, writes and keeps time.
//!
//! One task per connection drives the transport and polls the handler. The driver goes first, so a
//! handler that never yields to its socket still has its pings answered; all that a handler sends
//! between two yields leaves in one write; an idle connection owns no buffer.
//!
//! - `handle`, `halves`, `sending`: what applications hold: [`WebSocket`], [`Sender`], [`Receiver`];
//! - `reader`, `writer`: one message in pieces: [`MessageReader`], [`MessageWriter`];
//! - `shared`, with `inner`, `inbox`, `waiters` and `wait_list`: what handles and driver share, behind one short lock;
//! - `connections`, `doors`, `counters`, `id`: all sessions of a layer, from outside;
//! - `agreed`, `queueing`: what the handshake has settled, and compression by it;
//! - `driver`, with `round`, `receive`, `transmit`, `deadlines` and `ending`: the transport's side;
//! - `memory`: what a session holds, and how it gives way to others;
//! - `transport`, `http2`, `watched`: the byte stream under it all;
//! - `task`: the future that is spawned; `scratch`: buffers that belong to the thread.

mod agreed;
mod connections;
mod counters;
mod deadlines;
mod doors;
mod driver;
mod ending;
mod halves;
mod handle;
#[cfg(feature = "http2")]
mod http2;
#[cfg(not(feature = "http2"))]
#[path = "http2_off.rs"]
mod http2;
mod id;
mod inbox;
mod inner;
mod memory;
mod queueing;
mod reader;
mod receive;
mod report;
mod round;
mod scratch;
mod sending;
mod shared;
mod sink;
mod task;
mod transmit;
mod transport;
mod wait_list;
mod waiters;
#[cfg(any(feature = "client", feature = "serve"))]
mod watched;
#[cfg(not(any(feature = "client", feature = "serve")))]
#[path = "watched_off.rs"]
mod watched;
mod writer;

pub use connections::Connections;
pub use counters::Counters;
pub use halves::{Receiver, Sender};
pub use handle::WebSocket;
#[cfg(feature = "http2")]
pub use http2::Http2Stream;
pub use id::{ConnectionId, InvalidConnectionId};
pub use reader::MessageReader;
pub use report::{EndedBy, Report};
pub use sending::Sending;
pub use writer::MessageWriter;

pub(crate) use agreed::Agreed;
pub(crate) use connections::Place;
pub(crate) use report::Hooks;
pub(crate) use task::{Opened, Session};
pub(crate) use transport::Transport;
#[cfg(any(feature = "client", feature = "serve"))]
pub(crate) use transport::{UNSENT_SHARED, set_notsent_lowat};
pub(crate) use wait_list::Ticket;
pub(crate) use waiters::{Asleep, Wakers};
#[cfg(any(feature = "client", feature = "serve"))]
pub(crate) use watched::{Watch, Watched};
