//! Messages that were encoded before, for many connections.

use bytes::Bytes;

use super::{NotOpen, Outgoing, State, Unsent};
use crate::config::Config;

impl Outgoing {
    /// Queues a message of `len` bytes that was encoded before, and that others have, too.
    pub(crate) fn frames(&mut self, len: usize, frames: &Bytes) -> Result<(), NotOpen> {
        self.next_message(len)?.share_ref(frames);
        Ok(())
    }

    /// Queues a message as [`frames`](Self::frames) does, where that takes nothing but a place in the queue: the
    /// connection is open, no message is in progress, and there is room. Takes a `spare` queue if it has none.
    /// Reports whether it has.
    #[inline]
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "groups do"))]
    pub(crate) fn frames_at_once(
        &mut self,
        len: usize,
        frames: &Bytes,
        config: &Config,
        spare: impl FnOnce() -> Option<Box<Unsent>>,
    ) -> bool {
        if self.streaming || self.state() != State::Open || self.is_full(config) {
            return false;
        }
        if self.needs_queue() {
            self.adopt(spare());
        }
        self.messages += 1;
        self.bytes += len as u64;
        let queue = self.queue();
        queue.messages += 1;
        queue.frames.share_ref(frames);
        true
    }
}
