//! The order of frames, and whose they are (RFC 6455 §5.4–§5.6).

mod discarding;

use bytes::{Buf, BytesMut, buf::Limit};

use super::{
    limits::Limits,
    open_frame::{FrameInProgress, Progress},
    open_message::OpenMessage,
    piece::{Decoded, Piece},
    short_frame,
    whole_frame::{decode_control, take_message},
};
use crate::protocol::{
    deflate::{DeflateParams, Direction, History, Inflater, MAX_WINDOW},
    error::ProtocolError,
    header::{Header, Opcode},
    message::{Event, Message},
    role::Role,
};

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
    pub(crate) fn set_deflate(&mut self, params: DeflateParams) {
        self.deflate = Some(params.direction(match self.role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }));
    }

    pub(super) fn open(&self) -> Option<&OpenMessage> {
        self.held.as_ref()?.open.as_ref()
    }

    /// Reports whether the next frame begins a message, or is a control frame.
    #[inline]
    pub(crate) fn is_between_messages(&self) -> bool {
        self.mode == Mode::Decoding && self.open().is_none()
    }

    /// Takes note of whole frames that somebody else has decoded.
    #[inline]
    pub(crate) fn pass_over(&mut self, frames: u32) {
        self.frames = self.frames.wrapping_add(frames);
    }

    /// Returns how much memory is held for the message that has begun and not ended, in bytes.
    #[inline]
    pub(crate) fn memory(&self) -> usize {
        self.open().map_or(0, OpenMessage::memory)
    }

    fn open_mut(&mut self) -> Option<&mut OpenMessage> {
        self.held.as_mut()?.open.as_mut()
    }

    /// As [`Decoder::decode`]. Stops for a while after `room` bytes, about, have come out of the
    /// decompressor, and takes them off it.
    #[inline]
    pub(crate) fn decode(
        &mut self,
        limits: &Limits,
        src: &mut BytesMut,
        room: &mut usize,
    ) -> Result<Option<Decoded>, ProtocolError> {
        if let Some((message, used)) = self.take_short(limits, src) {
            src.advance(used);
            return Ok(Some(Decoded::Event(Event::Message(message))));
        }
        self.decode_any(limits, src, room)
    }

    /// The ordinary way, for frames of every length.
    #[inline(never)]
    fn decode_any(
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

    /// Takes a message of at most 125 bytes that is all there, in one frame and not compressed, from the
    /// front of `src`: a copy of it, and the bytes to pass over.
    ///
    /// `None` where anything else comes next, be it an error: then nothing has changed, and
    /// [`decode`](Self::decode) says what it is.
    #[inline]
    pub(crate) fn take_short(
        &mut self,
        limits: &Limits,
        src: &mut [u8],
    ) -> Option<(Message, usize)> {
        if self.mode != Mode::Decoding || self.held.is_some() {
            return None;
        }
        let taken = short_frame::take_short(self.role, limits, src)?;
        self.frames = self.frames.wrapping_add(1);
        Some(taken)
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

    /// Returns how much of the open message was received, in bytes.
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
