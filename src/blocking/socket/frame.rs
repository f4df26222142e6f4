//! Where the frames of a stream end.

use crate::protocol::{Header, Opcode};

/// The frame that a stream is in the middle of.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// The beginning of its header, until all of that has come.
    header: Vec<u8>,
    /// What is to come of its payload, in bytes.
    remaining: u64,
    /// It is a Close, or none: nothing behind it is of interest.
    last: bool,
}

impl Frame {
    /// Returns how much of `bytes` belongs to this frame, and passes over that.
    ///
    /// It is at least one byte, if there is one. What is no frame ends where that is seen.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while self.remaining == 0 && used < bytes.len() {
            self.header.push(bytes[used]);
            used += 1;
            match Header::decode_extended(&self.header) {
                Ok(None) => {}
                Ok(Some((header, _))) => {
                    self.header.clear();
                    self.remaining = header.payload_len;
                    self.last = header.opcode == Opcode::Close;
                    break;
                }
                Err(_) => {
                    self.header.clear();
                    self.last = true;
                    break;
                }
            }
        }
        let len = self.remaining.min((bytes.len() - used) as u64);
        self.remaining -= len;
        used + len as usize
    }

    /// Reports whether the peer's Close is over, or something that is no frame has come.
    pub(super) fn was_last(&self) -> bool {
        self.last && self.remaining == 0
    }
}
