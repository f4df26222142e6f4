//! Single frames, for those who work below messages.

use bytes::Bytes;

use super::{close::CloseFrame, header::Opcode, utf8::Utf8Bytes};

/// A frame of RFC 6455 §5.2, unmasked.
///
/// The constructors make frames with FIN; [`fragment`](Self::fragment) and [`compressed`](Self::compressed)
/// change that. What they let a caller make and no peer takes, such as a ping in fragments, is found by
/// [`FrameCodec::encode`](super::FrameCodec::encode).
///
/// ```
/// use tower_websocket::protocol::{Frame, Opcode};
///
/// let frame = Frame::text("Hel").fragment();
/// assert_eq!((frame.fin, frame.opcode), (false, Opcode::Text));
///
/// let payload = &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..]; // RFC 7692 §7.2.3.1
/// let frame = Frame::new(Opcode::Text, payload).compressed();
/// assert_eq!((frame.fin, frame.rsv1), (true, true));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the fields are those of the standard"
)]
pub struct Frame {
    /// The frame is the last one of its message.
    pub fin: bool,
    /// The message is compressed, where an extension says so (RFC 7692 §6).
    pub rsv1: bool,
    /// Whatever an extension says that both endpoints have agreed on; `false` without one.
    pub rsv2: bool,
    /// Whatever an extension says that both endpoints have agreed on; `false` without one.
    pub rsv3: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// What it carries.
    pub payload: Bytes,
}

impl Frame {
    /// Makes a frame with FIN and without reserved bits, whatever the payload is.
    ///
    /// So a compressed text can be made, which is no UTF-8.
    pub fn new(opcode: Opcode, payload: impl Into<Bytes>) -> Self {
        Self {
            fin: true,
            rsv1: false,
            rsv2: false,
            rsv3: false,
            opcode,
            payload: payload.into(),
        }
    }

    /// A text message in one frame.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::new(Opcode::Text, text.into().into_bytes())
    }

    /// A binary message in one frame.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Binary, payload)
    }

    /// The last fragment of a message; see [`fragment`](Self::fragment) for those before it.
    pub fn continuation(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Continuation, payload)
    }

    /// A ping.
    pub fn ping(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Ping, payload)
    }

    /// A pong.
    pub fn pong(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Pong, payload)
    }

    /// A Close frame; `None` has neither code nor reason. [`CloseFrame::decode`] takes a received one's
    /// payload apart.
    ///
    /// ```
    /// use tower_websocket::{CloseCode, CloseFrame, protocol::Frame};
    ///
    /// let close = CloseFrame::new(CloseCode::GOING_AWAY, "bye");
    /// let frame = Frame::close(Some(&close));
    /// assert_eq!(frame.payload, &b"\x03\xe9bye"[..]);
    /// assert_eq!(CloseFrame::decode(&frame.payload), Ok(Some(close)));
    /// assert_eq!(CloseFrame::decode(&Frame::close(None).payload), Ok(None));
    /// ```
    #[must_use]
    pub fn close(frame: Option<&CloseFrame>) -> Self {
        let payload = frame.map_or_else(Bytes::new, CloseFrame::payload);
        Self::new(Opcode::Close, payload)
    }

    /// Returns the frame as a fragment that is not the last one of its message.
    #[must_use]
    pub fn fragment(mut self) -> Self {
        self.fin = false;
        self
    }

    /// The same frame, marked as compressed (RFC 7692 §6): the payload already is.
    #[must_use]
    pub fn compressed(mut self) -> Self {
        self.rsv1 = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::close::CloseCode;

    #[test]
    fn frames_are_made_whole() {
        let frames = [
            (Frame::text("a"), Opcode::Text),
            (Frame::binary("a"), Opcode::Binary),
            (Frame::continuation("a"), Opcode::Continuation),
            (Frame::ping("a"), Opcode::Ping),
            (Frame::pong("a"), Opcode::Pong),
        ];
        for (frame, opcode) in frames {
            assert_eq!((frame.fin, frame.rsv1, frame.opcode), (true, false, opcode));
            assert_eq!(frame.payload, "a");
        }
    }

    #[test]
    fn fragments_and_compressed_frames_are_marked() {
        let frame = Frame::text("a").fragment().compressed();
        assert_eq!((frame.fin, frame.rsv1), (false, true));
    }

    #[test]
    fn close_frame_has_code_and_reason_in_network_order() {
        let close = CloseFrame::new(CloseCode::GOING_AWAY, "bye");
        assert_eq!(Frame::close(Some(&close)).payload, &b"\x03\xe9bye"[..]);
        assert_eq!(Frame::close(None), Frame::new(Opcode::Close, Bytes::new()));
    }
}
