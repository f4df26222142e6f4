//! Bytes into events: order, role and size (RFC 6455 §5.4–§5.6, §6.2).

mod body;
mod inflating;
mod limits;
mod open_frame;
mod open_message;
mod piece;
mod short_frame;
mod state;
mod whole_frame;

use bytes::{BytesMut, buf::Limit};

use super::{deflate::DeflateParams, error::ProtocolError, message::Event, role::Role};
use crate::config::Config;

#[cfg(feature = "layer")]
pub(crate) use self::piece::Piece;
#[cfg(any(test, feature = "layer"))]
pub(crate) use self::whole_frame::take_plain;
pub(crate) use self::{
    limits::Limits, open_frame::FrameInProgress, piece::Decoded, state::DecoderState,
};

/// Reads what a peer sends.
///
/// While no message is open it holds no memory. Payloads are copied out of the input, so a small
/// message never keeps a large read buffer alive; memory grows with the bytes received.
///
/// ```
/// use bytes::BytesMut;
/// use tower_websocket::{Config, Event, Message, protocol::{Decoder, Role}};
///
/// let mut decoder = Decoder::new(Role::Server, &Config::default());
/// let mut input = BytesMut::from(&b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"[..]);
/// let event = decoder.decode(&mut input)?;
/// assert_eq!(event, Some(Event::Message(Message::text("Hello"))));
/// # Ok::<(), tower_websocket::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: DecoderState,
}

impl Decoder {
    /// Makes a decoder for this end of a connection.
    #[must_use]
    pub fn new(role: Role, config: &Config) -> Self {
        Self {
            limits: Limits::whole_messages(config),
            state: DecoderState::new(role),
        }
    }

    #[cfg_attr(
        not(feature = "deflate"),
        expect(dead_code, reason = "nothing is agreed on without it")
    )]
    pub(super) fn set_deflate(&mut self, params: DeflateParams) {
        self.state.set_deflate(params);
    }

    /// Takes the next event from the front of `src`; `None` if more bytes are needed.
    ///
    /// What stays in `src` then is the beginning of a header or of a control frame, at most 130
    /// bytes. Keep it in front of the bytes to come.
    ///
    /// # Errors
    ///
    /// The peer broke a rule or a limit. The connection has failed: all later input is discarded.
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Event>, ProtocolError> {
        let mut unlimited = usize::MAX;
        match self.state.decode(&self.limits, src, &mut unlimited)? {
            None => Ok(None),
            Some(Decoded::Event(event)) => Ok(Some(event)),
            Some(Decoded::Piece(_)) => unreachable!("the limits are those of whole messages"),
        }
    }

    /// Returns a buffer to read the rest of a large payload into, without a detour through `src`.
    ///
    /// It is `None` unless at least 4 KiB of the open frame are still to come. The next
    /// [`decode`](Self::decode) processes what was put there; its `src` must be empty then.
    pub fn payload_buffer(&mut self) -> Option<Limit<&mut BytesMut>> {
        self.state.payload_buffer(&self.limits)
    }

    /// Reports whether a message has begun and has not ended.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use tower_websocket::{Config, protocol::{Decoder, Role}};
    ///
    /// let mut decoder = Decoder::new(Role::Client, &Config::default());
    /// let first = decoder.decode(&mut BytesMut::from(&b"\x01\x03Hel"[..]))?; // a fragment of a text
    /// assert_eq!(first, None);
    /// assert!(decoder.is_message_open());
    /// assert!(decoder.decode(&mut BytesMut::from(&b"\x80\x02lo"[..]))?.is_some());
    /// assert!(!decoder.is_message_open());
    /// # Ok::<(), tower_websocket::ProtocolError>(())
    /// ```
    #[must_use]
    pub fn is_message_open(&self) -> bool {
        self.state.open().is_some()
    }
}

#[cfg(test)]
mod tests;
