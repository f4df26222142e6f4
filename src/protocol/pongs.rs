//! Which pings are answered, and when.

use super::{encoder::Encoder, send_queue::SendQueue};

/// The pongs of a queue.
///
/// They leave in the order of their pings while they are few; then only the newest ping is answered,
/// as RFC 6455 §5.5.3 allows.
#[derive(Debug, Default)]
pub(super) struct Pongs {
    /// The newest ping's payload, while too many pongs before it have not left.
    latest_ping: Option<Box<[u8]>>,
    /// The bytes of pongs in the queue.
    unsent: u16,
    /// How much of the queue has to leave until the last of those pongs has.
    behind: usize,
}

impl Pongs {
    /// Queues a pong, or remembers the ping if too many wait.
    pub(super) fn answer(&mut self, encoder: &Encoder, payload: &[u8], queue: &mut SendQueue) {
        let len = payload.len() as u16 + OVERHEAD;
        // A short ping must not overtake the long one that waits before it.
        if self.latest_ping.is_some() || self.unsent + len > MAX_UNSENT {
            self.latest_ping = Some(payload.into());
        } else {
            self.unsent += len;
            encoder.pong(payload, queue);
            self.behind = queue.len();
        }
    }

    /// Notes that the whole queue has left. Returns the ping to answer now.
    pub(super) fn written(&mut self) -> Option<Box<[u8]>> {
        (self.unsent, self.behind) = (0, 0);
        self.latest_ping.take()
    }

    /// Notes that `left` bytes of the queue have left, and that `newer` ones follow the `rest` bytes
    /// that have not. Returns the ping to answer now, if the last pong before it has left.
    pub(super) fn put_back(&mut self, left: usize, rest: usize, newer: Self) -> Option<Box<[u8]>> {
        self.behind = self.behind.saturating_sub(left);
        let all_left = self.behind == 0;
        if all_left {
            self.unsent = 0;
        }
        if newer.unsent > 0 {
            self.behind = rest + newer.behind;
        }
        self.unsent += newer.unsent;
        let waiting = self.latest_ping.take();
        self.latest_ping = newer.latest_ping;
        if self.latest_ping.is_some() {
            return None;
        }
        if all_left {
            return waiting;
        }
        self.latest_ping = waiting;
        None
    }
}

/// Ten pings of full length at once are answered one by one, and some more.
const MAX_UNSENT: u16 = 2 << 10;

/// A header, masked.
const OVERHEAD: u16 = 6;
