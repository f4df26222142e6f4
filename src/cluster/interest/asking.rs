//! What an engine is to be told of topics.

use std::{
    collections::{HashSet, VecDeque},
    time::Instant,
};

use super::{CHUNK, Interest, known::Subscription};
use crate::cluster::{backplane::Command, topic::Topic};

impl<G> Interest<G> {
    /// Has a topic that was taken up asked for again, behind others of the kind.
    pub(super) fn ask(&mut self, topic: Topic) {
        self.ask.push_back(topic);
        if self.ask.len() > 2 * self.topics.len() as usize + CHUNK {
            let topics = &self.topics;
            retain_once(
                &mut self.ask,
                |topic| topic,
                |topic| topics.is_in(topic, Subscription::Idle),
            );
        }
    }

    /// Reports whether [`poll`](Self::poll) may have something, or get further on its way to it.
    pub(in crate::cluster) fn has_command(&self) -> bool {
        let may_ask = self.chunks.has_room() && self.topics.parts().connected;
        let asks = !self.ask.is_empty() || self.topics.next().is_some();
        may_ask && asks || !self.give_up.is_empty()
    }

    /// Returns what is to be done next.
    pub(in crate::cluster) fn poll(&mut self, now: Instant) -> Option<Command> {
        if !self.topics.parts().connected {
            return None;
        }
        if self.chunks.has_room()
            && let Some(topics) = self.next_chunk(now)
        {
            return Some(Command::Subscribe(topics));
        }
        let mut topics = Vec::new();
        for _ in 0..STRETCH {
            if topics.len() == CHUNK {
                break;
            }
            let Some(topic) = self.give_up.pop_front() else {
                break;
            };
            if self.stop_given_up(&topic) {
                topics.push(topic);
            }
        }
        (!topics.is_empty()).then_some(Command::Unsubscribe(topics))
    }

    fn next_chunk(&mut self, now: Instant) -> Option<Vec<Topic>> {
        let chunk = self.chunks.next();
        let mut topics = Vec::new();
        for _ in 0..STRETCH {
            if topics.len() == CHUNK {
                break;
            }
            let Some(topic) = self.next_to_ask(topics.len()) else {
                break;
            };
            let Some(entry) = self.topics.take_up(&topic) else {
                // It is gone.
                self.forget(&topic);
                continue;
            };
            if entry.is_asked(chunk) {
                topics.push(topic);
            }
        }
        if topics.is_empty() {
            return None;
        }
        self.chunks.push(topics.len(), now);
        Some(topics)
    }

    /// Returns what is next: so that all come to their turn, half of a chunk are such as wait again, if
    /// there are others.
    fn next_to_ask(&mut self, asked: usize) -> Option<Topic> {
        let next = self.topics.next().cloned();
        let others = next.is_some() && asked >= CHUNK / 2;
        let again = if others { None } else { self.ask.pop_front() };
        again.or(next)
    }

    /// Forgets a topic that is still given up; reports whether it is.
    fn stop_given_up(&mut self, topic: &Topic) -> bool {
        if !self.topics.is_in(topic, Subscription::GivenUp) {
            return false;
        }
        self.subscribed = self.subscribed.saturating_sub(1);
        self.forget(topic);
        true
    }
}

/// Keeps one of each topic, of those that are `wanted`.
pub(super) fn retain_once<T>(
    queue: &mut VecDeque<T>,
    topic: impl Fn(&T) -> &Topic,
    wanted: impl Fn(&Topic) -> bool,
) {
    let mut kept = HashSet::new();
    queue.retain(|item| {
        let topic = topic(item);
        wanted(topic) && kept.insert(topic.clone())
    });
}

/// How many topics are looked at in a row, at most: others wait for the lock meanwhile.
pub(in crate::cluster) const STRETCH: usize = 2 * CHUNK;
