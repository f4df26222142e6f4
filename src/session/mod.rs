//! What a connection has beside its handles: messages piece by piece, reports, counters, draining.
//!
//! - [`MessageReader`], [`MessageWriter`]: a message that is read or written piece by piece.
//! - [`SendFuture`]: the future of [`WebSocket::send`](crate::WebSocket::send).
//! - [`SessionReport`], [`EndedBy`]: how a connection ended, and what it carried.
//! - [`ConnectionInfo`]: who is at the other end, what was asked for, since when.
//! - [`Counters`], [`Drain`], [`Drained`]: what [connections](crate::Connections) count, and how they
//!   are closed.
//! - [`Http2Stream`]: a stream of `h2` under a connection (feature `http2`).
//! - [`ParseConnectionIdError`]: a text that is no [number](crate::ConnectionId) of a connection.

// Sessions: the only code that reads, writes and keeps time.
//
// One task per connection drives the transport and polls the handler. The driver goes first, so a
// handler that never yields to its socket still has its pings answered; all that a handler sends
// between two yields leaves in one write; an idle connection owns no buffer.
//
// ```text
//   task        the future that is spawned: driver and handler
//     |
//   driver      the transport's side: turn, read, decode, write, deadlines, end
//     |   \
//     |    registry, transport      all sessions from outside; the byte stream under one
//     |   /
//   handle      what applications hold: WebSocket, Sender, Receiver
//     |
//   shared      what handles and driver share, behind one short lock
//     |
//   loan        what the driver lends to its own handler, which needs no lock then
//     |
//   setup, agreed, report, info, data, params, traffic, id, scratch
// ```
//
// A folder is a wall: its fields are private to it, and what others want is a question with a name.
// Nothing knows what stands above it.
//
// - A byte comes in through `transport`, `driver/read`, `driver/decode` (where `protocol::Incoming`
//   judges it) and `shared/receive`, from where `handle/receiver` takes the message.
// - A message goes out through `handle/sender` and `shared/send` (where `protocol::Outgoing` queues
//   it), from where `driver/write` takes all that waits at once, for `transport`.
//
// The rules of the lock are those of [`Lock`](crate::lock::Lock), and its flags a table at
// `shared/locked`.

mod agreed;
mod data;
mod driver;
pub(crate) mod handle;
pub(crate) mod id;
mod info;
mod loan;
pub(crate) mod params;
pub(crate) mod registry;
mod report;
mod scratch;
mod setup;
mod shared;
mod task;
#[cfg(all(test, feature = "deflate", not(shuttle)))]
mod tests;
mod traffic;
mod transport;
mod weak;

pub use handle::{MessageReader, MessageWriter, SendFuture};
pub(crate) use handle::{Sender, WebSocket};
pub(crate) use id::ConnectionId;
pub use id::ParseConnectionIdError;
#[cfg(feature = "cluster")]
pub(crate) use id::parse_id;
pub use info::ConnectionInfo;
pub(crate) use registry::Connections;
pub use registry::{Counters, Drain, Drained, RttHistogram};
pub use report::{EndedBy, SessionReport};
#[cfg(feature = "http2")]
pub use transport::Http2Stream;

pub use crate::protocol::rtt::Rtt;

pub(crate) use agreed::Agreed;
pub(crate) use data::Data;
pub(crate) use driver::Opened;
pub(crate) use registry::Place;
pub(crate) use setup::Setup;
pub(crate) use shared::{Asleep, Plain, Ticket, Wakers};
pub(crate) use task::Session;
pub(crate) use transport::Transport;
#[cfg(any(feature = "client", feature = "serve"))]
pub(crate) use transport::{UNSENT_SHARED, Watch, Watched, set_notsent_lowat};
pub(crate) use weak::WeakSender;
