//! The client's bytes: as little of HTTP/2 (RFC 9113) as it takes to hold WebSockets open (RFC 8441).
//!
//! Every request is the same and names nothing from a table, so that its block is made once.

use std::io;

/// The opening of a connection: preface, settings, and a window that is never spent.
pub(crate) fn opening() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    let more = (1_u32 << 31) - 1 - 65_535;
    frame(&mut bytes, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
    bytes
}

/// The fields of an Extended CONNECT, or of a POST for a server that knows no WebSocket.
pub(crate) fn request(raw: bool) -> Vec<u8> {
    let mut block = Vec::new();
    if raw {
        block.push(0x83);
    } else {
        field(&mut block, ":method", "CONNECT");
        field(&mut block, ":protocol", "websocket");
    }
    // `:scheme: http` and `:path: /` of the static table.
    block.extend([0x86, 0x84]);
    field(&mut block, ":authority", "127.0.0.1");
    if !raw {
        field(&mut block, "sec-websocket-version", "13");
    }
    block
}

/// A field that is kept in no table (RFC 7541 §6.2.2), of short text.
fn field(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        block.push(text.len() as u8);
        block.extend(text.as_bytes());
    }
}

/// Appends a frame of HTTP/2.
pub(crate) fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}

/// Appends a short WebSocket frame as a client sends it, in a frame of DATA.
pub(crate) fn message(bytes: &mut Vec<u8>, stream: u32, opcode: u8, payload: &[u8], last: bool) {
    let mut data = vec![0x80 | opcode, 0x80 | payload.len() as u8];
    data.extend(MASK);
    data.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame(
        bytes,
        DATA,
        if last { END_STREAM } else { 0 },
        stream,
        &data,
    );
}

/// A WebSocket frame of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
}

/// Takes a whole frame of the server off the front; `None` if more is to come.
pub(crate) fn take_message<'a>(data: &mut &'a [u8]) -> io::Result<Option<Message<'a>>> {
    let [first, len, rest @ ..] = *data else {
        return Ok(None);
    };
    let (len, rest) = match (len, rest) {
        (len @ ..=125, rest) => (usize::from(*len), rest),
        (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        (126, _) => return Ok(None),
        _ => {
            return Err(bad(
                "a frame that is masked or larger than any that is sent",
            ));
        }
    };
    // FIN, and a bit that an extension would set.
    if first & 0xf0 != 0x80 {
        return Err(bad("a fragment"));
    }
    if rest.len() < len {
        return Ok(None);
    }
    let (payload, rest) = rest.split_at(len);
    *data = rest;
    let opcode = first & 0x0f;
    Ok(Some(Message { opcode, payload }))
}

/// A frame of HTTP/2, without what it carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

/// Takes a whole frame of HTTP/2 off the front; `None` if more is to come.
pub(crate) fn take_frame<'a>(bytes: &mut &'a [u8]) -> Option<(Head, &'a [u8])> {
    let [a, b, c, kind, flags, d, e, f, g, rest @ ..] = *bytes else {
        return None;
    };
    let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
    let payload = rest.get(..len)?;
    *bytes = &rest[len..];
    let head = Head {
        kind: *kind,
        flags: *flags,
        stream: u32::from_be_bytes([*d, *e, *f, *g]) & (u32::MAX >> 1),
    };
    Some((head, payload))
}

pub(crate) fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Frames of HTTP/2 (RFC 9113 §6), and flags of theirs.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3), set.
pub(crate) const EXTENDED_CONNECT: [u8; 6] = [0, 8, 0, 0, 0, 1];
/// `:status: 200` in the static table.
pub(crate) const OK: u8 = 0x88;

/// Opcodes of WebSocket.
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const WS_PING: u8 = 9;
pub(crate) const WS_PONG: u8 = 10;

/// What clients mask with: any key will do for a server that does not choose what it is sent.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
