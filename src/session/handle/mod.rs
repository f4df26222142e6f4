//! What applications hold of a connection.

mod byte_stream;
mod close;
mod events;
mod futures;
mod identity;
#[cfg(feature = "client")]
mod passing;
mod ping;
mod pinging;
mod reader;
mod receiver;
mod sender;
mod sink;
mod socket;
mod writer;

pub use byte_stream::{ByteReader, ByteStream, ByteStreamError, ByteWriter, ReuniteError};
pub use events::{EventSink, EventSocket, EventStream};
pub use futures::SendFuture;
pub use reader::MessageReader;
pub use receiver::Receiver;
pub use sender::Sender;
pub use socket::WebSocket;
pub use writer::MessageWriter;
