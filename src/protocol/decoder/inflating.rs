//! What only a compressed message has.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    body::{Body, MOST_AT_ONCE},
    limits::Limits,
    open_frame::{OpenFrame, Progress},
};
use crate::protocol::{
    deflate::{History, Inflater},
    error::ProtocolError,
    mask::{advance_key, apply_mask},
};

/// The decompression of a message.
#[derive(Debug)]
pub(super) struct Inflating {
    inflater: Inflater,
    /// What was decompressed before what the body has.
    chunks: Vec<Bytes>,
    /// The inflater may have more output for the input that it has taken.
    pending: bool,
}

impl Inflating {
    pub(super) fn new(inflater: Inflater) -> Self {
        Self {
            inflater,
            chunks: Vec::new(),
            pending: false,
        }
    }

    /// Decompresses what `src` has of `frame`; stops for a while when nothing is left of the `room`.
    ///
    /// At the end of the message, too, only the frame is said to have ended.
    #[inline(never)]
    pub(super) fn receive(
        &mut self,
        frame: &mut OpenFrame,
        body: &mut Body,
        src: &mut BytesMut,
        limits: &Limits,
        room: &mut usize,
    ) -> Result<Progress, ProtocolError> {
        loop {
            let len = frame.remaining.min(src.len().min(STEP) as u64) as usize;
            if len == 0 && !self.pending {
                break;
            }
            if *room == 0 {
                return Ok(Progress::Interrupted);
            }
            let before = body.len();
            let full = self.inflate(frame, body, src, len, limits)?;
            let inflated = body.len() - before;
            *room = room.saturating_sub(inflated as usize);
            if full {
                return Ok(Progress::Full);
            }
        }
        if frame.remaining > 0 {
            return Ok(Progress::Starved);
        }
        if frame.fin && self.inflate_tail(body, limits)? {
            return Ok(Progress::Full);
        }
        Ok(Progress::FrameEnded)
    }

    /// Decompresses from the first `len` bytes of `src`; reports whether a piece is full.
    #[inline]
    fn inflate(
        &mut self,
        frame: &mut OpenFrame,
        body: &mut Body,
        src: &mut BytesMut,
        len: usize,
        limits: &Limits,
    ) -> Result<bool, ProtocolError> {
        let room = room(body, limits);
        let key = frame.masking_key;
        apply_mask(&mut src[..len], key);
        let before = self.chunks.last().map_or(&[][..], |chunk| chunk);
        let inflated = self
            .inflater
            .inflate(&src[..len], before, &mut body.payload, room);
        let used = match inflated {
            Ok(used) => used,
            Err(error) => {
                // What is wrong with the output comes first, as it does if less arrives at once.
                self.inflated(body, room, limits)?;
                return Err(error);
            }
        };
        // What is left is looked at again, and unmasked then.
        apply_mask(&mut src[used..len], advance_key(key, used));
        src.advance(used);
        frame.take(used);
        self.inflated(body, room, limits)
    }

    /// Decompresses what the end of the message stands for; reports whether a piece is full.
    fn inflate_tail(&mut self, body: &mut Body, limits: &Limits) -> Result<bool, ProtocolError> {
        loop {
            let room = room(body, limits);
            let before = self.chunks.last().map_or(&[][..], |chunk| chunk);
            let over = self.inflater.finish(before, &mut body.payload, room)?;
            let full = self.inflated(body, room, limits)?;
            if over {
                return Ok(false);
            }
            if full {
                return Ok(true);
            }
        }
    }

    /// Validates what was decompressed, and sets it aside if it is much; reports whether it is a
    /// full piece.
    #[inline]
    fn inflated(
        &mut self,
        body: &mut Body,
        room: usize,
        limits: &Limits,
    ) -> Result<bool, ProtocolError> {
        body.validate()?;
        self.pending = body.payload.len() >= room;
        let limit = limits.max_message_size;
        if body.len() > limit {
            return Err(ProtocolError::InflatedTooBig { limit });
        }
        if !self.pending || limits.streaming {
            return Ok(self.pending);
        }
        self.chunks.push(body.set_aside());
        Ok(false)
    }

    /// Takes what a later message may refer to, with context takeover.
    pub(super) fn take_history(&mut self) -> Option<History> {
        self.inflater.history.take()
    }

    /// Returns how much was set aside, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    pub(super) fn into_chunks(self) -> Vec<Bytes> {
        self.chunks
    }
}

/// Returns how much may be decompressed at once: one byte more than allowed shows that it is too
/// much.
fn room(body: &Body, limits: &Limits) -> usize {
    let allowed = limits.max_message_size.saturating_sub(body.before());
    allowed.saturating_add(1).min(MOST_AT_ONCE as u64) as usize
}

/// How much is unmasked before it is decompressed.
const STEP: usize = 4 << 10;
