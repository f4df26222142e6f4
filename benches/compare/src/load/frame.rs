//! Frames without anybody's codec: made before a run, counted while it lasts.

use std::io;

use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::{Deflate, Rng};

/// Ends every compressed message, and is cut off on the wire (RFC 7692 §7.2.1).
const DEFLATE_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Messages as a client frames them, one behind the other, over and over.
#[derive(Debug)]
pub(crate) struct Ring {
    /// All frames twice, so that a run of them is one slice wherever it starts.
    bytes: Bytes,
    starts: Vec<usize>,
    payloads: Vec<Vec<u8>>,
    deflate: Option<Deflate>,
}

impl Ring {
    /// Makes at least `burst` messages, whose sizes go around in `sizes`.
    pub(crate) fn new(sizes: &[usize], burst: usize, deflate: Option<Deflate>) -> io::Result<Self> {
        let least = if sizes.iter().any(|size| *size >= 65_536) {
            4
        } else {
            64
        };
        let mut rng = Rng::default();
        let mut compress = Compress::new(Compression::new(6), false);
        let (mut frames, mut payloads) = (Vec::new(), Vec::new());
        for size in sizes.iter().cycle().take(least.max(burst)) {
            let payload = match deflate {
                Some(_) => rng.json(*size),
                None => rng.bytes(*size),
            };
            let key = rng.next().to_ne_bytes();
            let key = [key[0] | 1, key[1], key[2], key[3] | 1];
            frames.push(match deflate {
                Some(kind) => {
                    if kind == Deflate::Shared {
                        compress.reset();
                    }
                    frame(0xc1, &deflated(&mut compress, &payload)?, key)
                }
                None => frame(0x82, &payload, key),
            });
            payloads.push(payload);
        }
        let (mut bytes, mut starts) = (BytesMut::new(), Vec::new());
        for frame in frames.iter().chain(&frames) {
            starts.push(bytes.len());
            bytes.extend_from_slice(frame);
        }
        starts.push(bytes.len());
        let bytes = bytes.freeze();
        Ok(Self {
            bytes,
            starts,
            payloads,
            deflate,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.payloads.len()
    }

    /// The frames of `count` messages, which is at most [`len`](Self::len).
    pub(crate) fn run(&self, from: usize, count: usize) -> Bytes {
        self.bytes
            .slice(self.starts[from]..self.starts[from + count])
    }

    /// How long the payload of an echo is; `None` where compression decides it.
    pub(crate) fn echoed_len(&self, index: usize) -> Option<u64> {
        match self.deflate {
            Some(_) => None,
            None => Some(self.payloads[index % self.len()].len() as u64),
        }
    }

    /// Compares the echoes of the first messages byte for byte.
    pub(crate) fn verify(&self, echoes: &[u8]) -> io::Result<()> {
        let mut inflate = Decompress::new(false);
        let (mut rest, mut message, mut compressed, mut index) = (echoes, Vec::new(), false, 0);
        while let Some((head, used)) = Head::decode(rest) {
            let end = used + head.len as usize;
            let payload = rest
                .get(used..end)
                .ok_or_else(|| bad("an echo cut short"))?;
            rest = &rest[end..];
            if head.control {
                continue;
            }
            compressed |= head.rsv1;
            let key = head.key.unwrap_or_default();
            message.extend(
                payload
                    .iter()
                    .zip(key.iter().cycle())
                    .map(|(byte, key)| byte ^ key),
            );
            if head.fin {
                if compressed {
                    if self.deflate == Some(Deflate::Shared) {
                        inflate.reset(false);
                    }
                    message = inflated(&mut inflate, message)?;
                }
                if message != self.payloads[index % self.len()] {
                    return Err(bad("an echo that differs"));
                }
                message.clear();
                compressed = false;
                index += 1;
            }
        }
        Ok(())
    }
}

/// Counts the messages in a stream of bytes, however it is cut.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    head: Vec<u8>,
    skip: u64,
    fin: bool,
    control: bool,
    len: u64,
}

impl Counter {
    /// Calls `message` with the payload's length for each message that ends in `src`.
    pub(crate) fn count(&mut self, mut src: &[u8], mut message: impl FnMut(u64)) {
        loop {
            let skipped = self.skip.min(src.len() as u64);
            self.skip -= skipped;
            src = &src[skipped as usize..];
            if self.skip > 0 {
                return;
            }
            if self.fin {
                self.fin = false;
                if !self.control {
                    message(std::mem::take(&mut self.len));
                }
            }
            let Some((head, used)) = self.next_head(src) else {
                return;
            };
            src = &src[used..];
            (self.skip, self.fin, self.control) = (head.len, head.fin, head.control);
            if !head.control {
                self.len += head.len;
            }
        }
    }

    /// Reads a header, and keeps what there is of an unfinished one.
    fn next_head(&mut self, src: &[u8]) -> Option<(Head, usize)> {
        if self.head.is_empty() {
            let found = Head::decode(src);
            if found.is_none() {
                self.head.extend_from_slice(src);
            }
            return found;
        }
        let had = self.head.len();
        for (used, byte) in src.iter().enumerate() {
            self.head.push(*byte);
            if let Some((head, whole)) = Head::decode(&self.head) {
                debug_assert_eq!(whole, had + used + 1);
                self.head.clear();
                return Some((head, used + 1));
            }
        }
        None
    }
}

/// A frame's header, with no opinion about who may send it.
struct Head {
    fin: bool,
    rsv1: bool,
    control: bool,
    len: u64,
    key: Option<[u8; 4]>,
}

impl Head {
    fn decode(src: &[u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = src.split_first_chunk()?;
        let (len, extended) = match second & 0x7f {
            126 => (u16::from_be_bytes(*rest.first_chunk()?).into(), 2),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 8),
            len => (len.into(), 0),
        };
        let (key, masked) = match second & 0x80 {
            0 => (None, 0),
            _ => (Some(*rest.get(extended..)?.first_chunk()?), 4),
        };
        let head = Self {
            fin: first & 0x80 != 0,
            rsv1: first & 0x40 != 0,
            control: first & 0x08 != 0,
            len,
            key,
        };
        Some((head, 2 + extended + masked))
    }
}

/// One masked frame.
pub(crate) fn frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&key);
    frame.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

fn deflated(compress: &mut Compress, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(2 * payload.len() + 256);
    compress.compress_vec(payload, &mut out, FlushCompress::Sync)?;
    if !out.ends_with(&DEFLATE_TAIL) {
        return Err(bad("a compressed message without its end"));
    }
    out.truncate(out.len() - DEFLATE_TAIL.len());
    Ok(out)
}

fn inflated(inflate: &mut Decompress, mut message: Vec<u8>) -> io::Result<Vec<u8>> {
    message.extend_from_slice(&DEFLATE_TAIL);
    let mut out = Vec::with_capacity(64 * 1024);
    inflate.decompress_vec(&message, &mut out, FlushDecompress::Sync)?;
    Ok(out)
}

pub(crate) fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(pieces: &[&[u8]]) -> Vec<u64> {
        let (mut counter, mut lens) = (Counter::default(), Vec::new());
        for piece in pieces {
            counter.count(piece, |len| lens.push(len));
        }
        lens
    }

    #[test]
    fn any_cutting_counts_the_same_messages() {
        // Two fragments with a ping between them, an empty message, 200 bytes.
        let mut input = b"\x01\x03Hel\x89\x00\x80\x02lo\x82\x00\x82\x7e\x00\xc8".to_vec();
        input.extend([0; 200]);
        for cut in 0..=input.len() {
            let (first, second) = input.split_at(cut);
            assert_eq!(counted(&[first, second]), [5, 0, 200], "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(counted(&bytes), [5, 0, 200]);
    }

    #[test]
    fn an_echo_is_compared_byte_for_byte() {
        for deflate in [None, Some(Deflate::Shared), Some(Deflate::Dedicated)] {
            let ring = Ring::new(&[20, 1000], 1, deflate).unwrap();
            let mut echo = ring.run(0, 4).to_vec();
            ring.verify(&echo).unwrap();
            // In the last message, and not where bits only fill a byte.
            let at = echo.len() * 3 / 4;
            echo[at] ^= 1;
            assert!(ring.verify(&echo).is_err(), "{deflate:?}");
        }
    }
}
