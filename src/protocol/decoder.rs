//! Bytes into events: order, role and size (RFC 6455 §5.4–§5.6, §6.2).

use bytes::{Buf, BufMut, Bytes, BytesMut, buf::Limit};

use super::{
    CloseFrame, Event, Header, Message, Opcode, ProtocolError, Role, Utf8Bytes, Utf8Validator,
    apply_mask, mask::advance_key,
};
use crate::Config;

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
            limits: Limits::new(config),
            state: DecoderState::new(role),
        }
    }

    /// Takes the next event from the front of `src`; `None` means "more bytes, please".
    ///
    /// What stays in `src` then is the beginning of a header or of a control frame, at most 130
    /// bytes; keep it in front of the bytes to come.
    ///
    /// # Errors
    ///
    /// The peer broke a rule or a limit. The connection has failed: from then on all input is
    /// discarded.
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Event>, ProtocolError> {
        self.state.decode(&self.limits, src)
    }

    /// Where the rest of a large payload may be read to, without a detour through `src`.
    ///
    /// `None` unless at least 4 KiB of the open frame are to come. Whatever is put there is taken
    /// into account by the next [`decode`](Self::decode), which must be given an empty `src`.
    pub fn payload_buffer(&mut self) -> Option<Limit<&mut BytesMut>> {
        self.state.payload_buffer(&self.limits)
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub fn is_message_open(&self) -> bool {
        self.state.open.is_some()
    }

    pub(crate) fn frame_in_progress(&self, rest: usize) -> Option<FrameInProgress> {
        self.state.frame_in_progress(rest)
    }
}

/// The limits on what is received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    max_message_size: u64,
    max_frame_size: u64,
    max_fragments: u64,
}

impl Limits {
    #[inline]
    pub(crate) fn new(config: &Config) -> Self {
        let limit = |size: Option<usize>| size.map_or(u64::MAX, |size| size as u64);
        Self {
            max_message_size: limit(config.max_message_size),
            max_frame_size: limit(config.max_frame_size),
            max_fragments: config.fragment_limit(),
        }
    }

    fn check(&self, len: u64, received: u64, fragments: u64) -> Result<(), ProtocolError> {
        if len > self.max_frame_size {
            return Err(ProtocolError::FrameTooBig {
                size: len,
                limit: self.max_frame_size,
            });
        }
        // Both are below 2^63: the header says so, and memory ends long before.
        let size = received + len;
        if size > self.max_message_size {
            return Err(ProtocolError::MessageTooBig {
                size,
                limit: self.max_message_size,
            });
        }
        if fragments >= self.max_fragments {
            return Err(ProtocolError::TooManyFragments {
                limit: self.max_fragments,
            });
        }
        Ok(())
    }
}

/// What a decoder has to remember. Small, because every idle connection has one: the limits come
/// with each call.
#[derive(Debug)]
pub(crate) struct DecoderState {
    /// The message that has begun and not ended.
    open: Option<Box<OpenMessage>>,
    /// The frames whose header was taken; wraps around.
    frames: u32,
    role: Role,
    failed: bool,
}

impl DecoderState {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            open: None,
            frames: 0,
            role,
            failed: false,
        }
    }

    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions ask"))]
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// As [`Decoder::decode`].
    pub(crate) fn decode(
        &mut self,
        limits: &Limits,
        src: &mut BytesMut,
    ) -> Result<Option<Event>, ProtocolError> {
        if self.failed {
            src.clear();
            return Ok(None);
        }
        let result = self.next_event(limits, src);
        if result.is_err() {
            self.failed = true;
            self.open = None;
        }
        result
    }

    fn next_event(
        &mut self,
        limits: &Limits,
        src: &mut BytesMut,
    ) -> Result<Option<Event>, ProtocolError> {
        loop {
            if let Some(open) = self.open.as_mut().filter(|open| open.frame.is_some()) {
                if !open.receive(src, limits.max_message_size)? {
                    return Ok(None);
                }
                if open.is_whole() {
                    return self.open.take().map(|open| open.finish()).transpose();
                }
            }
            let Some((header, used)) = Header::decode(src)? else {
                return Ok(None);
            };
            self.check(limits, &header)?;
            let whole = header.payload_len <= (src.len() - used) as u64;
            if header.opcode.is_control() {
                if !whole {
                    return Ok(None);
                }
                self.frames = self.frames.wrapping_add(1);
                src.advance(used);
                return decode_control(&header, src).map(Some);
            }
            self.frames = self.frames.wrapping_add(1);
            src.advance(used);
            if whole && header.fin && self.open.is_none() {
                let payload = take_payload(&header, src);
                return message(header.opcode, payload).map(Some);
            }
            self.open_frame(&header);
        }
    }

    /// Checks a header against the role, the order of frames and the limits.
    #[inline]
    fn check(&self, limits: &Limits, header: &Header) -> Result<(), ProtocolError> {
        if header.rsv1 {
            return Err(ProtocolError::ReservedBits);
        }
        match self.role {
            Role::Server if header.masking_key.is_none() => {
                return Err(ProtocolError::UnmaskedFrame);
            }
            Role::Client if header.masking_key.is_some() => return Err(ProtocolError::MaskedFrame),
            _ => {}
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        let continues = header.opcode == Opcode::Continuation;
        let (received, fragments) = match &self.open {
            Some(_) if !continues => return Err(ProtocolError::ExpectedContinuation),
            None if continues => return Err(ProtocolError::UnexpectedContinuation),
            Some(open) => (open.payload.len() as u64, open.fragments),
            None => (0, 0),
        };
        limits.check(header.payload_len, received, fragments)
    }

    fn open_frame(&mut self, header: &Header) {
        let open = self
            .open
            .get_or_insert_with(|| Box::new(OpenMessage::new(header.opcode)));
        open.fragments += 1;
        open.frame = Some(OpenFrame {
            fin: header.fin,
            remaining: header.payload_len,
            received: 0,
            masking_key: header.masking_key.unwrap_or_default(),
        });
    }

    /// As [`Decoder::payload_buffer`].
    pub(crate) fn payload_buffer(&mut self, limits: &Limits) -> Option<Limit<&mut BytesMut>> {
        let open = self.open.as_mut()?;
        let unprocessed = (open.payload.len() - open.processed) as u64;
        let remaining = open.frame.as_ref()?.remaining - unprocessed;
        if remaining < DIRECT {
            return None;
        }
        if open.payload.capacity() == open.payload.len() {
            open.grow(1, limits.max_message_size);
        }
        let space = (open.payload.capacity() - open.payload.len()) as u64;
        Some((&mut open.payload).limit(space.min(remaining) as usize))
    }

    /// The frame the peer is in the middle of, and how much of it was taken.
    ///
    /// `rest` is what [`decode`](Self::decode) left in its input: the beginning of the next frame.
    pub(crate) fn frame_in_progress(&self, rest: usize) -> Option<FrameInProgress> {
        match self.open.as_ref().and_then(|open| open.frame.as_ref()) {
            Some(frame) => Some(FrameInProgress {
                number: self.frames,
                received: frame.received,
            }),
            None if rest > 0 => Some(FrameInProgress {
                number: self.frames.wrapping_add(1),
                received: 0,
            }),
            None => None,
        }
    }
}

/// How far a frame has come that has begun and not ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FrameInProgress {
    /// Tells it from the frames before and after it.
    pub(crate) number: u32,
    /// The payload received so far, in bytes.
    pub(crate) received: u64,
}

/// A message that has begun and not ended.
#[derive(Debug)]
struct OpenMessage {
    opcode: Opcode,
    /// How many frames it has had so far.
    fragments: u64,
    /// The frame that has begun and not ended, if the peer is inside one.
    frame: Option<OpenFrame>,
    payload: BytesMut,
    /// How much of `payload` is unmasked and validated.
    processed: usize,
    utf8: Utf8Validator,
}

/// A data frame that has begun and not ended.
#[derive(Debug)]
struct OpenFrame {
    fin: bool,
    remaining: u64,
    received: u64,
    /// Turned so that it starts at the next byte; zeroes where nothing is masked.
    masking_key: [u8; 4],
}

impl OpenMessage {
    fn new(opcode: Opcode) -> Self {
        Self {
            opcode,
            fragments: 0,
            frame: None,
            payload: BytesMut::new(),
            processed: 0,
            utf8: Utf8Validator::default(),
        }
    }

    /// Takes payload from `src`, and whatever was read directly; tells whether the frame ended.
    fn receive(&mut self, src: &mut BytesMut, max_size: u64) -> Result<bool, ProtocolError> {
        self.process()?;
        let remaining = self.frame.as_ref().map_or(0, |frame| frame.remaining);
        let len = remaining.min(src.len() as u64) as usize;
        self.grow(len, max_size);
        self.payload.extend_from_slice(&src[..len]);
        src.advance(len);
        self.process()?;
        Ok(remaining == len as u64)
    }

    /// Makes room for `len` more bytes: doubling, but never past what the message may become.
    fn grow(&mut self, len: usize, max_size: u64) {
        let needed = self.payload.len() + len;
        if needed <= self.payload.capacity() {
            return;
        }
        let remaining = self.frame.as_ref().map_or(0, |frame| frame.remaining);
        let fin = self.frame.as_ref().is_some_and(|frame| frame.fin);
        let end = if fin {
            self.payload.len() as u64 + remaining
        } else {
            max_size
        };
        let doubled = 2 * self.payload.capacity();
        let target = doubled
            .max(LEAST_GROWTH)
            .min(usize::try_from(end).unwrap_or(usize::MAX))
            .max(needed);
        if target >= doubled {
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
            frame.masking_key = advance_key(frame.masking_key, new.len());
            frame.remaining -= new.len() as u64;
            frame.received += new.len() as u64;
        }
        if self.opcode == Opcode::Text {
            self.utf8.push(new)?;
        }
        self.processed = self.payload.len();
        Ok(())
    }

    /// Ends the frame; tells whether the message ended with it.
    fn is_whole(&mut self) -> bool {
        self.frame.take().is_some_and(|frame| frame.fin)
    }

    fn finish(mut self) -> Result<Event, ProtocolError> {
        self.utf8.finish()?;
        message(self.opcode, self.payload.freeze())
    }
}

/// Takes a whole payload from the front of `src`.
#[inline]
fn take_payload(header: &Header, src: &mut BytesMut) -> Bytes {
    // The caller has seen that the payload is all there.
    let payload = &mut src[..header.payload_len as usize];
    if let Some(key) = header.masking_key {
        apply_mask(payload, key);
    }
    let bytes = Bytes::copy_from_slice(payload);
    src.advance(bytes.len());
    bytes
}

#[inline]
fn message(opcode: Opcode, payload: Bytes) -> Result<Event, ProtocolError> {
    Ok(Event::Message(if opcode == Opcode::Text {
        Message::Text(Utf8Bytes::try_from(payload)?)
    } else {
        Message::Binary(payload)
    }))
}

fn decode_control(header: &Header, src: &mut BytesMut) -> Result<Event, ProtocolError> {
    let payload = take_payload(header, src);
    Ok(match header.opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        _ => Event::Close(CloseFrame::decode(&payload)?),
    })
}

/// From here on a payload's rest is read where it will stay.
const DIRECT: u64 = 4 << 10;

/// The least room made for a message that arrives in pieces.
const LEAST_GROWTH: usize = 256;

#[cfg(test)]
mod tests;
