//! What applications hold of a connection.

mod futures;
mod reader;
mod sender;
mod sink;
mod socket;
mod writer;

pub use futures::Sending;
pub use reader::MessageReader;
pub use sender::{Receiver, Sender};
pub use socket::WebSocket;
pub use writer::MessageWriter;
