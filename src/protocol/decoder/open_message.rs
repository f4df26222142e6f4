//! A message that has begun and not ended: frames, unmasking, growth.

use bytes::{Buf, BufMut, BytesMut, buf::Limit};

use super::{
    body::{Body, MOST_AT_ONCE},
    inflating::Inflating,
    limits::Limits,
    open_frame::{OpenFrame, Progress},
    piece::{Decoded, Piece},
};
use crate::protocol::{
    deflate::{History, Inflater},
    error::ProtocolError,
    header::{Header, Opcode},
    mask::apply_mask,
    message::MessageKind,
    spare::{self, SPARE_FROM},
};

/// A message that has begun and not ended.
#[derive(Debug)]
pub(super) struct OpenMessage {
    /// How many frames it has had so far.
    pub(super) fragments: u64,
    /// What those frames declare together, in bytes.
    pub(super) declared: u64,
    /// The frame that has begun and not ended, if the peer is inside one.
    pub(super) frame: Option<OpenFrame>,
    pub(super) body: Body,
    /// Present if the message is compressed.
    inflating: Option<Inflating>,
}

impl OpenMessage {
    pub(super) fn new(opcode: Opcode, inflater: Option<Inflater>) -> Self {
        Self {
            fragments: 0,
            declared: 0,
            frame: None,
            body: Body::new(MessageKind::of(opcode)),
            inflating: inflater.map(Inflating::new),
        }
    }

    pub(super) fn open_frame(&mut self, header: &Header) {
        self.fragments += 1;
        self.declared += header.payload_len;
        self.frame = Some(OpenFrame::new(header));
    }

    /// Drops what was received: the message is not wanted any longer.
    pub(super) fn discard(&mut self) {
        let unprocessed = self.body.unprocessed();
        if self.inflating.take().is_none()
            && let Some(frame) = &mut self.frame
        {
            frame.take(unprocessed);
        }
        self.body.clear();
        (self.declared, self.fragments) = (0, 0);
        if let Some(frame) = &self.frame {
            self.declared = frame.received + frame.remaining;
        }
    }

    /// Passes over payload in `src`.
    pub(super) fn skip(&mut self, src: &mut BytesMut) -> Progress {
        let Some(frame) = &mut self.frame else {
            return Progress::FrameEnded;
        };
        let len = frame.remaining.min(src.len() as u64) as usize;
        src.advance(len);
        frame.take(len);
        if frame.remaining > 0 {
            Progress::Starved
        } else {
            self.end_frame()
        }
    }

    /// Takes payload from `src`, and whatever was read directly; stops for a while when nothing is
    /// left of the `room` for what comes out of the decompressor.
    #[inline]
    pub(super) fn receive(
        &mut self,
        src: &mut BytesMut,
        limits: &Limits,
        room: &mut usize,
    ) -> Result<Progress, ProtocolError> {
        if let (Some(inflating), Some(frame)) = (&mut self.inflating, &mut self.frame) {
            let progress = inflating.receive(frame, &mut self.body, src, limits, room)?;
            if progress == Progress::FrameEnded {
                return Ok(self.end_frame());
            }
            return Ok(progress);
        }
        self.process()?;
        let remaining = self.remaining();
        let len = remaining.min(src.len() as u64) as usize;
        self.grow(len, limits);
        self.body.payload.extend_from_slice(&src[..len]);
        src.advance(len);
        self.process()?;
        Ok(if remaining == len as u64 {
            self.end_frame()
        } else {
            Progress::Starved
        })
    }

    /// Returns how much memory it holds, in bytes.
    pub(super) fn memory(&self) -> usize {
        let chunks = self.inflating.as_ref().map_or(0, Inflating::memory);
        spare::memory(&self.body.payload) + chunks
    }

    /// Returns how much of it was received, in bytes on the wire.
    pub(super) fn received(&self) -> u64 {
        self.declared - self.remaining()
    }

    fn remaining(&self) -> u64 {
        self.frame.as_ref().map_or(0, |frame| frame.remaining)
    }

    /// Returns where the rest of a large payload may be read to.
    pub(super) fn payload_buffer(&mut self, limits: &Limits) -> Option<Limit<&mut BytesMut>> {
        if self.inflating.is_some() {
            return None;
        }
        let unprocessed = self.body.unprocessed() as u64;
        let remaining = self.frame.as_ref()?.remaining - unprocessed;
        if remaining < DIRECT {
            return None;
        }
        if self.body.payload.capacity() == self.body.payload.len() {
            self.grow(1, limits);
        }
        let space = (self.body.payload.capacity() - self.body.payload.len()) as u64;
        Some((&mut self.body.payload).limit(space.min(remaining) as usize))
    }

    /// Makes room for `len` more bytes: doubling, but by no more than a sixteenth past what the message
    /// may become.
    fn grow(&mut self, len: usize, limits: &Limits) {
        let needed = self.body.payload.len() + len;
        if needed <= self.body.payload.capacity() {
            return;
        }
        if limits.streaming {
            // What comes at once is given away at once. Room for more is earned by what came before.
            let earned = self.received().clamp(DIRECT, MOST_AT_ONCE as u64);
            let target = earned.min(self.remaining()) as usize;
            let room = if len == 1 { target } else { len };
            if self.body.payload.is_empty() {
                // `reserve` would double what was given away.
                self.body.payload = BytesMut::with_capacity(room);
            } else {
                self.body.payload.reserve(room);
            }
            return;
        }
        let fin = self.frame.as_ref().is_some_and(|frame| frame.fin);
        let end = if fin {
            self.body.payload.len() as u64 + self.remaining()
        } else {
            limits.max_message_size
        };
        if fin
            && end >= SPARE_FROM as u64
            && let Some(mut spare) = spare::take(end)
        {
            spare.extend_from_slice(&self.body.payload);
            self.body.payload = spare;
            return;
        }
        let doubled = 2 * self.body.payload.capacity();
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        let target = if fin {
            least_halving(end, needed.max(LEAST_GROWTH).min(end))
        } else {
            doubled.max(LEAST_GROWTH).min(end).max(needed)
        };
        if doubled > 0 && doubled <= target + target / 16 {
            self.body.payload.reserve(target - self.body.payload.len());
        } else {
            // `reserve` would double.
            let mut exact = if fin && target >= SPARE_FROM {
                spare::new(target)
            } else {
                BytesMut::with_capacity(target)
            };
            exact.extend_from_slice(&self.body.payload);
            self.body.payload = exact;
        }
    }

    /// Unmasks and validates the bytes that came since the last time.
    #[inline]
    fn process(&mut self) -> Result<(), ProtocolError> {
        if let Some(frame) = &mut self.frame {
            let new = self.body.new_bytes();
            apply_mask(new, frame.masking_key);
            frame.take(new.len());
        }
        self.body.validate()
    }

    fn end_frame(&mut self) -> Progress {
        match self.frame.take() {
            Some(frame) if frame.fin => Progress::MessageEnded,
            _ => Progress::FrameEnded,
        }
    }

    /// Takes what there is, to be given away; `None` if that is nothing.
    pub(super) fn take_piece(&mut self) -> Option<Piece> {
        self.body.take_piece()
    }

    /// Takes what a later message may refer to, with context takeover.
    pub(super) fn take_history(&mut self) -> Option<History> {
        self.inflating.as_mut()?.take_history()
    }

    /// Ends a message: returns the rest of it, if it was given away in pieces.
    pub(super) fn finish(mut self, limits: &Limits) -> Result<Decoded, ProtocolError> {
        self.body.finish()?;
        if limits.streaming && self.body.has_left() {
            return Ok(Decoded::Piece(self.body.into_last_piece()));
        }
        let chunks = self.inflating.map(Inflating::into_chunks);
        self.body
            .into_message(&chunks.unwrap_or_default())
            .map(Decoded::Event)
    }
}

/// The least of a half, a quarter, an eighth … of `end` that is at least `needed`: less than twice as
/// much, and from there it doubles to `end`, which an allocator may do without copying.
fn least_halving(end: usize, needed: usize) -> usize {
    let mut target = end;
    while target.div_ceil(2) >= needed && target > 1 {
        target = target.div_ceil(2);
    }
    target
}

/// From here on a payload's rest is read where it will stay.
const DIRECT: u64 = 4 << 10;

/// The least room made for a message that arrives in pieces.
const LEAST_GROWTH: usize = 256;
