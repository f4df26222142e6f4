//! The other nodes that are alive.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    mem,
    time::{Duration, Instant},
};

use super::{
    alive::Alive,
    asked::MOST_ASKED,
    budget::Budget,
    events::{CoreEvent, Node},
    node_id::NodeId,
    number::Number,
};

/// The other nodes, as of their heartbeats.
///
/// One that is not heard for three of its own intervals has left. Those that have left are
/// remembered for a minute, so that no heartbeat which was under way brings them back.
#[derive(Debug)]
pub(super) struct Nodes {
    known: HashMap<NodeId, KnownNode>,
    limit: usize,
    /// How many of them are alive, and the sum of what those carry.
    alive: usize,
    connections: u64,
    /// No deadline is earlier.
    due: Option<Instant>,
}

#[derive(Debug)]
struct KnownNode {
    alive: Alive,
    number: Number,
    /// When it was heard last.
    heard: Instant,
    has_left: bool,
    /// What it has asked.
    asks: Budget,
    /// When it has left, or is forgotten.
    deadline: Instant,
}

impl Nodes {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            known: HashMap::new(),
            limit,
            alive: 0,
            connections: 0,
            due: None,
        }
    }

    /// Takes a heartbeat.
    pub(super) fn alive(
        &mut self,
        id: NodeId,
        number: Number,
        alive: Alive,
        now: Instant,
    ) -> Option<CoreEvent> {
        let deadline = now + alive.interval * INTERVALS;
        let connections = u64::from(alive.load.connections);
        if !self.known.contains_key(&id) && !self.make_room() {
            return None;
        }
        let is_new = match self.known.entry(id) {
            Entry::Occupied(known) if number <= known.get().number => return None,
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if !known.has_left {
                    self.connections -= u64::from(known.alive.load.connections);
                }
                known.number = number;
                known.alive = alive;
                known.heard = now;
                known.deadline = deadline;
                mem::take(&mut known.has_left)
            }
            Entry::Vacant(place) => {
                place.insert(KnownNode {
                    alive,
                    number,
                    heard: now,
                    has_left: false,
                    asks: Budget::default(),
                    deadline,
                });
                true
            }
        };
        self.alive += usize::from(is_new);
        self.connections += connections;
        self.due = self.due.min(Some(deadline)).or(Some(deadline));
        is_new.then_some(CoreEvent::NodeJoined(id))
    }

    /// Takes the last word of a node.
    pub(super) fn leaving(
        &mut self,
        id: NodeId,
        number: Number,
        now: Instant,
    ) -> Option<CoreEvent> {
        let known = self.known.get_mut(&id)?;
        if number <= known.number {
            return None;
        }
        known.number = number;
        if known.has_left {
            return None;
        }
        known.leave(now);
        self.alive -= 1;
        self.connections -= u64::from(known.alive.load.connections);
        self.due = self.due.min(Some(known.deadline)).or(Some(known.deadline));
        Some(CoreEvent::NodeLeft(id))
    }

    /// Keeps the deadlines, and returns the nodes that have left.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<NodeId> {
        let mut left = Vec::new();
        if self.due.is_none_or(|due| now < due) {
            return left;
        }
        self.known
            .retain(|_, known| !known.has_left || now < known.deadline);
        for (id, known) in &mut self.known {
            if known.deadline <= now {
                known.leave(now);
                self.alive -= 1;
                self.connections -= u64::from(known.alive.load.connections);
                left.push(*id);
            }
        }
        self.due = self.known.values().map(|known| known.deadline).min();
        left
    }

    /// Returns when a deadline may be due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Reports whether a node is alive, as far as is known.
    pub(super) fn is_alive(&self, id: NodeId) -> bool {
        self.known.get(&id).is_some_and(|known| !known.has_left)
    }

    /// Takes a question of a node; reports whether it asks no more often than it may.
    pub(super) fn may_ask(&mut self, id: NodeId, now: Instant) -> bool {
        let known = self.known.get_mut(&id);
        known.is_some_and(|known| known.asks.take(MOST_ASKED, now))
    }

    /// Returns which are alive.
    pub(super) fn ids(&self) -> HashSet<NodeId> {
        let alive = self.known.iter().filter(|(_, known)| !known.has_left);
        alive.map(|(&id, _)| id).collect()
    }

    /// Reports whether all that are alive were heard since then.
    pub(super) fn all_heard_since(&self, since: Instant) -> bool {
        let mut alive = self.known.values().filter(|known| !known.has_left);
        alive.all(|known| known.heard >= since)
    }

    /// Returns how many are alive.
    pub(super) fn len(&self) -> usize {
        self.alive
    }

    /// Returns how many connections they have.
    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    /// Iterates over those that are alive.
    pub(super) fn iter(&self) -> impl Iterator<Item = Node> {
        let alive = self.known.iter().filter(|(_, known)| !known.has_left);
        alive.map(|(&id, known)| {
            let alive = &known.alive;
            let started = known.heard.checked_sub(alive.age);
            Node::new(id, alive.name.clone(), alive.load, started, known.heard)
        })
    }

    /// Makes room for one more: reports whether there is some.
    fn make_room(&mut self) -> bool {
        if self.known.len() < self.limit {
            return true;
        }
        if self.alive == self.known.len() {
            return false;
        }
        let gone = self.known.iter().find(|(_, known)| known.has_left);
        let gone = gone.map(|(&id, _)| id);
        gone.is_some_and(|id| self.known.remove(&id).is_some())
    }
}

impl KnownNode {
    fn leave(&mut self, now: Instant) {
        self.has_left = true;
        self.deadline = now + REMEMBERED;
    }
}

/// Returns how often a node says that it is alive, among so many.
pub(super) fn interval(least: Duration, nodes: usize) -> Duration {
    let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
    least.max(PER_NODE.saturating_mul(nodes))
}

/// Of how many intervals a node may miss the heartbeats.
pub(super) const INTERVALS: u32 = 3;

/// Together the nodes say no more often than that that they are alive.
const PER_NODE: Duration = Duration::from_millis(50);

/// How long a node is remembered that has left.
const REMEMBERED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
