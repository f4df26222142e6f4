//! The WebSocket protocol without I/O: bytes and instants in; events, bytes and deadlines out.
//!
//! Nothing here reads a socket or a clock, so it runs under any runtime, or under none. From the
//! bottom up:
//!
//! - [`Header`], [`apply_mask`], [`Utf8Validator`]: the pieces of RFC 6455 §5 and §8.1;
//! - [`Frame`] and [`FrameCodec`]: single frames, for tools and proxies;
//! - [`Decoder`]: bytes into [events](crate::Event), with the rules on order, role and size;
//! - [`DeflateParams`]: what to agree on for compressed messages (RFC 7692); `Compressor` and `Decompressor`
//!   (feature `deflate`) for payloads of frames;
//! - [`Encoder`] and [`SendQueue`]: messages into bytes, without a connection;
//! - [`Connection`]: all of it joined, with the closing handshake and the deadlines.
//!
//! # Both ends in memory
//!
//! An application that drives a [`Connection`] moves bytes between it and a stream, and keeps its deadlines:
//!
//! ```
//! use std::time::Instant;
//! use bytes::Buf;
//! use tower_websocket::{CloseCode, Config, Event, Message, protocol::{Connection, NotOpen, Role, State}};
//!
//! /// Takes from one end what is to be written, and hands it to the other end.
//! fn carry(from: &mut Connection, to: &mut Connection, now: Instant) {
//!     while let Some(queue) = from.poll_transmit() {
//!         let bytes = queue.copy_to_bytes(queue.len()); // as if the stream had taken all of it
//!         from.transmitted(now);
//!         to.receive(&bytes, now);
//!     }
//! }
//!
//! let now = Instant::now();
//! let mut client = Connection::new(Role::Client, Config::default(), now);
//! let mut server = Connection::new(Role::Server, Config::default(), now);
//!
//! // A message.
//! client.send("hello")?;
//! carry(&mut client, &mut server, now);
//! assert_eq!(server.poll_event(), Some(Event::Message(Message::text("hello"))));
//!
//! // A ping, which the server answers by itself.
//! client.ping(b"1")?;
//! carry(&mut client, &mut server, now);
//! carry(&mut server, &mut client, now);
//! assert_eq!(client.poll_event(), Some(Event::Pong("1".into())));
//!
//! // Time: `Config::ping_interval` has passed without a message.
//! let now = server.poll_timeout().expect("the time of a ping");
//! assert_eq!(server.handle_timeout(now), None); // a ping is no deadline that ends something
//! carry(&mut server, &mut client, now);
//! assert!(matches!(client.poll_event(), Some(Event::Ping(_))));
//!
//! // The end.
//! server.close(CloseCode::GOING_AWAY)?;
//! assert_eq!(server.state(), State::Closing);
//! let refused: Result<(), NotOpen> = server.send("too late");
//! assert!(refused.is_err());
//! carry(&mut server, &mut client, now);
//! carry(&mut client, &mut server, now);
//! for mut end in [server, client] {
//!     assert!(end.is_finished() && end.is_clean());
//!     assert_eq!(end.error(), None);
//!     end.receive_eof();
//!     assert_eq!(end.state(), State::Closed);
//! }
//! # Ok::<(), NotOpen>(())
//! ```

mod below;
pub(crate) mod close;
mod close_payload;
mod codec;
mod connection;
mod control_rate;
mod decoder;
#[cfg_attr(
    not(any(feature = "deflate", feature = "layer")),
    expect(dead_code, reason = "sessions use all of it")
)]
#[cfg_attr(
    not(any(feature = "layer", all(test, feature = "deflate"))),
    expect(unused_imports, reason = "sessions use all of it")
)]
mod deflate;
mod encoded;
mod encoder;
pub(crate) mod error;
pub(crate) mod expiry;
mod facts;
mod frame;
#[cfg(any(test, feature = "client"))]
mod frame_tracker;
mod header;
#[cfg_attr(
    not(feature = "layer"),
    expect(dead_code, reason = "sessions use all of it")
)]
mod incoming;
mod mask;
pub(crate) mod message;
mod not_open;
pub(crate) mod outbound;
#[cfg_attr(
    not(feature = "layer"),
    expect(dead_code, reason = "sessions use all of it")
)]
mod outgoing;
mod pongs;
pub(crate) mod random;
#[cfg_attr(
    not(any(test, feature = "layer")),
    expect(dead_code, reason = "sessions keep them")
)]
mod rates;
mod role;
#[cfg(feature = "layer")]
pub(crate) mod rtt;
mod send_queue;
mod spare;
mod start;
mod state;
#[cfg(test)]
pub(crate) mod test_support;
mod ticks;
mod timers;
#[cfg(feature = "codec")]
mod tokio_codec;
pub(crate) mod utf8;

pub use codec::FrameCodec;
pub use connection::Connection;
pub use decoder::Decoder;
pub use deflate::DeflateParams;
#[cfg(feature = "deflate")]
pub use deflate::{Compressor, Decompressor};
pub use encoder::Encoder;
pub(crate) use error::ProtocolError;
pub(crate) use expiry::Deadline;
pub use frame::Frame;
pub use header::{EncodedHeader, Header, Opcode};
pub use mask::apply_mask;
pub(crate) use message::Message;
pub use not_open::NotOpen;
pub use outbound::Outbound;
pub use random::random_masking_key;
pub use role::Role;
pub use send_queue::SendQueue;
pub use state::State;
pub use utf8::{InvalidUtf8, Utf8Validator};

pub(crate) use self::deflate::{MAX_WINDOW_BITS, MIN_WINDOW_BITS};
#[cfg(feature = "client")]
pub(crate) use self::frame_tracker::{Found, FrameTracker};
#[cfg(feature = "layer")]
pub(crate) use self::{
    below::{MAX_BELOW, SENDING_FLOOR},
    close::{CloseCode, CloseFrame},
    decoder::{Decoded, Limits, Piece, take_plain},
    deflate::{Context, Deflater, Shape},
    encoded::Encoded,
    encoder::FrameStart,
    expiry::{Expiry, Outcome},
    facts::Facts,
    incoming::Incoming,
    message::{Event, MessageKind},
    outbound::PreparedMessage,
    outgoing::{Outgoing, Unsent},
    random::random,
    rates::Rates,
    rtt::{RoundTrips, Rtt},
    timers::Timers,
    utf8::Utf8Bytes,
};
