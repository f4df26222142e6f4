//! What went over the line, read without the help of the crate.

use std::{fs, ops::Range, path::Path};

use zlib_rs::{Inflate, InflateFlush, Status};

use crate::script::{ABORT_NOW, CLOSE_ME, Said, messages};

/// A conversation as its peer spoke it: see `tests/recorded/README.md`.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) name: String,
    /// The peer was the server.
    pub(super) is_server: bool,
    pub(super) http2: bool,
    pub(super) deflate: bool,
    pub(super) ending: Ending,
    /// The peer's end was a reset.
    pub(super) resets: bool,
    pub(super) pieces: Vec<Vec<u8>>,
    /// What the peer said.
    pub(super) said: Spoken,
    /// After so many of its bytes the peer has said Close.
    pub(super) close_at: Option<usize>,
    /// The stream with the WebSocket.
    pub(super) stream: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// The peer sends the first Close.
    Peer,
    /// We do.
    Ours,
    /// Nobody does.
    Abort,
}

impl Recording {
    /// Reads all that there are.
    pub(super) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded");
        let entries = fs::read_dir(folder).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "rec"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap();
        let head = str::from_utf8(&bytes[..end]).unwrap();
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(key, _)| *key == name).unwrap().1
        };
        let mut rest = &bytes[end + 2..];
        let mut pieces = Vec::new();
        while let Some((len, after)) = rest.split_first_chunk() {
            let (piece, after) = after.split_at(u32::from_be_bytes(*len) as usize);
            pieces.push(piece.to_vec());
            rest = after;
        }
        let all = pieces.concat();
        let is_server = field("role") == "server";
        let http2 = field("http") == "2";
        let deflate = field("path") == "deflate";
        let stream = if http2 { data_stream(&all) } else { 0 };
        let said = Spoken::read(&all, http2.then_some(stream), !is_server, deflate);
        let ending = match field("ending") {
            "peer" => Ending::Peer,
            "ours" => Ending::Ours,
            _ => Ending::Abort,
        };
        let close_at = said.close.is_some().then(|| {
            let has_close = |len: &usize| {
                let spoken =
                    Spoken::read(&all[..*len], http2.then_some(stream), !is_server, deflate);
                spoken.close.is_some()
            };
            let ends: Vec<usize> = (0..=all.len()).collect();
            ends.partition_point(|len| !has_close(len))
        });
        Self {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            is_server,
            http2,
            deflate,
            ending,
            resets: field("end") == "reset",
            pieces,
            said,
            close_at,
            stream,
        }
    }

    /// The messages that the peer was told to send.
    pub(super) fn expected_of_peer(&self) -> Vec<Said> {
        let command = match (self.ending, self.is_server) {
            (Ending::Peer, _) | (Ending::Ours, true) => None,
            (Ending::Ours, false) => Some(CLOSE_ME),
            (Ending::Abort, _) => Some(ABORT_NOW),
        };
        self.expected(command)
    }

    /// The messages that we send.
    pub(super) fn expected_of_us(&self) -> Vec<Said> {
        let command = match (self.ending, self.is_server) {
            (Ending::Ours, _) | (Ending::Peer, false) => None,
            (Ending::Peer, true) => Some(CLOSE_ME),
            (Ending::Abort, _) => Some(ABORT_NOW),
        };
        self.expected(command)
    }

    fn expected(&self, command: Option<&str>) -> Vec<Said> {
        let command = command.map(|text| Said::Text(text.to_owned()));
        messages(self.deflate).into_iter().chain(command).collect()
    }
}

/// One direction of a WebSocket, as far as it went.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    pub(super) messages: Vec<Said>,
    pub(super) pings: Vec<Vec<u8>>,
    pub(super) pongs: Vec<Vec<u8>>,
    pub(super) close: Option<Vec<u8>>,
    /// What stands behind the last whole message, as far as it is not compressed.
    pub(super) begun: Vec<u8>,
    /// Nothing is left over: no frame, no message.
    pub(super) whole: bool,
}

impl Spoken {
    /// Reads what was said on an HTTP/1.1 connection, or on a stream of HTTP/2.
    pub(super) fn read(bytes: &[u8], stream: Option<u32>, masked: bool, deflate: bool) -> Self {
        let payload = match stream {
            Some(stream) => data(bytes, stream),
            None => head_len(bytes).map_or(Vec::new(), |len| bytes[len..].to_vec()),
        };
        Self::frames(&payload, masked, deflate)
    }

    fn frames(mut bytes: &[u8], masked: bool, deflate: bool) -> Self {
        let mut spoken = Self::default();
        let mut inflate = Inflate::new(false, 15);
        // Of the message that is under way.
        let mut open: Option<(u8, bool)> = None;
        let mut gathered = Vec::new();
        while let Some((first, payload, rest)) = frame(bytes, masked) {
            assert!(spoken.close.is_none(), "nothing follows a Close");
            let Some(payload) = payload else {
                // The beginning of one: its bytes are those of the message.
                let compressed = open.map_or(first & 0x40 != 0, |(_, compressed)| compressed);
                if first & 0x08 == 0 && !compressed {
                    gathered.extend_from_slice(&rest);
                }
                spoken.begun = gathered;
                return spoken;
            };
            bytes = &bytes[bytes.len() - rest.len()..];
            assert_eq!(first & 0x30, 0, "reserved bits");
            let (opcode, fin) = (first & 0x0f, first & 0x80 != 0);
            if opcode & 0x08 != 0 {
                assert!(
                    fin && first & 0x40 == 0 && payload.len() <= 125,
                    "a control frame"
                );
                match opcode {
                    8 => spoken.close = Some(payload),
                    9 => spoken.pings.push(payload),
                    10 => spoken.pongs.push(payload),
                    _ => panic!("opcode {opcode}"),
                }
                continue;
            }
            let (kind, compressed) = match open {
                None => {
                    assert!(opcode == 1 || opcode == 2, "a message begins: {opcode}");
                    (opcode, first & 0x40 != 0)
                }
                Some(begun) => {
                    assert_eq!((opcode, first & 0x40), (0, 0), "a message goes on");
                    begun
                }
            };
            assert!(deflate || !compressed, "compression was not agreed on");
            gathered.extend_from_slice(&payload);
            open = Some((kind, compressed));
            if fin {
                let mut whole = std::mem::take(&mut gathered);
                if compressed {
                    whole = inflated(&mut inflate, whole);
                }
                spoken.messages.push(match kind {
                    1 => Said::Text(String::from_utf8(whole).expect("text")),
                    _ => Said::Binary(whole),
                });
                open = None;
            }
        }
        spoken.whole = open.is_none() && bytes.is_empty();
        if open.is_some_and(|(_, compressed)| !compressed) {
            spoken.begun = gathered;
        }
        spoken
    }
}

/// The first frame: its first byte, its payload unless it is not all there, and what follows.
///
/// Where it is not all there, what follows is what there is of its payload.
fn frame(bytes: &[u8], masked: bool) -> Option<(u8, Option<Vec<u8>>, Vec<u8>)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert_eq!(
        second & 0x80 != 0,
        masked,
        "a client masks, a server does not"
    );
    let (len, rest) = match second & 0x7f {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*len)), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*len) as usize, rest)
        }
        len => (usize::from(len), rest),
    };
    let (key, rest) = if masked {
        rest.split_first_chunk()?
    } else {
        (&[0; 4], rest)
    };
    let payload = |bytes: &[u8]| {
        let pairs = bytes.iter().zip(key.iter().cycle());
        pairs.map(|(byte, key)| byte ^ key).collect::<Vec<_>>()
    };
    match rest.split_at_checked(len) {
        Some((bytes, rest)) => Some((first, Some(payload(bytes)), rest.to_vec())),
        None => Some((first, None, payload(rest))),
    }
}

/// Takes the compression off a message (RFC 7692 §7.2.2).
fn inflated(inflate: &mut Inflate, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend([0, 0, 0xff, 0xff]);
    let mut output = vec![0; 1 << 17];
    let (read, made) = (inflate.total_in(), inflate.total_out());
    let status = inflate
        .decompress(&bytes, &mut output, InflateFlush::SyncFlush)
        .expect("it is compressed");
    assert_eq!(status, Status::Ok);
    assert_eq!(inflate.total_in() - read, bytes.len() as u64);
    output.truncate((inflate.total_out() - made) as usize);
    output
}

/// The frames of HTTP/2: kind, flags, stream, payload and where it ends (RFC 9113 §4.1).
fn http2_frames(bytes: &[u8]) -> Vec<(u8, u8, u32, &[u8])> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut rest = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    if PREFACE.starts_with(rest) {
        return Vec::new();
    }
    let mut frames = Vec::new();
    while let Some((&[a, b, c, kind, flags, s, t, u, v], after)) = rest.split_first_chunk() {
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        let Some((payload, after)) = after.split_at_checked(len) else {
            break;
        };
        frames.push((
            kind,
            flags,
            u32::from_be_bytes([s & 0x7f, t, u, v]),
            payload,
        ));
        rest = after;
    }
    frames
}

/// What the DATA frames of a stream hold.
fn data(bytes: &[u8], stream: u32) -> Vec<u8> {
    let frames = http2_frames(bytes).into_iter();
    let data = frames.filter(|(kind, _, of, _)| *kind == 0 && *of == stream);
    data.flat_map(|(_, flags, _, payload)| {
        let padded = flags & 0x08 != 0;
        let end = payload.len() - if padded { payload[0] as usize } else { 0 };
        payload[usize::from(padded)..end].iter().copied()
    })
    .collect()
}

/// The stream on which there is data.
fn data_stream(bytes: &[u8]) -> u32 {
    let frames = http2_frames(bytes);
    let mut data = frames.iter().filter(|(kind, ..)| *kind == 0);
    data.next().expect("something was said").2
}

/// How long the head of an HTTP/1.1 message is, once it is whole.
pub(super) fn head_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

/// Where the value of a field is.
pub(super) fn field(head: &[u8], name: &str) -> Option<Range<usize>> {
    let mut at = 0;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let end = at + line.len() - 2;
        if line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name.as_bytes()) {
            let mut start = at + name.len() + 1;
            while head[start] == b' ' {
                start += 1;
            }
            return Some(start..end);
        }
        at += line.len();
    }
    None
}
