//! Which topics are wanted, and which are subscribed.

use std::{
    collections::{HashSet, VecDeque},
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::{
    backplane::Command, chunks::Chunks, incoming::Target, seen::Seen, spelling::Spelled,
    topic::Topic, topic_map::TopicMap,
};

/// The topics of groups with a member here, and those that had one a moment ago.
///
/// The next [command](Self::poll) is the difference between what is wanted and what is subscribed.
/// What a topic's senders sent last lives and ends with the topic.
#[derive(Debug)]
pub(super) struct Interest<G> {
    topics: TopicMap<Box<TopicEntry<G>>>,
    /// There is a connection.
    connected: bool,
    /// To be subscribed, where the entry says so still.
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

/// What is known of a topic.
#[derive(Debug)]
pub(super) struct TopicEntry<G> {
    /// `None` without members.
    pub(super) target: Option<Target<G>>,
    pub(super) seen: Seen,
    state: Subscription,
    /// The mark under which it lingers.
    lingers: Option<NonZeroU32>,
    /// It was wanted when the connection came, and has no answer yet.
    unsettled: bool,
    /// The caller wants to be told once it is subscribed.
    awaited: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Subscription {
    /// Waits to be asked for.
    Idle,
    /// Asked for, in a chunk.
    Asked(u32),
    Subscribed,
    /// Waits to be given up.
    GivenUp,
    Denied,
}

impl<G> Interest<G> {
    pub(super) fn new(linger: Duration, max_lingering: usize, retry_denied: Duration) -> Self {
        Self {
            topics: TopicMap::default(),
            connected: false,
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
        let Some(entry) = self.topics.get_mut(topic) else {
            self.insert(topic, target);
            return;
        };
        if entry.target.replace(target).is_none() {
            self.wanted += 1;
        }
        self.lingers -= usize::from(entry.lingers.take().is_some());
        if entry.state == Subscription::GivenUp {
            // The engine was not told yet.
            entry.state = Subscription::Subscribed;
        }
    }

    fn insert(&mut self, topic: &Topic, target: Target<G>) {
        let entry = TopicEntry {
            target: Some(target),
            seen: Seen::default(),
            state: Subscription::Idle,
            lingers: None,
            unsettled: false,
            awaited: false,
        };
        self.topics.insert(topic.clone(), Box::new(entry));
        self.wanted += 1;
        if self.connected {
            self.ask(topic.clone());
        }
    }

    /// Notes that the last member is gone: the topic lingers.
    pub(super) fn remove(&mut self, topic: &Topic, now: Instant) {
        let Some(entry) = self.topics.get_mut(topic) else {
            return;
        };
        if entry.target.take().is_none() {
            return;
        }
        self.wanted -= 1;
        entry.awaited = false;
        if matches!(entry.state, Subscription::Idle | Subscription::Denied) {
            // Nothing comes, so there is nothing to linger for.
            self.forget(topic);
            return;
        }
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
        let Some(entry) = self.topics.get_mut(topic) else {
            return;
        };
        match entry.state {
            // Once the answer is here: else it could be taken for that of a later question.
            Subscription::Asked(_) if self.connected => {}
            Subscription::Subscribed if self.connected => {
                entry.state = Subscription::GivenUp;
                self.give_up.push_back(topic.clone());
            }
            _ => self.forget(topic),
        }
    }

    fn forget(&mut self, topic: &Topic) {
        if let Some(entry) = self.topics.remove(topic) {
            self.unsettled -= usize::from(entry.unsettled);
        }
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

    fn ask(&mut self, topic: Topic) {
        self.ask.push_back(topic);
        if self.ask.len() > 2 * self.topics.len() + CHUNK {
            retain_once(
                &mut self.ask,
                |topic| topic,
                |topic| is_in(&self.topics, topic, Subscription::Idle),
            );
        }
    }

    /// Reports whether [`poll`](Self::poll) may have something.
    pub(super) fn has_command(&self) -> bool {
        let may_ask = self.chunks.has_room() && !self.ask.is_empty();
        may_ask || !self.give_up.is_empty()
    }

    /// Returns what is to be done next.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Command> {
        if self.chunks.has_room()
            && let Some(topics) = self.next_chunk(now)
        {
            return Some(Command::Subscribe(topics));
        }
        let mut topics = Vec::new();
        while topics.len() < CHUNK
            && let Some(topic) = self.give_up.pop_front()
        {
            if self.stop_given_up(&topic) {
                topics.push(topic);
            }
        }
        (!topics.is_empty()).then_some(Command::Unsubscribe(topics))
    }

    fn next_chunk(&mut self, now: Instant) -> Option<Vec<Topic>> {
        let chunk = self.chunks.next();
        let mut topics = Vec::new();
        while topics.len() < CHUNK
            && let Some(topic) = self.ask.pop_front()
        {
            let entry = self.topics.get_mut(&topic);
            if let Some(entry) = entry.filter(|entry| entry.state == Subscription::Idle) {
                entry.state = Subscription::Asked(chunk);
                topics.push(topic);
            }
        }
        if topics.is_empty() {
            return None;
        }
        self.chunks.push(topics.len(), now);
        Some(topics)
    }

    /// Forgets a topic that is still given up; reports whether it is.
    fn stop_given_up(&mut self, topic: &Topic) -> bool {
        let entry = self.topics.get(topic);
        if entry.is_none_or(|entry| entry.state != Subscription::GivenUp) {
            return false;
        }
        self.subscribed = self.subscribed.saturating_sub(1);
        self.forget(topic);
        true
    }

    /// Keeps the deadlines.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.linger_due().is_some_and(|due| due <= now) {
            self.stop_oldest();
        }
        while self.denied_due().is_some_and(|due| due <= now) {
            let Some((_, topic)) = self.denied.pop_front() else {
                break;
            };
            let entry = self.topics.get_mut(&topic);
            if let Some(entry) = entry.filter(|entry| entry.state == Subscription::Denied) {
                entry.state = Subscription::Idle;
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
        let Some(entry) = self.topics.get_mut(topic) else {
            return false;
        };
        let is_subscribed = self.connected && entry.state == Subscription::Subscribed;
        entry.awaited = !is_subscribed;
        is_subscribed
    }

    /// Reports whether a topic is subscribed.
    pub(super) fn is_subscribed(&self, topic: &Topic) -> bool {
        let entry = self.topics.get(topic).filter(|_| self.connected);
        entry.is_some_and(|entry| {
            matches!(
                entry.state,
                Subscription::Subscribed | Subscription::GivenUp
            )
        })
    }

    /// Reports whether a topic is wanted.
    pub(super) fn is_wanted(&self, topic: &Topic) -> bool {
        let entry = self.topics.get(topic);
        entry.is_some_and(|entry| entry.target.is_some())
    }

    /// Returns the entry of a topic.
    pub(super) fn get_mut(&mut self, topic: &dyn Spelled) -> Option<&mut TopicEntry<G>> {
        self.topics.get_mut(topic).map(Box::as_mut)
    }

    /// Returns a topic that is known by its spelling.
    pub(super) fn topic(&self, topic: &dyn Spelled) -> Option<&Topic> {
        self.topics.get_key_value(topic).map(|(topic, _)| topic)
    }

    /// Returns all topics that are wanted.
    pub(super) fn wanted(&self) -> Vec<Topic> {
        let wanted = self
            .topics
            .iter()
            .filter(|(_, entry)| entry.target.is_some());
        wanted.map(|(topic, _)| topic.clone()).collect()
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

fn is_in<G>(topics: &TopicMap<Box<TopicEntry<G>>>, topic: &Topic, state: Subscription) -> bool {
    topics.get(topic).is_some_and(|entry| entry.state == state)
}

/// Keeps one of each topic, of those that are `wanted`.
fn retain_once<T>(
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

/// How many topics one command names.
pub(super) const CHUNK: usize = 512;

mod answers;
#[cfg(test)]
mod tests;
