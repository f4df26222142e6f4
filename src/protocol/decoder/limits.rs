//! How much a peer may send in one frame, and in one message.

use crate::{
    config::Config,
    protocol::{error::ProtocolError, header::MAX_SHORT},
};

/// The limits on what is received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(super) max_message_size: u64,
    max_frame_size: u64,
    max_fragments: u64,
    /// A message in one frame that is shorter than this is within all of them; 0 where none is.
    pub(super) short: usize,
    /// Messages are given away in pieces, as they arrive.
    pub(crate) streaming: bool,
}

impl Limits {
    /// No limits, for what is thrown away.
    pub(super) const NONE: Self = Self {
        max_message_size: u64::MAX,
        max_frame_size: u64::MAX,
        max_fragments: u64::MAX,
        short: MAX_SHORT + 1,
        streaming: false,
    };

    /// The limits of a decoder that may give messages away in pieces.
    #[inline]
    #[cfg_attr(
        not(any(test, feature = "layer")),
        expect(dead_code, reason = "sessions do")
    )]
    pub(crate) fn new(config: &Config) -> Self {
        if !config.streaming {
            return Self::whole_messages(config);
        }
        Self {
            max_message_size: config.max_stream_size.unwrap_or(u64::MAX),
            max_frame_size: limit(config.max_frame_size),
            max_fragments: limit(config.max_fragments),
            short: 0,
            streaming: true,
        }
        .with_short()
    }

    #[inline]
    pub(crate) fn whole_messages(config: &Config) -> Self {
        Self {
            max_message_size: limit(config.max_message_size),
            max_frame_size: limit(config.max_frame_size),
            max_fragments: config.fragment_limit(),
            short: 0,
            streaming: false,
        }
        .with_short()
    }

    /// Notes how short a message has to be for all limits to be kept.
    #[inline]
    fn with_short(mut self) -> Self {
        let longest = self.max_frame_size.min(self.max_message_size);
        let longest = longest.min(MAX_SHORT as u64);
        if self.check(longest, 0, 0).is_ok() {
            self.short = longest as usize + 1;
        }
        self
    }

    /// The same limits, with every message going the ordinary way.
    #[cfg(test)]
    pub(super) fn without_short(mut self) -> Self {
        self.short = 0;
        self
    }

    #[inline]
    pub(super) fn check(
        &self,
        len: u64,
        received: u64,
        fragments: u64,
    ) -> Result<(), ProtocolError> {
        if len > self.max_frame_size {
            return Err(ProtocolError::FrameTooBig {
                size: len,
                limit: self.max_frame_size,
            });
        }
        // Both are below 2^63: the header says so, and memory ends long before.
        let size = received + len;
        if size > self.max_message_size {
            return Err(ProtocolError::MessageTooBig {
                size,
                limit: self.max_message_size,
            });
        }
        if fragments >= self.max_fragments {
            return Err(ProtocolError::TooManyFragments {
                limit: self.max_fragments,
            });
        }
        Ok(())
    }
}

fn limit(limit: Option<usize>) -> u64 {
    limit.map_or(u64::MAX, |limit| limit as u64)
}
