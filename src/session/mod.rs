//! Sessions: the only code that reads, writes and keeps time.
//!
//! One task per connection drives the transport and polls the handler. The driver goes first, so a
//! handler that never yields to its socket still has its pings answered; all that a handler sends
//! between two yields leaves in one write; an idle connection owns no buffer.
//!
//! - `handle`: what applications hold;
//! - `shared`: what handles and driver share, behind one short lock;
//! - `driver`: the transport's side; `transport`: the byte stream under it;
//! - `registry`: all sessions of a layer, from outside;
//! - `task`: the future that is spawned; `scratch`: buffers that belong to the thread;
//! - `agreed`: what the handshake has settled.

mod agreed;
mod driver;
mod handle;
mod id;
mod registry;
mod report;
mod scratch;
mod setup;
mod shared;
mod task;
mod traffic;
mod transport;

pub use handle::{MessageReader, MessageWriter, Receiver, Sender, Sending, WebSocket};
pub use id::{ConnectionId, InvalidConnectionId};
pub use registry::{Connections, Counters, Drain, Drained};
pub use report::{EndedBy, Report};
#[cfg(feature = "http2")]
pub use transport::Http2Stream;

pub(crate) use agreed::Agreed;
pub(crate) use driver::Opened;
pub(crate) use registry::Place;
pub(crate) use setup::Setup;
pub(crate) use shared::{Asleep, Ticket, Wakers};
pub(crate) use task::Session;
pub(crate) use transport::Transport;
#[cfg(any(feature = "client", feature = "serve"))]
pub(crate) use transport::{UNSENT_SHARED, Watch, Watched, set_notsent_lowat};
