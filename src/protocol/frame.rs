//! Single frames, for those who work below messages.

use bytes::Bytes;

use super::{close::CloseFrame, header::Opcode, utf8::Utf8Bytes};

/// A frame of RFC 6455 §5.2, unmasked.
///
/// The constructors make frames with FIN; [`fragment`](Self::fragment) and [`compressed`](Self::compressed)
/// change that. They do not check anything: [`FrameCodec::encode`](super::FrameCodec::encode) refuses what no
/// peer accepts, such as a ping in fragments.
///
/// ```
/// use tower_websocket::protocol::{Frame, Opcode};
///
/// let message = [Frame::text("Hel").fragment(), Frame::continuation("lo")];
/// assert_eq!((message[0].fin, message[0].opcode), (false, Opcode::Text));
/// assert_eq!((message[1].fin, message[1].opcode), (true, Opcode::Continuation));
///
/// let payload = &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..]; // RFC 7692 §7.2.3.1
/// let frame = Frame::new(Opcode::Text, payload).compressed();
/// assert_eq!((frame.fin, frame.rsv1, frame.rsv2, frame.rsv3), (true, true, false, false));
///
/// let (ping, pong) = (Frame::ping("1"), Frame::pong("1"));
/// assert_eq!(ping.payload, pong.payload);
/// assert!(ping.opcode.is_control() && !Frame::binary(vec![1]).opcode.is_control());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the fields are those of the standard"
)]
pub struct Frame {
    /// Whether the frame is the last one of its message.
    pub fin: bool,
    /// Whether the message is compressed, if that was agreed on (RFC 7692 §6).
    pub rsv1: bool,
    /// What an extension defines that both endpoints have agreed on; `false` without one.
    pub rsv2: bool,
    /// What an extension defines that both endpoints have agreed on; `false` without one.
    pub rsv3: bool,
    /// The kind of the frame.
    pub opcode: Opcode,
    /// The payload, unmasked.
    pub payload: Bytes,
}

impl Frame {
    /// Makes a frame with FIN and without reserved bits, whatever the payload is.
    ///
    /// So the payload of a text frame may be compressed, which is not UTF-8.
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

    /// Makes a text message in one frame.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::new(Opcode::Text, text.into().into_bytes())
    }

    /// Makes a binary message in one frame.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Binary, payload)
    }

    /// Makes the last fragment of a message; see [`fragment`](Self::fragment) for those before it.
    pub fn continuation(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Continuation, payload)
    }

    /// Makes a ping.
    pub fn ping(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Ping, payload)
    }

    /// Makes a pong.
    pub fn pong(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Pong, payload)
    }

    /// Makes a Close frame; `None` has neither code nor reason.
    ///
    /// [`CloseFrame::decode`] reads the payload of a received one.
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

    /// Marks the frame as compressed (RFC 7692 §6); its payload has to be compressed already.
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
