//! Bytes into events: order, role and size (RFC 6455 §5.4–§5.6, §6.2).

mod open_message;

pub(crate) use self::open_message::Piece;

use bytes::{Buf, Bytes, BytesMut, buf::Limit};

use self::open_message::{OpenMessage, Progress};
use super::{
    CloseFrame, DeflateParams, Event, Header, Message, Opcode, ProtocolError, Role, Utf8Bytes,
    apply_mask,
    deflate::{Direction, History, Inflater},
    mask::masked_copy,
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
            limits: Limits::whole_messages(config),
            state: DecoderState::new(role),
        }
    }

    #[cfg(feature = "deflate")]
    pub(super) fn set_deflate(&mut self, params: DeflateParams) {
        self.state.set_deflate(params);
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
        let mut unlimited = usize::MAX;
        match self.state.decode(&self.limits, src, &mut unlimited)? {
            None => Ok(None),
            Some(Decoded::Event(event)) => Ok(Some(event)),
            Some(Decoded::Piece(_)) => unreachable!("the limits are those of whole messages"),
        }
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
        self.state.open().is_some()
    }

    pub(crate) fn frame_in_progress(&self, rest: usize) -> Option<FrameInProgress> {
        self.state.frame_in_progress(rest)
    }

    pub(crate) fn message_in_progress(&self) -> u64 {
        self.state.message_in_progress()
    }
}

/// The limits on what is received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(super) max_message_size: u64,
    max_frame_size: u64,
    max_fragments: u64,
    /// Messages are given away in pieces, as they arrive.
    pub(super) streaming: bool,
}

/// What a decoder makes of its input.
#[derive(Debug)]
pub(crate) enum Decoded {
    Event(Event),
    /// A part of a message, where messages are streamed.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions ask"))]
    Piece(Piece),
}

impl Limits {
    /// No limits, for what is thrown away.
    const NONE: Self = Self {
        max_message_size: u64::MAX,
        max_frame_size: u64::MAX,
        max_fragments: u64::MAX,
        streaming: false,
    };

    /// The limits of a decoder that may give messages away in pieces.
    #[inline]
    #[cfg_attr(
        not(any(test, feature = "layer")),
        expect(dead_code, reason = "sessions do")
    )]
    pub(crate) fn new(config: &Config) -> Self {
        if !config.streaming {
            return Self::whole_messages(config);
        }
        Self {
            max_message_size: config.max_stream_size.unwrap_or(u64::MAX),
            max_frame_size: limit(config.max_frame_size),
            max_fragments: limit(config.max_fragments),
            streaming: true,
        }
    }

    #[inline]
    pub(super) fn whole_messages(config: &Config) -> Self {
        Self {
            max_message_size: limit(config.max_message_size),
            max_frame_size: limit(config.max_frame_size),
            max_fragments: config.fragment_limit(),
            streaming: false,
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

fn limit(limit: Option<usize>) -> u64 {
    limit.map_or(u64::MAX, |limit| limit as u64)
}

/// What a decoder has to remember. Small, because every idle connection has one: the limits come
/// with each call.
#[derive(Debug)]
pub(crate) struct DecoderState {
    held: Option<Box<Held>>,
    /// The frames whose header was taken; wraps around.
    frames: u32,
    role: Role,
    mode: Mode,
    /// How the peer compresses, if it may.
    deflate: Option<Direction>,
}

/// What is done with input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Decoding,
    /// Messages are passed over.
    Discarding,
    /// Everything is.
    Failed,
}

/// What an idle decoder does not have, unless there is context takeover.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The message that has begun and not ended.
    open: Option<OpenMessage>,
    /// What the next compressed message may refer to.
    history: Option<History>,
}

impl DecoderState {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            held: None,
            frames: 0,
            role,
            mode: Mode::Decoding,
            deflate: None,
        }
    }

    /// Takes compressed messages, as agreed on.
    #[cfg_attr(
        not(any(test, feature = "layer", feature = "deflate")),
        expect(dead_code, reason = "nothing is agreed on without it")
    )]
    pub(crate) fn set_deflate(&mut self, params: DeflateParams) {
        self.deflate = Some(params.direction(match self.role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }));
    }

    fn open(&self) -> Option<&OpenMessage> {
        self.held.as_ref()?.open.as_ref()
    }

    /// How much memory is held for the message that has begun and not ended, in bytes.
    #[inline]
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions ask"))]
    pub(crate) fn memory(&self) -> usize {
        self.open().map_or(0, OpenMessage::memory)
    }

    fn open_mut(&mut self) -> Option<&mut OpenMessage> {
        self.held.as_mut()?.open.as_mut()
    }

    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions ask"))]
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// As [`Decoder::decode`]. Stops for a while after `room` bytes, about, have come out of the
    /// decompressor, and takes them off it.
    pub(crate) fn decode(
        &mut self,
        limits: &Limits,
        src: &mut BytesMut,
        room: &mut usize,
    ) -> Result<Option<Decoded>, ProtocolError> {
        let result = match self.whole_message(limits, src) {
            Some((header, used)) => take_message(&header, used, src),
            None => self.next(limits, src, room),
        };
        if result.is_err() {
            self.mode = Mode::Failed;
            self.held = None;
        }
        result
    }

    /// The header of a message that is all there, in one frame and not compressed, with its length.
    ///
    /// `None` where anything else comes next, be it an error.
    #[inline]
    fn whole_message(&mut self, limits: &Limits, src: &[u8]) -> Option<(Header, usize)> {
        let (header, used) = Header::decode(src).ok()??;
        let plain = header.fin && !header.rsv1 && !header.opcode.is_control();
        let whole = header.payload_len <= (src.len() - used) as u64;
        let wanted = self.mode == Mode::Decoding && self.open().is_none();
        if !plain || !whole || !wanted || self.check(limits, &header).is_err() {
            return None;
        }
        self.frames = self.frames.wrapping_add(1);
        Some((header, used))
    }

    /// What comes next where it is not a [`whole_message`](Self::whole_message).
    #[inline(never)]
    fn next(
        &mut self,
        limits: &Limits,
        src: &mut BytesMut,
        room: &mut usize,
    ) -> Result<Option<Decoded>, ProtocolError> {
        match self.mode {
            Mode::Decoding => self.next_event(limits, src, room),
            Mode::Discarding => self.next_control(src),
            Mode::Failed => {
                src.clear();
                Ok(None)
            }
        }
    }

    fn next_event(
        &mut self,
        limits: &Limits,
        src: &mut BytesMut,
        room: &mut usize,
    ) -> Result<Option<Decoded>, ProtocolError> {
        loop {
            if let Some(open) = self.open_mut().filter(|open| open.frame.is_some()) {
                match open.receive(src, limits, room)? {
                    Progress::Starved if !limits.streaming => return Ok(None),
                    Progress::Starved | Progress::Full => {
                        return Ok(open.take_piece().map(Decoded::Piece));
                    }
                    Progress::Interrupted => {
                        return Ok(self.take_piece(limits).map(Decoded::Piece));
                    }
                    Progress::FrameEnded => {}
                    Progress::MessageEnded => return self.finish(limits),
                }
            }
            let Some((header, used)) = Header::decode(src)? else {
                return Ok(self.take_piece(limits).map(Decoded::Piece));
            };
            self.check(limits, &header)?;
            if header.opcode.is_control() {
                // What came before it is told before it.
                let piece = self.take_piece(limits);
                if piece.is_some() {
                    return Ok(piece.map(Decoded::Piece));
                }
                return self.take_control(&header, used, src);
            }
            let whole = header.payload_len <= (src.len() - used) as u64;
            self.frames = self.frames.wrapping_add(1);
            let single = whole && header.fin && self.open().is_none();
            src.advance(used);
            if single && !limits.streaming {
                return self.inflate_message(limits, &header, src, room);
            }
            self.open_frame(limits, &header);
        }
    }

    /// Takes a control frame, where all of it is there.
    fn take_control(
        &mut self,
        header: &Header,
        used: usize,
        src: &mut BytesMut,
    ) -> Result<Option<Decoded>, ProtocolError> {
        if header.payload_len > (src.len() - used) as u64 {
            return Ok(None);
        }
        self.frames = self.frames.wrapping_add(1);
        let event = decode_control(header, used, src)?;
        Ok(Some(Decoded::Event(event)))
    }

    /// Passes over messages from now on, whatever their size: only control frames are of interest.
    ///
    /// Their payloads are not kept, unmasked, decompressed or validated. What was received of a
    /// message in progress is dropped.
    #[cfg_attr(
        not(any(test, feature = "layer")),
        expect(dead_code, reason = "sessions do")
    )]
    pub(crate) fn discard_messages(&mut self) {
        if self.mode == Mode::Decoding {
            self.mode = Mode::Discarding;
            if let Some(held) = &mut self.held {
                held.history = None;
                if let Some(open) = &mut held.open {
                    open.discard();
                }
            }
        }
    }

    /// Passes over messages to the next control frame.
    fn next_control(&mut self, src: &mut BytesMut) -> Result<Option<Decoded>, ProtocolError> {
        loop {
            if let Some(open) = self.open_mut().filter(|open| open.frame.is_some()) {
                match open.skip(src) {
                    Progress::FrameEnded => {}
                    Progress::MessageEnded => self.held = None,
                    Progress::Starved | Progress::Full | Progress::Interrupted => return Ok(None),
                }
                continue;
            }
            let Some((header, used)) = Header::decode(src)? else {
                return Ok(None);
            };
            self.check(&Limits::NONE, &header)?;
            if header.opcode.is_control() {
                return self.take_control(&header, used, src);
            }
            self.frames = self.frames.wrapping_add(1);
            src.advance(used);
            let open = &mut self.held.get_or_insert_default().open;
            let open = open.get_or_insert_with(|| OpenMessage::new(header.opcode, None));
            open.discard();
            open.open_frame(&header);
        }
    }

    /// Decodes a compressed message that is all there.
    fn inflate_message(
        &mut self,
        limits: &Limits,
        header: &Header,
        src: &mut BytesMut,
        room: &mut usize,
    ) -> Result<Option<Decoded>, ProtocolError> {
        let inflater = self.inflater(header, limits);
        let mut message = OpenMessage::new(header.opcode, inflater);
        message.open_frame(header);
        if message.receive(src, limits, room)? != Progress::MessageEnded {
            // It goes on later.
            self.held.get_or_insert_default().open = Some(message);
            return Ok(None);
        }
        self.keep_history(&mut message);
        message.finish(limits).map(Some)
    }

    /// Ends the open message.
    fn finish(&mut self, limits: &Limits) -> Result<Option<Decoded>, ProtocolError> {
        let open = self.held.as_mut().and_then(|held| held.open.take());
        let Some(mut open) = open else {
            return Ok(None);
        };
        self.keep_history(&mut open);
        if self
            .held
            .as_ref()
            .is_some_and(|held| held.history.is_none())
        {
            self.held = None;
        }
        open.finish(limits).map(Some)
    }

    /// What decompresses the message that `header` begins, if it is compressed.
    fn inflater(&mut self, header: &Header, limits: &Limits) -> Option<Inflater> {
        let direction = self.deflate.filter(|_| header.rsv1)?;
        let history = if direction.context_takeover {
            let held = self.held.get_or_insert_default();
            let history = held.history.take();
            Some(history.unwrap_or_else(|| History::new(direction.window())))
        } else {
            // A block may refer to output that was given away.
            limits.streaming.then(|| History::new(MAX_WINDOW))
        };
        Some(Inflater::start(history))
    }

    /// Remembers what a later message may refer to.
    fn keep_history(&mut self, message: &mut OpenMessage) {
        let takeover = self.deflate.is_some_and(|deflate| deflate.context_takeover);
        if takeover && let Some(history) = message.take_history() {
            self.held.get_or_insert_default().history = Some(history);
        }
    }

    /// Takes what there is of a message in progress, where it is given away in pieces.
    fn take_piece(&mut self, limits: &Limits) -> Option<Piece> {
        if !limits.streaming {
            return None;
        }
        self.open_mut()?.take_piece()
    }

    /// Checks a header against the role, the order of frames and the limits.
    #[inline]
    fn check(&self, limits: &Limits, header: &Header) -> Result<(), ProtocolError> {
        let continues = header.opcode == Opcode::Continuation;
        // RFC 7692 §6: the first frame of a message says whether it is compressed.
        if header.rsv1 && (continues || self.deflate.is_none()) {
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
        let (received, fragments) = match self.open() {
            Some(_) if !continues => return Err(ProtocolError::ExpectedContinuation),
            None if continues => return Err(ProtocolError::UnexpectedContinuation),
            Some(open) => (open.declared, open.fragments),
            None => (0, 0),
        };
        limits.check(header.payload_len, received, fragments)
    }

    fn open_frame(&mut self, limits: &Limits, header: &Header) {
        if self.open().is_none() {
            let inflater = self.inflater(header, limits);
            let open = OpenMessage::new(header.opcode, inflater);
            self.held.get_or_insert_default().open = Some(open);
        }
        if let Some(open) = self.open_mut() {
            open.open_frame(header);
        }
    }

    /// As [`Decoder::payload_buffer`].
    pub(crate) fn payload_buffer(&mut self, limits: &Limits) -> Option<Limit<&mut BytesMut>> {
        if self.mode == Mode::Discarding {
            return None;
        }
        self.open_mut()?.payload_buffer(limits)
    }

    /// How much of the open message was received, in bytes.
    pub(crate) fn message_in_progress(&self) -> u64 {
        self.open().map_or(0, OpenMessage::received)
    }

    /// The frame the peer is in the middle of, and how much of it was taken.
    ///
    /// `rest` is what [`decode`](Self::decode) left in its input: the beginning of the next frame.
    pub(crate) fn frame_in_progress(&self, rest: usize) -> Option<FrameInProgress> {
        match self.open().and_then(|open| open.frame.as_ref()) {
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

/// Takes a message with a header of `used` bytes, which is all there, from the front of `src`.
#[inline]
fn take_message(
    header: &Header,
    used: usize,
    src: &mut BytesMut,
) -> Result<Option<Decoded>, ProtocolError> {
    let end = used + header.payload_len as usize;
    let message = match header.opcode {
        Opcode::Text => Message::Text(Utf8Bytes::copy_from_slice(unmask(header, used, src))?),
        _ if end < LARGE => Message::Binary(Bytes::copy_from_slice(unmask(header, used, src))),
        _ => {
            let key = header.masking_key.unwrap_or_default();
            Message::Binary(masked_copy(&src[used..end], key).into())
        }
    };
    src.advance(end);
    Ok(Some(Decoded::Event(Event::Message(message))))
}

fn decode_control(
    header: &Header,
    used: usize,
    src: &mut BytesMut,
) -> Result<Event, ProtocolError> {
    let payload = Bytes::copy_from_slice(unmask(header, used, src));
    src.advance(used + payload.len());
    Ok(match header.opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        _ => Event::Close(CloseFrame::decode(&payload)?),
    })
}

/// Unmasks the payload of a frame that is all there; the header has `used` bytes.
#[inline]
fn unmask<'a>(header: &Header, used: usize, src: &'a mut [u8]) -> &'a [u8] {
    let payload = &mut src[used..used + header.payload_len as usize];
    if let Some(key) = header.masking_key {
        apply_mask(payload, key);
    }
    payload
}

/// From here on one pass over a payload is worth a call of its own.
const LARGE: usize = 1 << 10;

/// The largest window of DEFLATE.
const MAX_WINDOW: usize = 32 << 10;

#[cfg(test)]
mod tests;
