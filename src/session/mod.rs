//! The types of a connection beside its handles: messages piece by piece, events, reports, counters, draining.
//!
//! - [`MessageReader`], [`MessageWriter`]: a message that is read or written piece by piece.
//! - [`EventSocket`], and its halves [`EventSink`] and [`EventStream`]: messages, pings, pongs and the Close as a
//!   `Stream` and a `Sink`, [for libraries that want one](#for-libraries-that-want-a-stream-and-a-sink).
//! - [`ByteStream`], and its halves [`ByteReader`] and [`ByteWriter`]: a connection as bytes, made by
//!   [`WebSocket::into_byte_stream`](crate::WebSocket::into_byte_stream); [`ByteStreamError`].
//! - [`SendFuture`]: the future of [`WebSocket::send`](crate::WebSocket::send).
//! - [`SessionReport`], [`EndedBy`]: how a connection ended, and what it carried.
//! - [`ConnectionInfo`]: the peer's address, the path, since when the connection is open.
//! - [`Counters`], [`Drain`], [`Drained`]: what [connections](crate::Connections) count, and how they
//!   are closed.
//! - [`Sessions`], [`SessionBuilder`]: a connection over a stream whose opening handshake was done elsewhere;
//!   [`SessionFuture`], [`OpenError`].
//! - [`Http2Stream`]: a stream of `h2` under a connection (feature `http2`).
//! - [`ParseConnectionIdError`]: a text that is no [number](crate::ConnectionId) of a connection.
//!
//! # For libraries that want a `Stream` and a `Sink`
//!
//! Libraries that bring a protocol and no transport, as for GraphQL or shared documents, work over either version of
//! HTTP, on a server and on a client:
//!
//! | what the library asks for | what to pass it |
//! | --- | --- |
//! | messages, or what they become | a [`WebSocket`], or the halves of its [`split`](crate::WebSocket::split) |
//! | items that are `AsRef<[u8]>` | the same: a [`Message`](crate::Message) is that, whether text or binary |
//! | close codes, pings, pongs | [`into_events`](crate::WebSocket::into_events), or its [`split`](EventSocket::split) |
//! | a trait of its own | a struct of yours around an [`EventSocket`] |
//!
//! Errors and items become those of the library with `map`, `map_ok`, `map_err`, `with` and `sink_map_err` of the crate
//! `futures`. The last one panics if the sink is used again after an error. A subscription of async-graphql, which
//! closes with codes of its own, such as 4429:
//!
//! ```
//! # mod async_graphql {
//! #     use futures_util::{Stream, StreamExt};
//! #     pub enum WsMessage { Text(String), Close(u16, String) }
//! #     pub struct WebSocket;
//! #     impl WebSocket {
//! #         pub fn new<S>(_: (), stream: S, _: ()) -> impl Stream<Item = WsMessage>
//! #         where S: Stream, S::Item: AsRef<[u8]> {
//! #             stream.map(|item| WsMessage::Text(String::from_utf8_lossy(item.as_ref()).into()))
//! #         }
//! #     }
//! # }
//! use std::future::ready;
//!
//! use async_graphql::WsMessage; // `async_graphql::http::WsMessage`
//! use futures_util::StreamExt;
//! use tower_websocket::{CloseCode, CloseFrame, Error, Event, WebSocket};
//!
//! # type Schema = (); type Protocols = ();
//! async fn subscribe(socket: WebSocket, schema: Schema, protocol: Protocols) -> Result<(), Error> {
//!     let (sink, stream) = socket.into_events().split();
//!     // An error is the end, as a Close is.
//!     let messages = stream.filter_map(|event| ready(event.ok().and_then(Event::into_message)));
//!     async_graphql::WebSocket::new(schema, messages, protocol)
//!         .map(|answer| {
//!             Ok(match answer {
//!                 WsMessage::Text(text) => text.into(),
//!                 WsMessage::Close(code, reason) => {
//!                     let code = CloseCode::new(code);
//!                     Event::Close(code.map(|code| CloseFrame::new(code, reason)))
//!                 }
//!             })
//!         })
//!         .forward(sink)
//!         .await
//! }
//! ```
//!
//! Its subprotocols are offered by [`Config::subprotocols`](crate::Config::subprotocols), and the one agreed on is
//! [`WebSocket::subprotocol`](crate::WebSocket::subprotocol). A library whose transports are bytes, as that of yrs:
//!
//! ```
//! # async fn library<Si, St, E>(_: Si, _: St) -> Result<(), E>
//! # where Si: futures_util::Sink<Vec<u8>, Error = E>, St: futures_util::Stream<Item = Result<Vec<u8>, E>> {
//! #     Ok(())
//! # }
//! use std::future::ready;
//!
//! use futures_util::{SinkExt, TryStreamExt};
//! use tower_websocket::{Error, Message, WebSocket};
//!
//! async fn serve(socket: WebSocket) -> Result<(), Error> {
//!     let (sender, receiver) = socket.split();
//!     let sink = sender.with(|bytes: Vec<u8>| ready(Ok(Message::from(bytes))));
//!     let stream = receiver.map_ok(|message| message.into_bytes().into());
//!     library(sink, stream).await
//! }
//! ```
//!
//! All that happens on one connection goes to another, and the code of its Close as well, with `forward`:
//!
//! ```
//! use futures_util::{StreamExt, future::try_join};
//! use tower_websocket::{Error, WebSocket};
//!
//! async fn pass_on(one: WebSocket, other: WebSocket) -> Result<(), Error> {
//!     let (to_one, from_one) = one.into_events().split();
//!     let (to_other, from_other) = other.into_events().split();
//!     try_join(from_one.forward(to_other), from_other.forward(to_one)).await?;
//!     Ok(())
//! }
//! ```
//!
//! Pings pass, too. With [`Config::auto_pong`](crate::Config::auto_pong) they are answered here as well, and the pong
//! that comes from afar is one more than was asked for, which is allowed (RFC 6455 §5.5.3).

// Sessions: the only code that reads, writes and keeps time.
//
// One task per connection drives the transport and polls the handler. The driver goes first, so a
// handler that never yields to its socket still has its pings answered; all that a handler sends
// between two yields leaves in one write; an idle connection owns no buffer.
//
// ```text
//   over        sessions that are not the layer's or the client's: over any stream, spawned or polled
//     |
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
mod over;
pub(crate) mod params;
pub(crate) mod registry;
mod report;
mod scratch;
mod setup;
mod shared;
#[cfg(feature = "client")]
mod splice;
mod task;
#[cfg(all(test, feature = "deflate", not(shuttle)))]
mod tests;
mod traffic;
mod transport;
mod weak;

pub use handle::{
    ByteReader, ByteStream, ByteStreamError, ByteWriter, EventSink, EventSocket, EventStream,
    MessageReader, MessageWriter, ReuniteError, SendFuture,
};
pub(crate) use handle::{Sender, WebSocket};
pub(crate) use id::ConnectionId;
pub use id::ParseConnectionIdError;
#[cfg(feature = "cluster")]
pub(crate) use id::parse_id;
pub use info::ConnectionInfo;
pub use over::{OpenError, SessionBuilder, SessionFuture, Sessions};
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
#[cfg(feature = "client")]
pub(crate) use splice::{Spliced, splice};
pub(crate) use task::Session;
pub(crate) use transport::Transport;
#[cfg(any(feature = "client", feature = "serve"))]
pub(crate) use transport::{UNSENT_SHARED, Watch, Watched, set_notsent_lowat};
pub(crate) use weak::WeakSender;
