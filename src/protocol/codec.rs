//! Frames to and from bytes, without the rules of a connection.

use std::{
    io::{self, Read, Write},
    mem,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    error::ProtocolError,
    frame::Frame,
    header::{Header, RSV1, RSV2, RSV3},
    mask::apply_mask,
    random::random_masking_key,
    role::Role,
};

/// Encodes and decodes single frames.
///
/// It checks the rules that a single frame can break, in both directions, and the masking that the role
/// demands. The order of frames and the content of messages are left to the caller;
/// [`Decoder`](super::Decoder) checks those too. With the feature `codec` it is also a codec of
/// `tokio_util`. `Compressor` and `Decompressor` (feature `deflate`) compress payloads.
///
/// ```
/// use bytes::BytesMut;
/// use tower_websocket::protocol::{Frame, FrameCodec, Role};
///
/// let (mut client, mut server) = (FrameCodec::new(Role::Client), FrameCodec::new(Role::Server));
/// let mut bytes = BytesMut::new();
/// client.encode(&Frame::text("Hello"), &mut bytes)?;
/// assert_eq!(server.decode(&mut bytes)?, Some(Frame::text("Hello")));
/// assert_eq!(server.decode(&mut bytes)?, None); // more bytes, please
/// # Ok::<(), tower_websocket::ProtocolError>(())
/// ```
///
/// A clone has the same settings and begins between two frames. The part of a frame that
/// [`read_frame`](Self::read_frame) keeps stays with the codec that has read it.
#[derive(Debug)]
pub struct FrameCodec {
    role: Role,
    max_frame_size: u64,
    /// The reserved bits that no extension gives a meaning to.
    refused: u8,
    /// What has come of the frame that is being read from a stream, from its header on.
    partial: Vec<u8>,
}

impl Clone for FrameCodec {
    fn clone(&self) -> Self {
        Self {
            role: self.role,
            max_frame_size: self.max_frame_size,
            refused: self.refused,
            partial: Vec::new(),
        }
    }
}

impl FrameCodec {
    /// Makes a codec for this end of a connection, with frames of at most 1 MiB.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            max_frame_size: 1 << 20,
            refused: RSV1 | RSV2 | RSV3,
            partial: Vec::new(),
        }
    }

    /// Limits the payload of a received frame, in bytes.
    ///
    /// A larger frame is [`FrameTooBig`](ProtocolError::FrameTooBig), found by its header. `None` means no
    /// limit. Default: 1 MiB.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use tower_websocket::{ProtocolError, protocol::{FrameCodec, Role}};
    ///
    /// let mut codec = FrameCodec::new(Role::Client).max_frame_size(4);
    /// let refused = codec.decode(&mut BytesMut::from(&b"\x82\x05"[..]));
    /// assert_eq!(refused, Err(ProtocolError::FrameTooBig { size: 5, limit: 4 }));
    /// ```
    #[must_use]
    pub fn max_frame_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_frame_size = bytes.into().map_or(u64::MAX, |bytes| bytes as u64);
        self
    }

    /// Allows RSV1 in data frames, sent and received, for callers that have agreed on an extension.
    ///
    /// Default: `false`.
    #[must_use]
    pub fn allow_rsv1(self, allow: bool) -> Self {
        self.allow(RSV1, allow)
    }

    /// Allows RSV2, sent and received, for callers that have agreed on an extension of their own.
    ///
    /// Default: `false`.
    #[must_use]
    pub fn allow_rsv2(self, allow: bool) -> Self {
        self.allow(RSV2, allow)
    }

    /// Allows RSV3, sent and received, for callers that have agreed on an extension of their own.
    ///
    /// Default: `false`.
    #[must_use]
    pub fn allow_rsv3(self, allow: bool) -> Self {
        self.allow(RSV3, allow)
    }

    fn allow(mut self, bit: u8, allow: bool) -> Self {
        self.refused = if allow {
            self.refused & !bit
        } else {
            self.refused | bit
        };
        self
    }

    /// Appends a frame to `dst`, masked if this is the client's end.
    ///
    /// The size of the frame is not checked: that limit is the peer's.
    ///
    /// # Errors
    ///
    /// A frame that [`decode`](Self::decode) of a peer with the same reserved bits would refuse: a control
    /// frame that is fragmented, compressed or longer than 125 bytes (RFC 6455 §5.5), or a reserved bit
    /// that is not allowed (§5.2). Nothing is appended then.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use tower_websocket::{ProtocolError, protocol::{Frame, FrameCodec, Role}};
    ///
    /// let (mut codec, mut bytes) = (FrameCodec::new(Role::Client), BytesMut::new());
    /// let refused = codec.encode(&Frame::ping(vec![0; 126]), &mut bytes);
    /// assert_eq!(refused, Err(ProtocolError::ControlTooLong(126)));
    /// assert!(bytes.is_empty());
    /// ```
    pub fn encode(&mut self, frame: &Frame, dst: &mut BytesMut) -> Result<(), ProtocolError> {
        let masking_key = match self.role {
            Role::Client => Some(random_masking_key()),
            Role::Server => None,
        };
        let header = Header {
            fin: frame.fin,
            rsv1: frame.rsv1,
            rsv2: frame.rsv2,
            rsv3: frame.rsv3,
            opcode: frame.opcode,
            masking_key,
            payload_len: frame.payload.len() as u64,
        };
        header.check(self.refused)?;
        dst.reserve(header.encode().len() + frame.payload.len());
        dst.put_slice(&header.encode());
        let start = dst.len();
        dst.put_slice(&frame.payload);
        if let Some(key) = masking_key {
            apply_mask(&mut dst[start..], key);
        }
        Ok(())
    }

    /// Takes a frame from the front of `src`; `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// A frame that breaks RFC 6455 §5 by itself, is masked against the role, or is too big.
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, ProtocolError> {
        let Some((header, used)) = Header::decode_without(src, self.refused)? else {
            return Ok(None);
        };
        self.check(&header)?;
        if header.payload_len > (src.len() - used) as u64 {
            return Ok(None);
        }
        src.advance(used);
        let mut payload = src.split_to(header.payload_len as usize);
        if let Some(key) = header.masking_key {
            apply_mask(&mut payload, key);
        }
        Ok(Some(frame(&header, payload.freeze())))
    }

    /// Reads a frame from a blocking stream; `None` if the stream ends between two frames.
    ///
    /// If the stream fails within a frame, the codec keeps what has come of it, and no more memory than that.
    /// After [`WouldBlock`](io::ErrorKind::WouldBlock) or [`TimedOut`](io::ErrorKind::TimedOut) call this again,
    /// with the same stream, and it continues. So a codec reads one stream; take a [clone](Self::clone) for another.
    ///
    /// ```
    /// use tower_websocket::protocol::{Frame, FrameCodec, Role};
    ///
    /// let (mut client, mut server) = (FrameCodec::new(Role::Client), FrameCodec::new(Role::Server));
    /// let mut stream = Vec::new();
    /// client.write_frame(&mut stream, &Frame::binary(vec![1, 2, 3]))?;
    /// let mut stream = &stream[..];
    /// assert_eq!(server.read_frame(&mut stream)?, Some(Frame::binary(vec![1, 2, 3])));
    /// assert_eq!(server.read_frame(&mut stream)?, None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the stream, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) inside a frame, and
    /// [`InvalidData`](io::ErrorKind::InvalidData) with a [`ProtocolError`] in it. Later calls return that one
    /// again, since it is not known where the next frame begins.
    pub fn read_frame(&mut self, mut stream: impl Read) -> io::Result<Option<Frame>> {
        let Some((header, used)) = self.read_header(&mut stream)? else {
            return Ok(None);
        };
        self.check(&header).map_err(invalid)?;
        let missing = used as u64 + header.payload_len - self.partial.len() as u64;
        // Grows with the bytes received, whatever the header declares.
        let read = stream.take(missing).read_to_end(&mut self.partial)?;
        if (read as u64) < missing {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = mem::take(&mut self.partial);
        if let Some(key) = header.masking_key {
            apply_mask(&mut bytes[used..], key);
        }
        let payload = Bytes::from(bytes).slice(used..);
        Ok(Some(frame(&header, payload)))
    }

    /// Reads a header two bytes at a time: every header has an even length, so nothing behind it is taken.
    fn read_header(&mut self, stream: &mut impl Read) -> io::Result<Option<(Header, usize)>> {
        loop {
            let header = Header::decode_without(&self.partial, self.refused).map_err(invalid)?;
            if header.is_some() {
                return Ok(header);
            }
            let missing = 2 - self.partial.len() % 2;
            let read = stream.take(missing as u64).read_to_end(&mut self.partial)?;
            if read == 0 && self.partial.is_empty() {
                return Ok(None);
            }
            if read < missing {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Writes a frame to a blocking stream, in one write if the stream takes it.
    ///
    /// # Errors
    ///
    /// Those of the stream, and [`InvalidInput`](io::ErrorKind::InvalidInput) with a [`ProtocolError`] in
    /// it for a frame that [`encode`](Self::encode) refuses. Nothing is written in the latter case.
    pub fn write_frame(&mut self, mut stream: impl Write, frame: &Frame) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        self.encode(frame, &mut bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        stream.write_all(&bytes)
    }

    fn check(&self, header: &Header) -> Result<(), ProtocolError> {
        let size = header.payload_len;
        match self.role {
            Role::Server if header.masking_key.is_none() => Err(ProtocolError::UnmaskedFrame),
            Role::Client if header.masking_key.is_some() => Err(ProtocolError::MaskedFrame),
            _ if size > self.max_frame_size => Err(ProtocolError::FrameTooBig {
                size,
                limit: self.max_frame_size,
            }),
            _ => Ok(()),
        }
    }
}

fn frame(header: &Header, payload: Bytes) -> Frame {
    Frame {
        fin: header.fin,
        rsv1: header.rsv1,
        rsv2: header.rsv2,
        rsv3: header.rsv3,
        opcode: header.opcode,
        payload,
    }
}

fn invalid(error: ProtocolError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
