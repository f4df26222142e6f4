//! A message that has begun and not ended.

use bytes::{Buf, BufMut, Bytes, BytesMut, buf::Limit};

use super::{
    limits::Limits,
    open_frame::OpenFrame,
    piece::{Decoded, Piece},
};
use crate::protocol::{
    deflate::{History, Inflater},
    error::ProtocolError,
    header::{Header, Opcode},
    mask::{advance_key, apply_mask},
    message::{Event, Message},
    spare::{self, SPARE_FROM},
    utf8::{Utf8Bytes, Utf8Validator},
};

/// A message that has begun and not ended.
#[derive(Debug)]
pub(super) struct OpenMessage {
    opcode: Opcode,
    /// How many frames it has had so far.
    pub(super) fragments: u64,
    /// What those frames declare together, in bytes.
    pub(super) declared: u64,
    /// The frame that has begun and not ended, if the peer is inside one.
    pub(super) frame: Option<OpenFrame>,
    pub(super) payload: BytesMut,
    /// How much of `payload` is unmasked and validated.
    pub(super) processed: usize,
    utf8: Utf8Validator,
    /// What has left `payload`, in bytes: set aside in `chunks`, or given away.
    before: u64,
    /// What was decompressed before `payload`.
    chunks: Vec<Bytes>,
    /// Present where the message is compressed.
    inflater: Option<Inflater>,
    /// The inflater may have more output for the input that it has taken.
    pending: bool,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// More input is needed.
    Starved,
    /// There is a piece to give away before anything more is taken.
    Full,
    /// Enough was decompressed for a while: the same input goes on later.
    Interrupted,
    /// The frame has ended, and the message has not.
    FrameEnded,
    MessageEnded,
}

impl OpenMessage {
    pub(super) fn new(opcode: Opcode, inflater: Option<Inflater>) -> Self {
        Self {
            opcode,
            fragments: 0,
            declared: 0,
            frame: None,
            payload: BytesMut::new(),
            processed: 0,
            utf8: Utf8Validator::default(),
            before: 0,
            chunks: Vec::new(),
            inflater,
            pending: false,
        }
    }

    pub(super) fn open_frame(&mut self, header: &Header) {
        self.fragments += 1;
        self.declared += header.payload_len;
        self.frame = Some(OpenFrame {
            fin: header.fin,
            remaining: header.payload_len,
            received: 0,
            masking_key: header.masking_key.unwrap_or_default(),
        });
    }

    /// Drops what was received: nobody wants the message any more.
    pub(super) fn discard(&mut self) {
        let unprocessed = self.payload.len() - self.processed;
        if self.inflater.take().is_none()
            && let Some(frame) = &mut self.frame
        {
            frame.take(unprocessed);
        }
        self.payload = BytesMut::new();
        self.chunks = Vec::new();
        (self.processed, self.declared, self.fragments) = (0, 0, 0);
        if let Some(frame) = &self.frame {
            self.declared = frame.received + frame.remaining;
        }
    }

    /// Passes over payload in `src`.
    pub(super) fn skip(&mut self, src: &mut BytesMut) -> Progress {
        let len = self.remaining().min(src.len() as u64) as usize;
        src.advance(len);
        if let Some(frame) = &mut self.frame {
            frame.take(len);
        }
        if self.remaining() > 0 {
            Progress::Starved
        } else {
            self.end_frame()
        }
    }

    /// Takes payload from `src`, and whatever was read directly; stops for a while when nothing is
    /// left of the `room` for what comes out of the decompressor.
    pub(super) fn receive(
        &mut self,
        src: &mut BytesMut,
        limits: &Limits,
        room: &mut usize,
    ) -> Result<Progress, ProtocolError> {
        if self.inflater.is_some() {
            return self.receive_compressed(src, limits, room);
        }
        self.process()?;
        let remaining = self.remaining();
        let len = remaining.min(src.len() as u64) as usize;
        self.grow(len, limits);
        self.payload.extend_from_slice(&src[..len]);
        src.advance(len);
        self.process()?;
        Ok(if remaining == len as u64 {
            self.end_frame()
        } else {
            Progress::Starved
        })
    }

    fn receive_compressed(
        &mut self,
        src: &mut BytesMut,
        limits: &Limits,
        room: &mut usize,
    ) -> Result<Progress, ProtocolError> {
        loop {
            let len = self.remaining().min(src.len().min(STEP) as u64) as usize;
            if len == 0 && !self.pending {
                break;
            }
            if *room == 0 {
                return Ok(Progress::Interrupted);
            }
            let before = self.before + self.payload.len() as u64;
            let full = self.inflate(src, len, limits)?;
            let inflated = self.before + self.payload.len() as u64 - before;
            *room = room.saturating_sub(inflated as usize);
            if full {
                return Ok(Progress::Full);
            }
        }
        let is_over = match &self.frame {
            Some(frame) if frame.remaining > 0 => return Ok(Progress::Starved),
            Some(frame) => frame.fin,
            None => false,
        };
        if is_over && self.inflate_tail(limits)? {
            return Ok(Progress::Full);
        }
        Ok(self.end_frame())
    }

    /// Decompresses from the first `len` bytes of `src`; tells whether a piece is full.
    fn inflate(
        &mut self,
        src: &mut BytesMut,
        len: usize,
        limits: &Limits,
    ) -> Result<bool, ProtocolError> {
        let room = self.room(limits);
        let (Some(inflater), Some(frame)) = (&mut self.inflater, &mut self.frame) else {
            return Ok(false);
        };
        let key = frame.masking_key;
        apply_mask(&mut src[..len], key);
        let before = self.chunks.last().map_or(&[][..], |chunk| chunk);
        let inflated = inflater.inflate(&src[..len], before, &mut self.payload, room);
        let used = match inflated {
            Ok(used) => used,
            Err(error) => {
                // What is wrong with the output comes first, as where less arrives at once.
                self.inflated(room, limits)?;
                return Err(error);
            }
        };
        // What is left is looked at again, and unmasked then.
        apply_mask(&mut src[used..len], advance_key(key, used));
        src.advance(used);
        frame.take(used);
        self.inflated(room, limits)
    }

    /// Decompresses what the end of the message stands for; tells whether a piece is full.
    fn inflate_tail(&mut self, limits: &Limits) -> Result<bool, ProtocolError> {
        loop {
            let room = self.room(limits);
            let before = self.chunks.last().map_or(&[][..], |chunk| chunk);
            let over = match &mut self.inflater {
                Some(inflater) => inflater.finish(before, &mut self.payload, room)?,
                None => true,
            };
            let full = self.inflated(room, limits)?;
            if over {
                return Ok(false);
            }
            if full {
                return Ok(true);
            }
        }
    }

    /// Validates what was decompressed, and sets it aside where it is much; tells whether it is a
    /// full piece.
    fn inflated(&mut self, room: usize, limits: &Limits) -> Result<bool, ProtocolError> {
        self.validate()?;
        self.pending = self.payload.len() >= room;
        let limit = limits.max_message_size;
        if self.before + self.payload.len() as u64 > limit {
            return Err(ProtocolError::InflatedTooBig { limit });
        }
        if !self.pending || limits.streaming {
            return Ok(self.pending);
        }
        // Its buffer may be much larger, and can be used again.
        self.chunks.push(Bytes::copy_from_slice(&self.payload));
        self.before += self.payload.len() as u64;
        self.processed = 0;
        self.payload.clear();
        Ok(false)
    }

    /// How much may be decompressed at once: one byte more than allowed shows that it is too much.
    fn room(&self, limits: &Limits) -> usize {
        let allowed = limits.max_message_size.saturating_sub(self.before);
        allowed.saturating_add(1).min(CHUNK as u64) as usize
    }

    /// How much memory it holds, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.payload.capacity() + self.chunks.iter().map(Bytes::len).sum::<usize>()
    }

    /// How much of it was received, in bytes on the wire.
    pub(super) fn received(&self) -> u64 {
        self.declared - self.remaining()
    }

    fn remaining(&self) -> u64 {
        self.frame.as_ref().map_or(0, |frame| frame.remaining)
    }

    /// Where the rest of a large payload may be read to.
    pub(super) fn payload_buffer(&mut self, limits: &Limits) -> Option<Limit<&mut BytesMut>> {
        if self.inflater.is_some() {
            return None;
        }
        let unprocessed = (self.payload.len() - self.processed) as u64;
        let remaining = self.frame.as_ref()?.remaining - unprocessed;
        if remaining < DIRECT {
            return None;
        }
        if self.payload.capacity() == self.payload.len() {
            self.grow(1, limits);
        }
        let space = (self.payload.capacity() - self.payload.len()) as u64;
        Some((&mut self.payload).limit(space.min(remaining) as usize))
    }

    /// Makes room for `len` more bytes: doubling, but by no more than a sixteenth past what the message
    /// may become.
    fn grow(&mut self, len: usize, limits: &Limits) {
        let needed = self.payload.len() + len;
        if needed <= self.payload.capacity() {
            return;
        }
        if limits.streaming {
            // What comes at once is given away at once. Room for more is earned by what came before.
            let earned = self.received().clamp(DIRECT, CHUNK as u64);
            let target = earned.min(self.remaining()) as usize;
            let room = if len == 1 { target } else { len };
            if self.payload.is_empty() {
                // `reserve` would double what was given away.
                self.payload = BytesMut::with_capacity(room);
            } else {
                self.payload.reserve(room);
            }
            return;
        }
        let fin = self.frame.as_ref().is_some_and(|frame| frame.fin);
        let end = if fin {
            self.payload.len() as u64 + self.remaining()
        } else {
            limits.max_message_size
        };
        if fin
            && end >= SPARE_FROM as u64
            && let Some(mut spare) = spare::take(end)
        {
            spare.extend_from_slice(&self.payload);
            self.payload = spare;
            return;
        }
        let doubled = 2 * self.payload.capacity();
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        let target = if fin {
            least_halving(end, needed.max(LEAST_GROWTH).min(end))
        } else {
            doubled.max(LEAST_GROWTH).min(end).max(needed)
        };
        if doubled <= target + target / 16 {
            self.payload.reserve(target - self.payload.len());
        } else {
            // `reserve` would double.
            let mut exact = BytesMut::with_capacity(target);
            exact.extend_from_slice(&self.payload);
            self.payload = exact;
        }
    }

    /// Unmasks and validates the bytes that came since the last time.
    fn process(&mut self) -> Result<(), ProtocolError> {
        let new = &mut self.payload[self.processed..];
        if let Some(frame) = &mut self.frame {
            apply_mask(new, frame.masking_key);
            frame.take(new.len());
        }
        self.validate()
    }

    /// Validates the bytes that came since the last time, which are not masked any more.
    fn validate(&mut self) -> Result<(), ProtocolError> {
        if self.opcode == Opcode::Text {
            self.utf8.push(&self.payload[self.processed..])?;
        }
        self.processed = self.payload.len();
        Ok(())
    }

    fn end_frame(&mut self) -> Progress {
        match self.frame.take() {
            Some(frame) if frame.fin => Progress::MessageEnded,
            _ => Progress::FrameEnded,
        }
    }

    fn take_payload(&mut self) -> Bytes {
        self.before += self.payload.len() as u64;
        self.processed = 0;
        self.payload.split().freeze()
    }

    /// Takes what there is, to be given away; `None` where that is nothing.
    pub(super) fn take_piece(&mut self) -> Option<Piece> {
        (!self.payload.is_empty()).then(|| Piece {
            is_text: self.opcode == Opcode::Text,
            payload: self.take_payload(),
            last: false,
        })
    }

    /// Takes what a later message may refer to, where there is context takeover.
    pub(super) fn take_history(&mut self) -> Option<History> {
        self.inflater.as_mut()?.history.take()
    }

    /// Ends a message: gives the rest of it, where it was given away in pieces.
    pub(super) fn finish(mut self, limits: &Limits) -> Result<Decoded, ProtocolError> {
        self.utf8.finish()?;
        if limits.streaming && self.before > 0 {
            return Ok(Decoded::Piece(Piece {
                is_text: self.opcode == Opcode::Text,
                payload: self.payload.freeze(),
                last: true,
            }));
        }
        let (opcode, payload) = (self.opcode, self.join());
        message(opcode, payload).map(Decoded::Event)
    }

    /// Puts the chunks together.
    fn join(self) -> Bytes {
        if self.chunks.is_empty() {
            return self.payload.freeze();
        }
        let mut whole = BytesMut::with_capacity(self.before as usize + self.payload.len());
        for chunk in self.chunks {
            whole.extend_from_slice(&chunk);
        }
        whole.extend_from_slice(&self.payload);
        whole.freeze()
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

pub(super) fn message(opcode: Opcode, payload: Bytes) -> Result<Event, ProtocolError> {
    Ok(Event::Message(if opcode == Opcode::Text {
        Message::Text(Utf8Bytes::try_from(payload)?)
    } else {
        Message::Binary(payload)
    }))
}

/// From here on a payload's rest is read where it will stay.
const DIRECT: u64 = 4 << 10;

/// The least room made for a message that arrives in pieces.
const LEAST_GROWTH: usize = 256;

/// The most that is decompressed, or given away, in one piece.
const CHUNK: usize = 64 << 10;

/// How much is unmasked before it is decompressed.
const STEP: usize = 4 << 10;
