//! What waits for delivery here.

use std::{collections::VecDeque, mem};

use super::{envelope::Carried, node_id::NodeId, topic::Topic, topic_map::TopicMap, waste::Waste};

/// Something of another node that is to be delivered here.
#[derive(Clone, Debug)]
pub(crate) struct Inbound<G> {
    /// Where it was published.
    pub(crate) topic: Topic,
    /// For whom it is.
    pub(crate) target: Target<G>,
    /// The node that sent it; `None` if it came from outside the cluster.
    pub(crate) from: Option<NodeId>,
    /// How many envelopes of the same sender and topic are missing before it.
    pub(crate) missed: u64,
    /// What it is; `None` if it is not obeyed, and only what is missing is to be told.
    pub(crate) carried: Option<Carried>,
}

/// For whom the envelopes of a topic are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Target<G> {
    /// A group.
    Group(G),
    /// Every node.
    All,
    /// This node.
    Node,
}

impl<G: Clone> Target<&G> {
    pub(super) fn cloned(self) -> Target<G> {
        match self {
            Self::Group(group) => Target::Group(group.clone()),
            Self::All => Target::All,
            Self::Node => Target::Node,
        }
    }
}

/// The queues of all topics, for which there is one bound.
///
/// A topic is busy from when something of it is taken until that was delivered, and meanwhile gives
/// nothing more, so that its order holds. Topics take turns.
#[derive(Debug)]
pub(super) struct DeliveryQueues<G> {
    /// Of topics with something queued, or busy.
    queues: TopicMap<TopicQueue<G>>,
    /// Topics whose turn it is; some may have nothing any more.
    ready: VecDeque<Topic>,
    /// What is queued or being delivered.
    bytes: usize,
    limit: usize,
}

#[derive(Debug)]
struct TopicQueue<G> {
    /// Most topics have one thing at a time, for which nothing is allocated.
    next: Option<(usize, Inbound<G>)>,
    /// What is behind it.
    later: VecDeque<(usize, Inbound<G>)>,
    /// The bytes of what is being delivered.
    busy: Option<usize>,
}

impl<G> TopicQueue<G> {
    fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    fn len(&self) -> usize {
        usize::from(self.next.is_some()) + self.later.len()
    }

    fn push(&mut self, delivery: (usize, Inbound<G>)) {
        if self.next.is_none() {
            self.next = Some(delivery);
        } else {
            self.later.push_back(delivery);
        }
    }

    fn pop(&mut self) -> Option<(usize, Inbound<G>)> {
        let next = self.later.pop_front();
        mem::replace(&mut self.next, next)
    }
}

impl<G> DeliveryQueues<G> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            queues: TopicMap::default(),
            ready: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    /// Reports whether an envelope of so many bytes fits.
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.bytes + cost(len) <= self.limit
    }

    /// Adds what came in an envelope of `len` bytes, for which there is room.
    pub(super) fn push(&mut self, len: usize, delivery: Inbound<G>) {
        let topic = &delivery.topic;
        let cost = cost(len);
        self.bytes += cost;
        if let Some(queue) = self.queues.get_mut(topic) {
            if queue.is_empty() && queue.busy.is_none() {
                self.ready.push_back(topic.clone());
            }
            queue.push((cost, delivery));
            return;
        }
        let topic = topic.clone();
        self.ready.push_back(topic.clone());
        let queue = TopicQueue {
            next: Some((cost, delivery)),
            later: VecDeque::new(),
            busy: None,
        };
        self.queues.insert(topic, queue);
    }

    /// Reports whether [`poll`](Self::poll) may have something.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes something of the topic whose turn it is, which is busy until that is delivered.
    pub(super) fn poll(&mut self) -> Option<Inbound<G>> {
        while let Some(topic) = self.ready.pop_front() {
            let Some(queue) = self.queues.get_mut(&topic) else {
                continue;
            };
            if queue.busy.is_some() {
                continue;
            }
            if let Some((cost, delivery)) = queue.pop() {
                queue.busy = Some(cost);
                return Some(delivery);
            }
        }
        None
    }

    /// Notes that what was taken of a topic is delivered: it may have its turn again.
    pub(super) fn delivered(&mut self, topic: &Topic) {
        let Some(queue) = self.queues.get_mut(topic) else {
            return;
        };
        self.bytes -= queue.busy.take().unwrap_or_default();
        if queue.is_empty() {
            self.queues.remove(topic);
        } else {
            self.ready.push_back(topic.clone());
        }
    }

    /// As [`delivered`](Self::delivered), and takes what is next of the same topic, unless
    /// something is missing before it.
    pub(super) fn next_of(&mut self, topic: &Topic) -> Option<Inbound<G>> {
        let queue = self.queues.get_mut(topic)?;
        let is_next = queue
            .next
            .as_ref()
            .is_some_and(|(_, next)| next.missed == 0);
        let next = is_next.then(|| queue.pop()).flatten();
        let Some((cost, delivery)) = next else {
            self.delivered(topic);
            return None;
        };
        self.bytes -= queue.busy.replace(cost).unwrap_or_default();
        Some(delivery)
    }

    /// Drops what is queued for a topic, and returns how much it was.
    pub(super) fn purge(&mut self, topic: &Topic, waste: &mut Waste) -> usize {
        let Some(queue) = self.queues.get_mut(topic) else {
            return 0;
        };
        let purged = queue.len();
        for (cost, delivery) in queue.next.take().into_iter().chain(queue.later.drain(..)) {
            self.bytes -= cost;
            waste.carried.extend(delivery.carried);
        }
        if queue.busy.is_none() {
            self.queues.remove(topic);
        }
        purged
    }

    /// Returns the bytes that wait or are being delivered.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Returns what an envelope of so many bytes counts for: an empty one is not free.
fn cost(len: usize) -> usize {
    len + OVERHEAD
}

/// What a place in a queue takes, about, in bytes.
const OVERHEAD: usize = 128;

#[cfg(test)]
mod tests;
