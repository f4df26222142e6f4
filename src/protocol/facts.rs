//! What the deadlines of a connection are judged by.

use super::decoder::FrameInProgress;

/// What has happened so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// A number that changes with every part of a message received or sent.
    pub(crate) traffic: u32,
    /// Messages received so far.
    pub(crate) received: u64,
    pub(crate) frame: Option<FrameInProgress>,
    /// Our Close was sent: only the end is waited for.
    pub(crate) closing: bool,
}

impl Facts {
    /// Makes one number of several counters: a hash, so that no two changes cancel each other.
    pub(crate) fn traffic(counters: [u64; 4]) -> u32 {
        let hash = counters.into_iter().fold(0_u64, |hash, counter| {
            (hash ^ counter)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
        });
        (hash >> 32) as u32
    }
}
