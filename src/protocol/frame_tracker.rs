//! Where frames begin and end, for who passes them on unread.

use super::{
    close::CloseFrame,
    error::ProtocolError,
    header::{FIN, MASK},
    mask::apply_mask,
    role::Role,
};

/// Follows the frames of one direction by their headers.
///
/// What an extension may change, reserved bits and opcodes and all that is in a payload, is the business of the two
/// ends. What is checked is what a frame takes: masked or not, and its length.
#[derive(Debug)]
pub(crate) struct FrameTracker {
    sender: Role,
    max_frame_size: u64,
    /// What is left of a payload.
    left: u64,
    messages: u64,
}

/// What was found among bytes.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// Frames that are to be passed on.
    Frames,
    /// And a Close behind them, whole, with its code and reason, where it has a valid one.
    Close(Option<CloseFrame>),
    /// And behind them the header of a frame that is not.
    Violation(ProtocolError),
}

impl FrameTracker {
    /// Follows the frames that one role sends.
    pub(crate) fn new(sender: Role, max_frame_size: Option<usize>) -> Self {
        Self {
            sender,
            max_frame_size: max_frame_size.map_or(u64::MAX, |size| size as u64),
            left: 0,
            messages: 0,
        }
    }

    /// Looks at the next bytes; returns how many of them may be passed on, and what they are.
    ///
    /// The others are the beginning of a header or of a Close, 130 at most: they are to be given again, in front of
    /// more.
    pub(crate) fn track(&mut self, bytes: &[u8]) -> (usize, Found) {
        let mut at = 0;
        loop {
            let skipped = self.left.min((bytes.len() - at) as u64);
            self.left -= skipped;
            at += skipped as usize;
            let rest = &bytes[at..];
            let header = match self.header(rest) {
                Ok(Some(header)) => header,
                Ok(None) => return (at, Found::Frames),
                Err(error) => return (at, Found::Violation(error)),
            };
            if header.opcode == CLOSE {
                let whole = header.size + header.payload as usize;
                if rest.len() < whole {
                    return (at, Found::Frames);
                }
                return (at + whole, Found::Close(header.close(&rest[..whole])));
            }
            self.messages += u64::from(header.fin && header.opcode < CLOSE);
            self.left = header.payload;
            at += header.size;
        }
    }

    /// Reports whether all frames that were passed on have ended.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.left == 0
    }

    /// Returns how much of a frame has not been passed on.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Returns how many messages have begun to end.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Reads a header; `None` if there are too few bytes.
    fn header(&self, bytes: &[u8]) -> Result<Option<Frame>, ProtocolError> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        let opcode = first & 0xf;
        let masked = second & MASK != 0;
        match self.sender {
            Role::Client if !masked => return Err(ProtocolError::UnmaskedFrame),
            Role::Server if masked => return Err(ProtocolError::MaskedFrame),
            _ => {}
        }
        let short = u64::from(second & 0x7f);
        if opcode >= CLOSE && short > 125 {
            return Err(ProtocolError::ControlTooLong(short));
        }
        let (payload, extended) = match short {
            126 => match rest.first_chunk() {
                Some(field) => (u64::from(u16::from_be_bytes(*field)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(field) => (u64::from_be_bytes(*field), 8),
                None => return Ok(None),
            },
            short => (short, 0),
        };
        if payload > i64::MAX as u64 {
            return Err(ProtocolError::LengthOverflow(payload));
        }
        if payload > self.max_frame_size {
            let limit = self.max_frame_size;
            return Err(ProtocolError::FrameTooBig {
                size: payload,
                limit,
            });
        }
        let size = 2 + extended + if masked { 4 } else { 0 };
        let frame = Frame {
            fin: first & FIN != 0,
            opcode,
            size,
            masked,
            payload,
        };
        Ok((bytes.len() >= size).then_some(frame))
    }
}

/// What is known of a frame by its header.
struct Frame {
    fin: bool,
    opcode: u8,
    /// That of the header.
    size: usize,
    masked: bool,
    payload: u64,
}

impl Frame {
    /// Reads the code and reason of a Close that is here as a whole.
    fn close(&self, frame: &[u8]) -> Option<CloseFrame> {
        let (header, payload) = frame.split_at(self.size);
        let mut payload = payload.to_vec();
        if self.masked
            && let Some(key) = header.last_chunk()
        {
            apply_mask(&mut payload, *key);
        }
        // The other end judges it.
        CloseFrame::decode(&payload).ok().flatten()
    }
}

const CLOSE: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::close::CloseCode;

    /// Frames of a server: text, an empty ping, binary data of 300 bytes in two fragments, one with reserved bits.
    fn frames() -> Vec<u8> {
        let mut bytes = b"\x81\x02hi\x89\x00\x02\x7e\x01\x00".to_vec();
        bytes.extend([b'x'; 256]);
        bytes.extend(b"\x80\x2c");
        bytes.extend([b'y'; 44]);
        bytes.extend(b"\xf3\x01z");
        bytes
    }

    #[test]
    fn any_cutting_of_the_bytes_passes_the_same() {
        let mut whole = frames();
        whole.extend(b"\x88\x04\x03\xe8ok");
        for size in 1..whole.len() {
            let mut tracker = FrameTracker::new(Role::Server, None);
            let (mut held, mut passed, mut close) = (vec![], vec![], None);
            for piece in whole.chunks(size) {
                held.extend_from_slice(piece);
                let (len, found) = tracker.track(&held);
                passed.extend(held.drain(..len));
                assert!(held.len() < 2 + 4 + 125);
                match found {
                    Found::Frames => {}
                    Found::Close(frame) => close = frame,
                    Found::Violation(error) => panic!("{error}"),
                }
            }
            assert_eq!(passed, whole, "in pieces of {size}");
            let expected = CloseFrame::new(CloseCode::NORMAL, "ok");
            assert_eq!(close, Some(expected));
            assert_eq!(tracker.messages(), 3);
        }
    }

    #[test]
    fn a_frame_is_open_until_its_last_byte() {
        let bytes = frames();
        let mut tracker = FrameTracker::new(Role::Server, None);
        let (len, _) = tracker.track(&bytes[..3]);
        assert_eq!((len, tracker.is_between_frames()), (3, false));
        let (len, _) = tracker.track(&bytes[3..4]);
        assert_eq!((len, tracker.is_between_frames()), (1, true));
        // The header of the next one is kept back until all of it is there.
        let (len, _) = tracker.track(&bytes[6..9]);
        assert_eq!((len, tracker.is_between_frames()), (0, true));
        let (len, _) = tracker.track(&bytes[6..10]);
        assert_eq!((len, tracker.left()), (4, 256));
    }

    #[test]
    fn masked_close_is_read() {
        let mut tracker = FrameTracker::new(Role::Client, None);
        let frame = b"\x88\x82\x37\xfa\x21\x3d\x34\x12";
        let (len, found) = tracker.track(&[&frame[..], b"more"].concat());
        let expected = Some(CloseCode::NORMAL.into());
        assert_eq!((len, found), (frame.len(), Found::Close(expected)));
        let (len, found) = tracker.track(b"\x88\x80\0\0\0\0");
        assert_eq!((len, found), (6, Found::Close(None)));
    }

    #[test]
    fn frames_of_the_wrong_shape_are_not_passed() {
        let of = |role, bytes: &[u8]| FrameTracker::new(role, Some(200)).track(bytes);
        let big = |size| ProtocolError::FrameTooBig { size, limit: 200 };
        for (role, bytes, error) in [
            (
                Role::Client,
                &b"\x81\x02hi"[..],
                ProtocolError::UnmaskedFrame,
            ),
            (Role::Server, b"\x81\x82", ProtocolError::MaskedFrame),
            (
                Role::Server,
                b"\x89\x7e",
                ProtocolError::ControlTooLong(126),
            ),
            (Role::Server, b"\x82\x7e\x00\xc9", big(201)),
            (Role::Server, b"\x82\x7f\0\0\0\0\0\x01\0\0", big(65536)),
            (
                Role::Server,
                b"\x82\x7f\x80\0\0\0\0\0\0\0",
                ProtocolError::LengthOverflow(1 << 63),
            ),
        ] {
            let (len, found) = of(role, bytes);
            assert_eq!((len, found), (0, Found::Violation(error)), "{bytes:x?}");
        }
        let (len, found) = of(Role::Server, b"\x82\x7e\x00\xc8");
        assert_eq!((len, found), (4, Found::Frames));
        // What came before is.
        let (len, found) = of(Role::Server, b"\x81\x02hi\x81\x80");
        assert_eq!(
            (len, found),
            (4, Found::Violation(ProtocolError::MaskedFrame))
        );
    }
}
