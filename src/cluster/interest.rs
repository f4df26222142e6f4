//! Which topics are wanted, and which are subscribed.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use self::known::{Known, Subscription, TopicEntry};
use super::{chunks::Chunks, incoming::Target, spelling::Spelled, topic::Topic};

/// The topics of groups with a member here, and those that had one a moment ago.
///
/// The next [command](Self::poll) is the difference between what is wanted and what is subscribed.
/// What a topic's senders sent last lives and ends with the topic.
///
/// There may be any number of topics, so nothing goes through all of them at once: the lock is held
/// meanwhile.
#[derive(Debug)]
pub(super) struct Interest<G> {
    topics: Known<G>,
    /// The node's own.
    own: Vec<Topic>,
    /// To be subscribed before its turn, or again, where the entry says so still.
    ask: VecDeque<Topic>,
    /// To be unsubscribed, where the entry says so still.
    give_up: VecDeque<Topic>,
    chunks: Chunks,
    /// Topics without members, each with its mark, the oldest first.
    lingering: VecDeque<(NonZeroU32, Instant, Topic)>,
    last_mark: NonZeroU32,
    /// Topics to be asked for again, the oldest first.
    denied: VecDeque<(Instant, Topic)>,
    /// How many topics were wanted when the connection came, and have no answer yet.
    unsettled: usize,
    wanted: usize,
    lingers: usize,
    subscribed: usize,
    linger: Duration,
    max_lingering: usize,
    retry_denied: Duration,
}

impl<G> Interest<G> {
    pub(super) fn new(linger: Duration, max_lingering: usize, retry_denied: Duration) -> Self {
        Self {
            topics: Known::default(),
            own: Vec::new(),
            ask: VecDeque::new(),
            give_up: VecDeque::new(),
            chunks: Chunks::default(),
            lingering: VecDeque::new(),
            last_mark: NonZeroU32::MIN,
            denied: VecDeque::new(),
            unsettled: 0,
            wanted: 0,
            lingers: 0,
            subscribed: 0,
            linger,
            max_lingering,
            retry_denied,
        }
    }

    /// Notes that a topic is wanted, for `target`.
    pub(super) fn add(&mut self, topic: &Topic, target: Target<G>) {
        let parts = self.topics.parts();
        let Some(entry) = self.topics.get_mut(topic) else {
            if !matches!(target, Target::Group(_)) {
                self.own.push(topic.clone());
            }
            self.topics.insert(topic, target);
            self.wanted += 1;
            return;
        };
        self.wanted += usize::from(!entry.is_wanted());
        entry.set_target(Some(target));
        self.lingers -= usize::from(entry.lingers.take().is_some());
        if entry.state(parts) == Subscription::GivenUp {
            // The engine was not told yet.
            entry.set_state(Subscription::Subscribed);
        }
    }

    /// Notes that the last member is gone: the topic lingers.
    pub(super) fn remove(&mut self, topic: &Topic, now: Instant) {
        let parts = self.topics.parts();
        let entry = self.topics.get_mut(topic);
        let Some(entry) = entry.filter(|entry| entry.is_wanted()) else {
            return;
        };
        self.wanted -= 1;
        if matches!(
            entry.state(parts),
            Subscription::Idle | Subscription::Denied
        ) {
            // Nothing comes, so there is nothing to linger for.
            self.forget(topic);
            return;
        }
        entry.set_target(None);
        entry.awaited = false;
        let mark = self.last_mark.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.last_mark = mark;
        entry.lingers = Some(mark);
        self.lingers += 1;
        self.lingering.push_back((mark, now, topic.clone()));
        while self.lingers > self.max_lingering {
            self.stop_oldest();
        }
        self.compact_lingering();
    }

    /// Gives the topic up that has had no members for the longest time.
    fn stop_oldest(&mut self) {
        let Some((mark, _, topic)) = self.lingering.pop_front() else {
            return;
        };
        let entry = self.topics.get_mut(&topic);
        if let Some(entry) = entry.filter(|entry| entry.lingers == Some(mark)) {
            entry.lingers = None;
            self.lingers -= 1;
            self.stop(&topic);
        }
    }

    /// Gives up a topic without members.
    fn stop(&mut self, topic: &Topic) {
        let parts = self.topics.parts();
        let Some(entry) = self.topics.get_mut(topic) else {
            return;
        };
        match entry.state(parts) {
            // Once the answer is here: else it could be taken for that of a later question.
            Subscription::Asked if parts.connected => {}
            Subscription::Subscribed if parts.connected => {
                entry.set_state(Subscription::GivenUp);
                self.give_up.push_back(topic.clone());
            }
            _ => self.forget(topic),
        }
    }

    fn forget(&mut self, topic: &Topic) {
        self.unsettled -= usize::from(self.topics.remove(topic));
    }

    /// Drops what no longer lingers, once that is half of what is kept.
    fn compact_lingering(&mut self) {
        if self.lingering.len() > 2 * self.lingers + CHUNK {
            let topics = &self.topics;
            self.lingering.retain(|(mark, _, topic)| {
                let entry = topics.get(topic);
                entry.is_some_and(|entry| entry.lingers == Some(*mark))
            });
        }
    }

    /// Keeps the deadlines, as many at a time as may be: there may be more that are due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for _ in 0..STRETCH {
            if self.linger_due().is_none_or(|due| due > now) {
                break;
            }
            self.stop_oldest();
        }
        for _ in 0..STRETCH {
            if self.denied_due().is_none_or(|due| due > now) {
                break;
            }
            let Some((_, topic)) = self.denied.pop_front() else {
                break;
            };
            let parts = self.topics.parts();
            let entry = self.topics.get_mut(&topic);
            if let Some(entry) = entry.filter(|entry| entry.state(parts) == Subscription::Denied) {
                entry.set_state(Subscription::Idle);
                self.ask(topic);
            }
        }
    }

    /// Returns the earliest deadline.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = [self.linger_due(), self.denied_due()];
        due.into_iter().flatten().min()
    }

    fn linger_due(&self) -> Option<Instant> {
        let (_, since, _) = self.lingering.front()?;
        since.checked_add(self.linger)
    }

    fn denied_due(&self) -> Option<Instant> {
        let (since, _) = self.denied.front()?;
        since.checked_add(self.retry_denied)
    }

    /// Reports whether a topic is subscribed; if not, [`subscribed`](Self::subscribed) will say so.
    pub(super) fn await_subscribed(&mut self, topic: &Topic) -> bool {
        let parts = self.topics.parts();
        let Some(entry) = self.topics.get_mut(topic) else {
            return false;
        };
        let is_subscribed = parts.connected && entry.state(parts) == Subscription::Subscribed;
        entry.awaited = !is_subscribed;
        is_subscribed
    }

    /// Reports whether a topic is subscribed.
    pub(super) fn is_subscribed(&self, topic: &Topic) -> bool {
        let parts = self.topics.parts();
        let entry = self.topics.get(topic).filter(|_| parts.connected);
        entry.is_some_and(|entry| {
            matches!(
                entry.state(parts),
                Subscription::Subscribed | Subscription::GivenUp
            )
        })
    }

    /// Reports whether a topic is wanted.
    pub(super) fn is_wanted(&self, topic: &Topic) -> bool {
        let entry = self.topics.get(topic);
        entry.is_some_and(TopicEntry::is_wanted)
    }

    /// Returns the entry of a topic.
    pub(super) fn get_mut(&mut self, topic: &dyn Spelled) -> Option<&mut TopicEntry<G>> {
        self.topics.get_mut(topic)
    }

    /// Returns a topic that is known by its spelling.
    pub(super) fn topic(&self, topic: &dyn Spelled) -> Option<&Topic> {
        self.topics.topic(topic)
    }

    /// Returns some of the topics that are wanted: those in front of `end`, of all in a row; and where to go on
    /// from there, until it is 0.
    ///
    /// One that is removed meanwhile may let another one be returned twice, and none be left out.
    pub(super) fn wanted_before(&self, end: usize) -> (Vec<Topic>, usize) {
        let (topics, end) = self.topics.before(end);
        let wanted = topics.iter().filter(|topic| self.is_wanted(topic));
        (wanted.cloned().collect(), end)
    }

    /// Reports whether all that was wanted when the connection came has its answer.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled == 0
    }

    /// Returns since when the engine has left a chunk unanswered.
    pub(super) fn unanswered_since(&self) -> Option<Instant> {
        self.chunks.oldest()
    }

    /// Returns how many topics are wanted.
    pub(super) fn wanted_len(&self) -> usize {
        self.wanted
    }

    /// Returns how many topics are subscribed.
    pub(super) fn subscribed_len(&self) -> usize {
        self.subscribed
    }
}

/// How many topics one command names.
pub(super) const CHUNK: usize = 512;

pub(super) use self::asking::STRETCH;

mod answers;
mod asking;
mod known;
mod row;
#[cfg(test)]
mod tests;
