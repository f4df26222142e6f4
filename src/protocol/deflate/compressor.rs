//! Compressing payloads by hand, for callers who write frames themselves.

use bytes::Bytes;

use super::{
    deflater::{Context, Deflater, deflate},
    params::{DeflateParams, Shape},
};
use crate::{compression::Compression, protocol::role::Role};

/// Compresses the payloads of what one end of a connection sends (RFC 7692 §7.2.1).
///
/// It is for callers that write frames themselves, with [`FrameCodec`](crate::protocol::FrameCodec);
/// [`Connection`](crate::protocol::Connection) and sessions compress by themselves. With context takeover,
/// messages refer to those before them, so every compressed payload has to be sent, in the same order.
/// Only the first frame of a compressed message has RSV1.
///
/// ```
/// use bytes::BytesMut;
/// use tower_websocket::{
///     Compression, ProtocolError,
///     protocol::{Compressor, Decompressor, DeflateParams, Frame, FrameCodec, Opcode, Role},
/// };
///
/// let params = DeflateParams::default(); // as agreed on in the handshake
/// let mut compressor = Compressor::new(Role::Client, params, &Compression::dedicated());
/// let mut codec = FrameCodec::new(Role::Client).allow_rsv1(true);
/// let mut bytes = BytesMut::new();
///
/// // A whole message: FIN and RSV1.
/// let payload = compressor.compress(b"Hello, hello, hello");
/// codec.encode(&Frame::new(Opcode::Text, payload).compressed(), &mut bytes)?;
///
/// // A message in two frames.
/// let payload = compressor.compress_fragment(b"Hello, ");
/// codec.encode(&Frame::new(Opcode::Text, payload).compressed().fragment(), &mut bytes)?;
/// codec.encode(&Frame::continuation(compressor.compress(b"hello")), &mut bytes)?;
///
/// // The other end.
/// let mut decompressor = Decompressor::new(Role::Server, params);
/// let mut codec = FrameCodec::new(Role::Server).allow_rsv1(true);
/// let (mut text, mut is_compressed) = (Vec::new(), false);
/// while let Some(frame) = codec.decode(&mut bytes)? {
///     if frame.opcode != Opcode::Continuation {
///         is_compressed = frame.rsv1;
///     }
///     text.extend_from_slice(&match (is_compressed, frame.fin) {
///         (true, true) => decompressor.decompress(&frame.payload)?,
///         (true, false) => decompressor.decompress_fragment(&frame.payload)?,
///         (false, _) => frame.payload,
///     });
/// }
/// assert_eq!(text, b"Hello, hello, helloHello, hello");
/// # Ok::<(), ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct Compressor {
    shape: Shape,
    /// What a message may refer to, with context takeover.
    context: Option<Context>,
    /// The message of which fragments were compressed, and not the last one.
    message: Option<Deflater>,
}

impl Compressor {
    /// Makes the compressor of this end of a connection.
    ///
    /// `params` are what was [agreed on](crate::handshake::deflate). Of `settings` it uses level, memory level and
    /// the limit on memory. Window and context takeover are those of `params`. Every message is compressed,
    /// however short it is.
    #[must_use]
    pub fn new(role: Role, params: DeflateParams, settings: &Compression) -> Self {
        let direction = params.direction(role);
        let takeover = direction.context_takeover;
        Self {
            shape: Shape::new(direction, settings),
            context: takeover.then(|| Context::new(direction, settings)),
            message: None,
        }
    }

    /// Compresses a whole message, or the last part of one.
    ///
    /// The other parts are for [`compress_fragment`](Self::compress_fragment). The result is never empty. It may be
    /// longer than `payload`, by no more than a few bytes for each 16 KiB.
    #[must_use = "what is compressed has to be sent: later messages may refer to it"]
    pub fn compress(&mut self, payload: &[u8]) -> Bytes {
        let mut output = Vec::new();
        let mut message = self.open();
        message.finish(payload, &mut output);
        message.end(self.context.as_mut());
        output.into()
    }

    /// Compresses a whole message; `None` if that does not make it shorter.
    ///
    /// Send the message as it is then, without RSV1; the compressor is in the state that it had before. The last
    /// part of a message that [`compress_fragment`](Self::compress_fragment) has begun is compressed in any case.
    ///
    /// ```
    /// use tower_websocket::{Compression, protocol::{Compressor, DeflateParams, Role}};
    ///
    /// let params = DeflateParams::default();
    /// let mut compressor = Compressor::new(Role::Server, params, &Compression::shared());
    /// assert!(compressor.compress_if_shorter(&[b'a'; 1000]).is_some_and(|short| short.len() < 50));
    /// assert_eq!(compressor.compress_if_shorter(b"x"), None);
    /// ```
    #[must_use = "what is compressed has to be sent: later messages may refer to it"]
    pub fn compress_if_shorter(&mut self, payload: &[u8]) -> Option<Bytes> {
        if self.message.is_some() {
            return Some(self.compress(payload));
        }
        let output = match &mut self.context {
            Some(context) => context.deflate(self.shape, payload),
            None => deflate(self.shape, payload),
        };
        output.map(|output| Bytes::copy_from_slice(&output))
    }

    /// Compresses a part of a message that is not the last one.
    ///
    /// The result is never empty, and enough for the peer to read all of `payload`. The last part is for
    /// [`compress`](Self::compress).
    #[must_use = "what is compressed has to be sent: what follows refers to it"]
    pub fn compress_fragment(&mut self, payload: &[u8]) -> Bytes {
        let mut output = Vec::new();
        let mut message = self.open();
        message.write(payload, &mut output);
        message.flush(&mut output);
        self.message = Some(message);
        if output.is_empty() {
            // Nothing came since the last one: an empty block.
            output.extend_from_slice(EMPTY_BLOCK);
        }
        output.into()
    }

    /// Reports whether a message has begun and has not ended.
    #[must_use]
    pub fn is_message_open(&self) -> bool {
        self.message.is_some()
    }

    fn open(&mut self) -> Deflater {
        let begun = self.message.take();
        begun.unwrap_or_else(|| Deflater::start(self.shape, self.context.as_mut()))
    }
}

/// A block without content that ends at a byte's boundary (RFC 1951 §3.2.4).
const EMPTY_BLOCK: &[u8] = b"\x00\x00\x00\xff\xff";
