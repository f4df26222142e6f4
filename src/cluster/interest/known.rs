//! All topics that are known, and which of them a connection was asked for.

use std::{borrow::Borrow, hash::Hash, mem, num::NonZeroU32};

use super::row::Row;
use crate::cluster::{incoming::Target, seen::Seen, topic::Topic, topic_map::TopicMap};

/// All topics that are known, each with its entry; and in a row, in the order in which a connection is
/// asked for them.
///
/// The row has three [parts](Parts). What an entry says of its subscription counts in the first of them
/// only, so a new connection changes no entry: it begins with an empty first part.
#[derive(Debug)]
pub(super) struct Known<G> {
    topics: TopicMap<Box<TopicEntry<G>>>,
    row: Row,
    parts: Parts,
    /// How many entries were looked at so far.
    #[cfg(test)]
    pub(super) looks: std::cell::Cell<usize>,
}

/// What is known of a topic.
#[derive(Debug)]
pub(in crate::cluster) struct TopicEntry<G> {
    /// The group with members here. What else wants it is beside it, since both in one take 8 bytes more.
    group: Option<G>,
    pub(in crate::cluster) seen: Seen,
    /// The mark under which it lingers.
    pub(super) lingers: Option<NonZeroU32>,
    /// Where it is in the row.
    place: u32,
    /// The chunk in which it was asked for last.
    pub(super) chunk: u32,
    own: Option<Own>,
    state: Subscription,
    /// It was wanted when the connection came, and has no answer yet.
    unsettled: bool,
    /// The caller wants to be told once it is subscribed.
    pub(super) awaited: bool,
}

/// What a node itself wants a topic for.
#[derive(Clone, Copy, Debug)]
enum Own {
    All,
    Node,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Subscription {
    /// Waits to be asked for.
    Idle,
    /// Asked for, in a chunk.
    Asked,
    Subscribed,
    /// Waits to be given up.
    GivenUp,
    Denied,
}

/// The parts of the row: topics that were asked for, or answered, since the connection came; those that
/// wait to be since then; and those that were added later.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    /// There is a connection.
    pub(super) connected: bool,
    /// Where the first part ends.
    asked: u32,
    /// Where the second part ends.
    waiting: u32,
}

impl<G> Default for Known<G> {
    fn default() -> Self {
        Self {
            topics: TopicMap::default(),
            row: Row::default(),
            parts: Parts::default(),
            #[cfg(test)]
            looks: <_>::default(),
        }
    }
}

impl<G> Known<G> {
    /// Returns the parts of the row, of which the state of an entry depends.
    pub(super) fn parts(&self) -> Parts {
        self.parts
    }

    /// Begins on a new connection, to which all are unknown.
    pub(super) fn connected(&mut self) {
        self.parts = Parts {
            connected: true,
            asked: 0,
            waiting: self.len(),
        };
    }

    /// Notes that the connection is gone.
    pub(super) fn lost(&mut self) {
        self.parts.connected = false;
    }

    /// Returns the entry of a topic, unless it is [gone](TopicEntry::is_gone).
    pub(super) fn get<Q>(&self, topic: &Q) -> Option<&TopicEntry<G>>
    where
        Topic: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.look(1);
        let entry = self.topics.get(topic).map(Box::as_ref);
        entry.filter(|entry| !entry.is_gone(self.parts))
    }

    /// As [`get`](Self::get), to change it.
    pub(super) fn get_mut<Q>(&mut self, topic: &Q) -> Option<&mut TopicEntry<G>>
    where
        Topic: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.look(1);
        let entry = self.topics.get_mut(topic).map(Box::as_mut);
        entry.filter(|entry| !entry.is_gone(self.parts))
    }

    /// Returns a topic that is known by its spelling.
    pub(super) fn topic<Q>(&self, topic: &Q) -> Option<&Topic>
    where
        Topic: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.look(1);
        self.topics.get_key_value(topic).map(|(topic, _)| topic)
    }

    /// Reports whether a topic is in this state.
    pub(super) fn is_in(&self, topic: &Topic, state: Subscription) -> bool {
        let entry = self.get(topic);
        entry.is_some_and(|entry| entry.state(self.parts) == state)
    }

    /// Adds a topic that is wanted, at the end of the row.
    pub(super) fn insert(&mut self, topic: &Topic, target: Target<G>) {
        // It may be gone, and not forgotten yet.
        self.remove(topic);
        self.look(1);
        let mut entry = TopicEntry {
            group: None,
            own: None,
            seen: Seen::default(),
            lingers: None,
            place: self.len(),
            chunk: 0,
            state: Subscription::Idle,
            unsettled: false,
            awaited: false,
        };
        entry.set_target(Some(target));
        self.row.push(topic.clone());
        self.topics.insert(topic.clone(), Box::new(entry));
    }

    /// Removes a topic, and reports whether it was unsettled. In each part behind it the last one moves up.
    pub(super) fn remove(&mut self, topic: &Topic) -> bool {
        self.look(1);
        let Some(entry) = self.topics.remove(topic) else {
            return false;
        };
        let was_unsettled = entry.is_unsettled(self.parts);
        let mut hole = entry.place;
        if hole < self.parts.asked {
            self.parts.asked -= 1;
            hole = self.swap(hole, self.parts.asked);
        }
        if hole < self.parts.waiting {
            self.parts.waiting -= 1;
            hole = self.swap(hole, self.parts.waiting);
        }
        self.swap(hole, self.len() - 1);
        self.row.pop();
        was_unsettled
    }

    /// Has the entry of a topic say itself what it is: moves it to the end of the first part.
    pub(super) fn take_up(&mut self, topic: &Topic) -> Option<&mut TopicEntry<G>> {
        let parts = self.parts;
        let entry = self.get_mut(topic)?;
        if !entry.is_taken_up(parts) {
            entry.unsettled = entry.is_unsettled(parts);
            entry.state = Subscription::Idle;
            let mut place = entry.place;
            if place >= parts.waiting {
                self.parts.waiting += 1;
                place = self.swap(place, parts.waiting);
            }
            self.parts.asked += 1;
            self.swap(place, parts.asked);
        }
        self.get_mut(topic)
    }

    /// Lets two change places, and returns the second place.
    fn swap(&mut self, one: u32, other: u32) -> u32 {
        if one != other {
            self.row.swap(one as usize, other as usize);
            for place in [one, other] {
                self.look(1);
                let topic = self.row.get(place as usize);
                if let Some(entry) = topic.and_then(|topic| self.topics.get_mut(topic)) {
                    entry.place = place;
                }
            }
        }
        other
    }

    /// Returns the topic that is to be asked for next, be it gone.
    pub(super) fn next(&self) -> Option<&Topic> {
        self.row.get(self.parts.asked as usize)
    }

    /// Returns some topics, be they gone: the last of those in front of a place of the row, and the place of
    /// the first.
    pub(super) fn before(&self, end: usize) -> (&[Topic], usize) {
        self.row.before(end)
    }

    /// Returns how many topics there are, gone ones among them.
    pub(super) fn len(&self) -> u32 {
        // Far fewer than 2^32 fit into memory.
        self.row.len() as u32
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.topics.capacity()
    }

    /// Returns the memory that the row takes, in bytes.
    #[cfg(test)]
    pub(super) fn row_memory(&self) -> usize {
        self.row.memory()
    }

    /// Checks that the row and the table say the same.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let parts = self.parts;
        assert!(parts.asked <= parts.waiting && parts.waiting <= self.len());
        assert_eq!(self.row.len(), self.topics.len());
        for (topic, entry) in &self.topics {
            assert_eq!(self.row.get(entry.place as usize), Some(topic));
        }
    }

    #[cfg(test)]
    fn look(&self, entries: usize) {
        self.looks.set(self.looks.get() + entries);
    }

    #[cfg(not(test))]
    fn look(&self, _: usize) {}
}

impl<G> TopicEntry<G> {
    /// Reports whether it is wanted: not without members.
    pub(in crate::cluster) fn is_wanted(&self) -> bool {
        self.group.is_some() || self.own.is_some()
    }

    /// Returns for whom its envelopes are.
    pub(in crate::cluster) fn target(&self) -> Option<Target<&G>> {
        match (self.own, &self.group) {
            (Some(Own::All), _) => Some(Target::All),
            (Some(Own::Node), _) => Some(Target::Node),
            (None, group) => group.as_ref().map(Target::Group),
        }
    }

    /// Notes for whom they are.
    pub(super) fn set_target(&mut self, target: Option<Target<G>>) {
        (self.group, self.own) = match target {
            Some(Target::Group(group)) => (Some(group), None),
            Some(Target::All) => (None, Some(Own::All)),
            Some(Target::Node) => (None, Some(Own::Node)),
            None => (None, None),
        };
    }

    /// Reports whether it is in the first part of the row.
    fn is_taken_up(&self, parts: Parts) -> bool {
        self.place < parts.asked
    }

    /// Returns what its subscription is on this connection, or was on the last one.
    pub(super) fn state(&self, parts: Parts) -> Subscription {
        match self.is_taken_up(parts) {
            true => self.state,
            false => Subscription::Idle,
        }
    }

    /// As [`state`](Self::state), of one that was [taken up](Known::take_up).
    pub(super) fn own_state(&self) -> Subscription {
        self.state
    }

    /// Notes what its subscription is, of one that was [taken up](Known::take_up).
    pub(super) fn set_state(&mut self, state: Subscription) {
        self.state = state;
    }

    /// Notes that one that was taken up is asked for, in a chunk; reports whether it waited for that.
    pub(super) fn is_asked(&mut self, chunk: u32) -> bool {
        let is_idle = self.state == Subscription::Idle;
        if is_idle {
            self.state = Subscription::Asked;
            self.chunk = chunk;
        }
        is_idle
    }

    /// Reports whether it was wanted when the connection came, and has no answer yet.
    fn is_unsettled(&self, parts: Parts) -> bool {
        if self.is_taken_up(parts) {
            return self.unsettled;
        }
        self.place < parts.waiting && self.is_wanted()
    }

    /// As `is_unsettled`, of one that was taken up; from now on it is settled.
    pub(super) fn settle(&mut self) -> bool {
        mem::take(&mut self.unsettled)
    }

    /// Reports whether it is as good as forgotten: it had no members when its subscription ended with the
    /// connection.
    fn is_gone(&self, parts: Parts) -> bool {
        let has_ended =
            !self.is_taken_up(parts) || !parts.connected && self.state == Subscription::GivenUp;
        !self.is_wanted() && has_ended
    }
}
