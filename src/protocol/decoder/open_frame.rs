//! A data frame that has begun and not ended.

use crate::protocol::{header::Header, mask::advance_key};

/// A data frame that has begun and not ended.
#[derive(Debug)]
pub(super) struct OpenFrame {
    pub(super) fin: bool,
    pub(super) remaining: u64,
    pub(super) received: u64,
    /// Turned so that it starts at the next byte; zeroes where nothing is masked.
    pub(super) masking_key: [u8; 4],
}

impl OpenFrame {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            fin: header.fin,
            remaining: header.payload_len,
            received: 0,
            masking_key: header.masking_key.unwrap_or_default(),
        }
    }

    pub(super) fn take(&mut self, len: usize) {
        self.masking_key = advance_key(self.masking_key, len);
        self.remaining -= len as u64;
        self.received += len as u64;
    }
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

/// How far a frame has come that has begun and not ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FrameInProgress {
    /// Tells it from the frames before and after it.
    pub(crate) number: u32,
    /// The payload received so far, in bytes.
    pub(crate) received: u64,
}
