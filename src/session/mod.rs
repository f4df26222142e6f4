//! Sessions: the only code that reads, writes and keeps time.
//!
//! One task per connection drives the transport and polls the handler. The driver goes first, so a
//! handler that never yields to its socket still has its pings answered; all that a handler sends
//! between two yields leaves in one write; an idle connection owns no buffer.
//!
//! - [`handle`]: what applications hold: [`WebSocket`], [`Sender`], [`Receiver`];
//! - `shared`: what handles and driver share, behind one short lock;
//! - `driver`, with `receive`, `transmit` and `deadlines`: the transport's side;
//! - `task`: the future that is spawned; `scratch`: buffers that belong to the thread.

mod deadlines;
mod driver;
mod handle;
mod receive;
mod report;
mod scratch;
mod shared;
mod sink;
mod task;
mod transmit;
mod transport;

pub use handle::{Receiver, Sender, Sending, WebSocket};
pub use report::{EndedBy, Report};

pub(crate) use report::Hooks;
pub(crate) use task::{Opened, Session};
pub(crate) use transport::{Stream, Transport};
