//! The WebSocket protocol without I/O: bytes and instants in, events, bytes and deadlines out.
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
