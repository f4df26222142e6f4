//! What this node asks others: how many members a group has there.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    time::{Duration, Instant},
};

use super::{
    budget::Budget, node_id::NodeId, question::QuestionId, topic::Topic, topic_map::TopicMap,
};

/// What other nodes have said of the members of a group.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    /// How many members they have.
    pub(crate) members: u64,
    /// How many nodes have answered.
    pub(crate) nodes: u64,
    /// How many were asked, or would have been, and have not answered.
    pub(crate) missing: u64,
}

impl Tally {
    /// Nobody has answered.
    pub(super) fn unheard(missing: usize) -> Self {
        Self {
            missing: missing as u64,
            ..Self::default()
        }
    }
}

/// Where the answers are to a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asking {
    /// Here.
    Known(Tally),
    /// They come until then, and [`CoreEvent::Counted`](super::events::CoreEvent::Counted) tells.
    Waits(QuestionId, Instant),
}

/// What came of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// Others are waited for.
    Counted,
    /// It was the last one.
    Last(Tally),
    /// Who answers has answered before, or was not asked.
    Double,
    /// Nobody has asked, or waits any more.
    Unasked,
}

/// The questions of this node: those that run, one for each topic, and the answers to those that ran a moment ago.
///
/// A question waits for the nodes that were there when it left, and for a second at most. There are no more of them
/// than may be [asked](Self::may_ask) in two seconds.
#[derive(Debug, Default)]
pub(super) struct Counts {
    topics: TopicMap<CountEntry>,
    /// The topics of those that run.
    running: HashMap<QuestionId, Topic>,
    /// When each is over, or forgotten, the earliest first; some are gone before.
    ends: VecDeque<(Instant, Topic)>,
    budget: Budget,
}

#[derive(Debug)]
struct CountEntry {
    id: QuestionId,
    /// When it is over if it runs, and forgotten if it does not.
    until: Instant,
    tally: Tally,
    state: CountState,
}

#[derive(Debug)]
enum CountState {
    /// It has not left yet.
    Unsent(HashSet<NodeId>),
    /// Who has not answered.
    Sent(HashSet<NodeId>),
    Kept,
}

impl Counts {
    /// Returns where the answers are to the question about a topic, if it was asked.
    pub(super) fn find(&self, topic: &Topic, now: Instant) -> Option<Asking> {
        let entry = self.topics.get(topic)?;
        let is_kept = matches!(entry.state, CountState::Kept);
        let asking = match is_kept {
            true => Asking::Known(entry.tally),
            false => Asking::Waits(entry.id, entry.until),
        };
        Some(asking).filter(|_| now < entry.until)
    }

    /// Reports whether another question may be asked in this second.
    pub(super) fn may_ask(&mut self, now: Instant) -> bool {
        self.budget.take(PER_SECOND, now)
    }

    /// Begins a question to these nodes, about a topic of which nothing is known.
    pub(super) fn begin(
        &mut self,
        topic: &Topic,
        id: QuestionId,
        nodes: HashSet<NodeId>,
        now: Instant,
    ) -> Asking {
        let until = now + WAITS;
        let entry = CountEntry {
            id,
            until,
            tally: Tally::default(),
            state: CountState::Unsent(nodes),
        };
        self.topics.insert(topic.clone(), entry);
        self.running.insert(id, topic.clone());
        self.ends.push_back((until, topic.clone()));
        Asking::Waits(id, until)
    }

    /// Returns what is to be sent still.
    pub(super) fn unsent(&self) -> Vec<(Topic, QuestionId)> {
        let unsent = self.topics.iter();
        let unsent = unsent.filter(|(_, entry)| matches!(entry.state, CountState::Unsent(_)));
        unsent
            .map(|(topic, entry)| (topic.clone(), entry.id))
            .collect()
    }

    /// Has a question that has not left yet go to these nodes, and no others.
    pub(super) fn expect(&mut self, topic: &Topic, nodes: HashSet<NodeId>) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.state = CountState::Unsent(nodes);
        }
    }

    /// Notes that a question leaves.
    pub(super) fn sent(&mut self, topic: &Topic) {
        if let Some(entry) = self.topics.get_mut(topic)
            && let CountState::Unsent(nodes) = &mut entry.state
        {
            entry.state = CountState::Sent(mem::take(nodes));
        }
    }

    /// Takes the answer of a node.
    pub(super) fn answer(
        &mut self,
        id: QuestionId,
        node: NodeId,
        members: u32,
        now: Instant,
    ) -> Heard {
        let Some(entry) = self.entry(id) else {
            return Heard::Unasked;
        };
        let CountState::Sent(waiting) = &mut entry.state else {
            return Heard::Unasked;
        };
        if !waiting.remove(&node) {
            return Heard::Double;
        }
        entry.tally.nodes += 1;
        entry.tally.members += u64::from(members);
        if !waiting.is_empty() {
            return Heard::Counted;
        }
        self.end(id, now).map_or(Heard::Unasked, Heard::Last)
    }

    /// Waits no more for a node that has left. Returns the questions that waited for nobody else.
    pub(super) fn left(&mut self, node: NodeId, now: Instant) -> Vec<(QuestionId, Tally)> {
        let mut over = Vec::new();
        for entry in self.topics.values_mut() {
            match &mut entry.state {
                CountState::Unsent(nodes) => {
                    nodes.remove(&node);
                }
                CountState::Sent(nodes) => {
                    if nodes.remove(&node) && nodes.is_empty() {
                        over.push(entry.id);
                    }
                }
                CountState::Kept => {}
            }
        }
        let over = over.into_iter();
        over.filter_map(|id| Some((id, self.end(id, now)?)))
            .collect()
    }

    /// Ends a question that runs, and keeps the answers for a second.
    pub(super) fn end(&mut self, id: QuestionId, now: Instant) -> Option<Tally> {
        let topic = self.running.remove(&id)?;
        let entry = self.topics.get_mut(&topic)?;
        let until = now + KEPT;
        let tally = entry.end();
        entry.until = until;
        self.ends.push_back((until, topic));
        Some(tally)
    }

    /// Ends all that run: no answer comes any more. None are kept.
    pub(super) fn end_all(&mut self) -> Vec<(QuestionId, Tally)> {
        let running = self.running.drain().collect::<Vec<_>>();
        let ended = running.into_iter().filter_map(|(id, topic)| {
            let mut entry = self.topics.remove(&topic)?;
            Some((id, entry.end()))
        });
        ended.collect()
    }

    /// Forgets a question, if it runs: nobody waits for the answers.
    pub(super) fn forget(&mut self, id: QuestionId) {
        if let Some(topic) = self.running.remove(&id) {
            self.topics.remove(&topic);
        }
    }

    /// Ends what has run for a second, which is returned, and forgets what was kept for one.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<(QuestionId, Tally)> {
        let mut over = Vec::new();
        while self.ends.front().is_some_and(|(end, _)| *end <= now)
            && let Some((_, topic)) = self.ends.pop_front()
        {
            // It may have been asked anew meanwhile.
            let entry = self.topics.get(&topic);
            let Some(entry) = entry.filter(|entry| entry.until <= now) else {
                continue;
            };
            let (id, until) = (entry.id, entry.until);
            match self.end(id, until) {
                Some(tally) => over.push((id, tally)),
                None => drop(self.topics.remove(&topic)),
            }
        }
        over
    }

    fn entry(&mut self, id: QuestionId) -> Option<&mut CountEntry> {
        self.topics.get_mut(self.running.get(&id)?)
    }
}

impl CountEntry {
    /// Counts those as missing who have not answered.
    fn end(&mut self) -> Tally {
        if let CountState::Unsent(nodes) | CountState::Sent(nodes) = &self.state {
            self.tally.missing = nodes.len() as u64;
        }
        self.state = CountState::Kept;
        self.tally
    }
}

/// How long the answers to a question are waited for.
const WAITS: Duration = Duration::from_secs(1);

/// How long they are kept.
const KEPT: Duration = Duration::from_secs(1);

/// How many questions are asked in a second.
pub(super) const PER_SECOND: u32 = 1024;

#[cfg(test)]
mod tests;
