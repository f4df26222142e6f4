//! What has gone over a connection.

/// Messages and bytes, received and sent, as [`Counters`](super::Counters) define them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Traffic {
    pub(super) messages_received: u64,
    pub(super) bytes_received: u64,
    pub(super) messages_sent: u64,
    pub(super) bytes_sent: u64,
    /// Messages that found a full queue.
    pub(super) queue_full: u64,
}

impl Traffic {
    /// Returns what came after `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            messages_received: self.messages_received - before.messages_received,
            bytes_received: self.bytes_received - before.bytes_received,
            messages_sent: self.messages_sent - before.messages_sent,
            bytes_sent: self.bytes_sent - before.bytes_sent,
            queue_full: self.queue_full - before.queue_full,
        }
    }
}
