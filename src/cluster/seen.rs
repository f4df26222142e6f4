//! What came last from each sender to a topic.

use super::{node_id::NodeId, number::Number};

/// The senders that were heard in one topic, each with the number that is expected next.
///
/// By it doubles are told from what is new, and what is missing is counted. 24 bytes each.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By node.
    senders: Vec<Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    node: NodeId,
    run: u64,
    /// The index that is expected next.
    index: u32,
    /// When it was heard last, in seconds.
    heard: u32,
}

impl Seen {
    /// Returns how many envelopes before this one are missing; `None` for a double.
    ///
    /// What is missing before the first of a sender that was not heard before is not known: 0.
    pub(super) fn judge(&self, node: NodeId, number: Number) -> Option<u64> {
        let Ok(place) = self.find(node) else {
            return Some(0);
        };
        let expected = self.senders[place].expected();
        if number < expected {
            return None;
        }
        let from = if number.run == expected.run {
            expected.index
        } else {
            // What its run before had after the last that came is not known.
            0
        };
        Some(u64::from(number.index - from))
    }

    /// Notes an envelope that was taken, in second `now`; `is_alive` says which nodes are kept in any case.
    pub(super) fn take(
        &mut self,
        node: NodeId,
        number: Number,
        now: u32,
        is_alive: impl Fn(NodeId) -> bool,
    ) {
        let sender = self.sender(node, number, now, is_alive);
        sender.run = number.run;
        sender.index = number.index.saturating_add(1);
    }

    /// Notes an envelope that was dropped here: it is missing before the next one.
    pub(super) fn skip(
        &mut self,
        node: NodeId,
        number: Number,
        now: u32,
        is_alive: impl Fn(NodeId) -> bool,
    ) {
        let sender = self.sender(node, number, now, is_alive);
        if sender.run != number.run {
            sender.run = number.run;
            sender.index = 0;
        }
    }

    /// Returns the entry of a sender, which is made if it is not there.
    fn sender(
        &mut self,
        node: NodeId,
        number: Number,
        now: u32,
        is_alive: impl Fn(NodeId) -> bool,
    ) -> &mut Heard {
        let place = match self.find(node) {
            Ok(place) => place,
            Err(_) => self.insert(node, number, now, is_alive),
        };
        let sender = &mut self.senders[place];
        sender.heard = now;
        sender
    }

    fn insert(
        &mut self,
        node: NodeId,
        number: Number,
        now: u32,
        is_alive: impl Fn(NodeId) -> bool,
    ) -> usize {
        self.make_room(now, is_alive);
        let (Ok(place) | Err(place)) = self.find(node);
        let sender = Heard {
            node,
            run: number.run,
            index: number.index,
            heard: now,
        };
        self.senders.insert(place, sender);
        place
    }

    /// Forgets senders that are gone instead of growing, and the one that was silent for longest
    /// instead of growing beyond the limit.
    fn make_room(&mut self, now: u32, is_alive: impl Fn(NodeId) -> bool) {
        let senders = &mut self.senders;
        if senders.len() < senders.capacity() && senders.len() < MAX_SENDERS {
            return;
        }
        senders.retain(|sender| {
            is_alive(sender.node) || now.saturating_sub(sender.heard) < KEPT_SECONDS
        });
        if senders.len() >= MAX_SENDERS {
            let oldest = (0..senders.len()).min_by_key(|&place| senders[place].heard);
            senders.remove(oldest.unwrap_or_default());
        }
        if senders.len() == senders.capacity() {
            // One alone in most topics, so four at once would be three for nothing.
            senders.reserve_exact(senders.len().max(1));
        }
    }

    fn find(&self, node: NodeId) -> Result<usize, usize> {
        self.senders
            .binary_search_by_key(&node, |sender| sender.node)
    }

    /// Returns the memory it takes, in bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.senders.capacity() * size_of::<Heard>()
    }
}

impl Heard {
    fn expected(&self) -> Number {
        Number {
            run: self.run,
            index: self.index,
        }
    }
}

/// How many senders a topic may have.
const MAX_SENDERS: usize = 1024;

/// How long one is remembered that is in no list of nodes: it may be cut off, and come back.
const KEPT_SECONDS: u32 = 300;

#[cfg(test)]
mod tests;
