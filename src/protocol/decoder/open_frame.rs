//! A data frame that has begun and not ended.

use crate::protocol::mask::advance_key;

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
    pub(super) fn take(&mut self, len: usize) {
        self.masking_key = advance_key(self.masking_key, len);
        self.remaining -= len as u64;
        self.received += len as u64;
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
