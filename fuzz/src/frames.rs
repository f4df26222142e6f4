//! Frames (RFC 6455 §5), read off the bits of §5.2, and the messages that they make.

use tower_websocket::Event;

use crate::deflate::{Inflate, Status};

/// How the bytes of one direction are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Client to server.
    pub masked: bool,
    /// permessage-deflate, and how.
    pub deflate: Option<Deflate>,
    pub max_message_size: u64,
    pub max_frame_size: u64,
    pub max_fragments: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Deflate {
    pub takeover: bool,
    pub window_bits: u8,
    /// See [`Inflate`].
    pub strict: bool,
}

/// What a receiver is to see.
#[derive(Debug, Eq, PartialEq)]
pub enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// Where reading ended.
#[derive(Debug, Eq, PartialEq)]
pub enum End {
    /// More can follow.
    Open,
    /// The connection is failed with this code (§7.4.1).
    Failed(u16),
}

/// All that was read.
#[derive(Debug)]
pub struct Reading {
    pub seen: Vec<Seen>,
    /// How many of those come whatever happens; see `in_compressed`.
    pub sure: usize,
    pub end: End,
    /// What came of a message that has not ended, or was wrong.
    pub open: Option<Vec<u8>>,
    /// A compressed message has not ended, or was wrong: how soon its faults are seen is not said, and
    /// of several either may be told.
    pub in_compressed: bool,
    /// A frame of a message came behind a Close.
    pub data_behind_close: bool,
    /// What is left behind the last whole header or frame, in bytes.
    pub rest: usize,
}

/// A header by itself.
#[derive(Debug, Eq, PartialEq)]
pub struct Header {
    pub fin: bool,
    pub rsv1: bool,
    pub opcode: u8,
    pub key: Option<[u8; 4]>,
    pub len: u64,
    /// How many bytes it takes.
    pub size: usize,
}

/// A rule that a header breaks by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Broken {
    /// "MUST be 0 unless an extension is negotiated".
    Reserved,
    /// "%x3-7 are reserved", "%xB-F are reserved".
    Opcode,
    /// "MUST NOT be fragmented" (§5.5).
    Fragmented,
    /// "MUST have a payload length of 125 bytes or less" (§5.5).
    Long,
    /// "the minimal number of bytes MUST be used to encode the length".
    NotMinimal,
    /// "the most significant bit MUST be 0".
    Overflow,
}

/// Reads a header; `None` where more bytes are needed to tell.
pub fn header(bytes: &[u8]) -> Result<Option<Header>, Broken> {
    let bit = |n: usize| bytes[n / 8] >> (7 - n % 8) & 1 == 1;
    let field = |from: usize, to: usize| (from..to).fold(0, |all, n| all << 1 | u64::from(bit(n)));
    if bytes.len() < 2 {
        return Ok(None);
    }
    let (fin, rsv1, opcode, is_masked) = (bit(0), bit(1), field(4, 8) as u8, bit(8));
    if bit(2) || bit(3) {
        return Err(Broken::Reserved);
    }
    if matches!(opcode, 3..=7 | 11..=15) {
        return Err(Broken::Opcode);
    }
    let short = field(9, 16);
    if opcode >= 8 {
        if !fin {
            return Err(Broken::Fragmented);
        }
        // RFC 7692 §6.1: only data frames are compressed.
        if rsv1 {
            return Err(Broken::Reserved);
        }
        if short > 125 {
            return Err(Broken::Long);
        }
    }
    let (width, least) = match short {
        126 => (2, 126),
        127 => (8, 65_536),
        _ => (0, 0),
    };
    let mut size = 2 + width;
    if bytes.len() < size {
        return Ok(None);
    }
    let len = if width == 0 {
        short
    } else {
        field(16, 8 * size)
    };
    if len < least {
        return Err(Broken::NotMinimal);
    }
    if len >> 63 == 1 {
        return Err(Broken::Overflow);
    }
    let mut key = None;
    if is_masked {
        let Some(four) = bytes[size..].first_chunk() else {
            return Ok(None);
        };
        key = Some(*four);
        size += 4;
    }
    Ok(Some(Header {
        fin,
        rsv1,
        opcode,
        key,
        len,
        size,
    }))
}

/// A message that has begun.
struct Message {
    is_text: bool,
    is_compressed: bool,
    payload: Vec<u8>,
    declared: u64,
    frames: u64,
}

/// Reads all of `wire`.
pub fn read(mut wire: &[u8], rules: &Rules) -> Reading {
    let (mut seen, mut sure, mut message) = (Vec::new(), 0, None);
    let (mut closed, mut data_behind_close) = (false, false);
    let mut inflate = rules
        .deflate
        .map(|deflate| Inflate::new(deflate.takeover, deflate.window_bits, deflate.strict));
    let end = loop {
        let header = match header(wire) {
            Ok(Some(header)) => header,
            Ok(None) => break End::Open,
            Err(_) => break End::Failed(1002),
        };
        if let Err(code) = check(&header, message.as_ref(), rules) {
            break End::Failed(code);
        }
        let (payload, rest) = wire[header.size..].split_at(
            usize::try_from(header.len)
                .map_or(usize::MAX, |len| len)
                .min(wire.len() - header.size),
        );
        let is_whole = payload.len() as u64 == header.len;
        if header.opcode >= 8 && !is_whole {
            break End::Open;
        }
        wire = rest;
        let payload = payload.iter().enumerate();
        let payload = payload.map(|(n, byte)| byte ^ header.key.map_or(0, |key| key[n % 4]));
        if header.opcode >= 8 {
            match control(header.opcode, payload.collect()) {
                Ok(event) => {
                    closed |= matches!(event, Seen::Close(_));
                    seen.push(event);
                }
                Err(code) => break End::Failed(code),
            }
            continue;
        }
        data_behind_close |= closed;
        if message.is_none() {
            sure = seen.len();
        }
        let open = message.get_or_insert_with(|| Message {
            is_text: header.opcode == 1,
            is_compressed: header.rsv1,
            payload: Vec::new(),
            declared: 0,
            frames: 0,
        });
        open.payload.extend(payload);
        open.declared += header.len;
        open.frames += 1;
        let is_over = is_whole && header.fin;
        if !open.is_compressed && open.is_text && !is_text(&open.payload, is_over) {
            break End::Failed(1007);
        }
        if !is_over {
            continue;
        }
        let (mut content, is_text_message) = (std::mem::take(&mut open.payload), open.is_text);
        if let (Some(inflate), true) = (&mut inflate, open.is_compressed) {
            let (inflated, status) = inflate.message(&content);
            let fault = if status == Status::Corrupt || (open.is_text && !is_text(&inflated, true))
            {
                Some(1007)
            } else if inflated.len() as u64 > rules.max_message_size {
                Some(1009)
            } else {
                None
            };
            if let Some(code) = fault {
                open.payload = content;
                break End::Failed(code);
            }
            inflate.remember(&inflated);
            content = inflated;
        }
        message = None;
        seen.push(if is_text_message {
            Seen::Text(content)
        } else {
            Seen::Binary(content)
        });
    };
    let in_compressed = message
        .as_ref()
        .is_some_and(|message| message.is_compressed);
    Reading {
        sure: if in_compressed { sure } else { seen.len() },
        seen,
        end,
        open: message.map(|message| match &inflate {
            Some(inflate) if message.is_compressed => inflate.beginning(&message.payload).0,
            _ => message.payload,
        }),
        in_compressed,
        data_behind_close,
        rest: wire.len(),
    }
}

/// Holds a header against the role of its sender, the order of frames and the limits.
fn check(header: &Header, open: Option<&Message>, rules: &Rules) -> Result<(), u16> {
    let is_right = match header.opcode {
        0 => open.is_some() && !header.rsv1,
        1 | 2 => open.is_none() && (!header.rsv1 || rules.deflate.is_some()),
        _ => true,
    };
    if header.key.is_some() != rules.masked || !is_right {
        return Err(1002);
    }
    if header.opcode >= 8 {
        return Ok(());
    }
    let (declared, frames) = open.map_or((0, 0), |open| (open.declared, open.frames));
    if header.len > rules.max_frame_size
        || declared + header.len > rules.max_message_size
        || frames >= rules.max_fragments
    {
        return Err(1009);
    }
    Ok(())
}

fn control(opcode: u8, payload: Vec<u8>) -> Result<Seen, u16> {
    match (opcode, &payload[..]) {
        (9, _) => Ok(Seen::Ping(payload)),
        (10, _) => Ok(Seen::Pong(payload)),
        (_, []) => Ok(Seen::Close(None)),
        // "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer" (§5.5.1).
        (_, [_]) => Err(1002),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from(*high) << 8 | u16::from(*low);
            // §7.4.1, §7.4.2, and IANA's registry.
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(1002);
            }
            let reason = String::from_utf8(reason.to_vec()).map_err(|_| 1007_u16)?;
            Ok(Seen::Close(Some((code, reason))))
        }
    }
}

/// Whether it is UTF-8, or the beginning of it.
fn is_text(payload: &[u8], whole: bool) -> bool {
    std::str::from_utf8(payload)
        .map_or_else(|error| !whole && error.error_len().is_none(), |_| true)
}

impl Seen {
    /// What the crate tells, in these words.
    pub fn of(event: &Event) -> Self {
        match event {
            Event::Message(message) if message.is_text() => Self::Text(message.as_bytes().to_vec()),
            Event::Message(message) => Self::Binary(message.as_bytes().to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(frame) => Self::Close(
                frame
                    .as_ref()
                    .map(|frame| (frame.code().as_u16(), frame.reason().to_owned())),
            ),
        }
    }
}
