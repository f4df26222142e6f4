//! What a decoder gives away.

use bytes::Bytes;

use crate::protocol::message::{Event, MessageKind};

/// What a decoder makes of its input.
#[derive(Debug)]
pub(crate) enum Decoded {
    Event(Event),
    /// A part of a message, where messages are streamed.
    Piece(Piece),
}

impl Decoded {
    /// Reports whether a message has ended with it.
    #[inline]
    pub(crate) fn ends_message(&self) -> bool {
        match self {
            Self::Event(event) => !event.is_control(),
            Self::Piece(piece) => piece.last,
        }
    }
}

/// A part of a message that is delivered as it arrives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Piece {
    pub(crate) kind: MessageKind,
    pub(crate) payload: Bytes,
    pub(crate) last: bool,
}
