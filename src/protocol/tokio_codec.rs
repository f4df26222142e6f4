//! The frame codec as a codec of `tokio_util`.

use std::io;

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use super::{codec::FrameCodec, frame::Frame};

/// Turns a byte stream into a stream of frames, with `tokio_util::codec::Framed`.
///
/// If the peer breaks a rule, the error is of the kind [`InvalidData`](io::ErrorKind::InvalidData) with a
/// [`ProtocolError`](crate::ProtocolError) in it. For a frame that
/// [`encode`](FrameCodec::encode) refuses it is of the kind [`InvalidInput`](io::ErrorKind::InvalidInput), and for an
/// end inside a frame [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
///
/// ```
/// use bytes::BytesMut;
/// use tokio_util::codec::{Decoder, Encoder, Framed};
/// use tower_websocket::protocol::{Frame, FrameCodec, Role};
///
/// let (stream, _peer) = tokio::io::duplex(1024);
/// let framed = Framed::new(stream, FrameCodec::new(Role::Client)); // a Stream and a Sink of frames
/// # fn is_codec<C: Decoder<Item = Frame> + Encoder<Frame>>(_: &C) {}
/// # is_codec(framed.codec());
///
/// let mut bytes = BytesMut::from(&b"\x89\x00"[..]);
/// let frame = Decoder::decode(&mut FrameCodec::new(Role::Client), &mut bytes)?;
/// assert_eq!(frame, Some(Frame::ping("")));
/// # Ok::<(), std::io::Error>(())
/// ```
impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<Frame>> {
        Self::decode(self, src).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> io::Result<Option<Frame>> {
        match Decoder::decode(self, src)? {
            None if !src.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            frame => Ok(frame),
        }
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = io::Error;

    fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> io::Result<()> {
        Self::encode(self, &frame, dst)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        ProtocolError, Role,
        test_support::{HELLO, MASKED_HELLO},
    };

    #[test]
    fn codec_decodes_frames_and_asks_for_more() {
        let mut codec = FrameCodec::new(Role::Client);
        let mut bytes = BytesMut::from(&HELLO[..6]);
        assert!(matches!(Decoder::decode(&mut codec, &mut bytes), Ok(None)));
        bytes.extend_from_slice(&HELLO[6..]);
        let frame = Decoder::decode(&mut codec, &mut bytes);
        assert_eq!(frame.ok().flatten(), Some(Frame::text("Hello")));
        assert!(matches!(codec.decode_eof(&mut bytes), Ok(None)));
    }

    #[test]
    fn codec_encodes_as_the_inherent_method_does() -> io::Result<()> {
        let mut bytes = BytesMut::new();
        Encoder::encode(
            &mut FrameCodec::new(Role::Server),
            Frame::text("Hello"),
            &mut bytes,
        )?;
        assert_eq!(bytes, HELLO);
        Ok(())
    }

    #[test]
    fn codec_refuses_a_frame_that_no_peer_takes() {
        let mut bytes = BytesMut::new();
        let frame = Frame::ping("Hello").fragment();
        let error = Encoder::encode(&mut FrameCodec::new(Role::Server), frame, &mut bytes)
            .expect_err("a ping in fragments");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(bytes.is_empty());
    }

    #[test]
    fn codec_reports_an_end_inside_a_frame() {
        let mut codec = FrameCodec::new(Role::Client);
        for cut in 1..HELLO.len() {
            let mut bytes = BytesMut::from(&HELLO[..cut]);
            let error = codec.decode_eof(&mut bytes).err();
            let kind = error.map(|error| error.kind());
            assert_eq!(kind, Some(io::ErrorKind::UnexpectedEof), "cut at {cut}");
        }
    }

    #[test]
    fn codec_carries_the_protocol_error() {
        let mut bytes = BytesMut::from(MASKED_HELLO);
        let error = Decoder::decode(&mut FrameCodec::new(Role::Client), &mut bytes)
            .expect_err("a masked frame from a server");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        assert_eq!(inner, Some(&ProtocolError::MaskedFrame));
    }
}
