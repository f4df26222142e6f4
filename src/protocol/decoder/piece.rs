//! What a decoder gives away.

use bytes::Bytes;

use crate::protocol::message::{Event, MessageKind};

/// What a decoder makes of its input.
#[derive(Debug)]
pub(crate) enum Decoded {
    Event(Event),
    /// A part of a message, where messages are streamed.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions ask"))]
    Piece(Piece),
}

/// A part of a message that is delivered as it arrives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Piece {
    pub(crate) kind: MessageKind,
    pub(crate) payload: Bytes,
    pub(crate) last: bool,
}
