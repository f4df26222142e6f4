//! All that is hard about groups over many nodes, without I/O and without a clock.
//!
//! It is told what happens: [`publish`](Core::publish), [`receive`](Core::receive),
//! [`add_interest`](Core::add_interest), [`connected`](Core::connected), [`lost`](Core::lost),
//! [`handle_timeout`](Core::handle_timeout), [`ask`](Core::ask). And it is asked what is to be done:
//! [`poll_command`](Core::poll_command), [`poll_event`](Core::poll_event),
//! [`poll_delivery`](Core::poll_delivery), [`poll_timeout`](Core::poll_timeout),
//! [`take_waste`](Core::take_waste): after each call of the former.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use super::{
    alive::{Load, MAX_INTERVAL, MIN_INTERVAL},
    asked::Answers,
    backoff::Backoff,
    backplane::{Promises, Ticket},
    beats::Beats,
    chance::Chance,
    counters::ClusterCounters,
    counts::Counts,
    events::{CoreEvent, Node},
    incoming::{DeliveryQueues, Target},
    interest::Interest,
    link::LinkState,
    node_id::NodeId,
    nodes::Nodes,
    numbers::Numbers,
    outgoing::EngineQueue,
    settings::ClusterSettings,
    topic::{InvalidName, Topic, TopicPrefix},
    waste::Waste,
};

mod count;
mod line;
mod receive;
mod send;
mod timeout;

pub(crate) use receive::Came;

/// A node's part in a cluster; `G` is what the application's side knows a group by.
///
/// The rules of the lock around it: nothing here locks, wakes, or runs code of the application; what
/// could is left as [waste](Core::take_waste).
#[derive(Debug)]
pub(crate) struct Core<G> {
    id: NodeId,
    start: Instant,
    /// That of its life, not always the latest.
    second: u32,
    own: TopicPrefix,
    settings: ClusterSettings,
    promises: Promises,
    chance: Chance,
    backoff: Backoff,
    link: LinkState,
    /// Since when there is no connection, if there was one before.
    broken: Option<Instant>,
    numbers: Numbers,
    outgoing: EngineQueue,
    interest: Interest<G>,
    incoming: DeliveryQueues<G>,
    nodes: Nodes,
    beats: Beats,
    counts: Counts,
    answers: Answers<G>,
    /// A heartbeat, or the last word, that the engine has not answered.
    own_unanswered: Option<(Ticket, Instant)>,
    load: Load,
    leaving: Option<Leaving>,
    /// No silence is judged before: this node itself has stood still.
    grace: Option<Instant>,
    counters: ClusterCounters,
    events: VecDeque<CoreEvent>,
    waste: Waste,
}

/// How far leaving is.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    deadline: Instant,
    has_said: bool,
    is_over: bool,
}

impl<G: Clone> Core<G> {
    /// Makes a node that has no connection yet.
    ///
    /// `id` and `seed` are random numbers.
    ///
    /// # Errors
    ///
    /// The name of the cluster is none.
    pub(crate) fn new(
        cluster: &str,
        mut settings: ClusterSettings,
        promises: Promises,
        id: NodeId,
        seed: u64,
        now: Instant,
    ) -> Result<Self, InvalidName> {
        settings.heartbeat = settings.heartbeat.clamp(MIN_INTERVAL, MAX_INTERVAL);
        let mut core = Self {
            id,
            start: now,
            second: 0,
            own: TopicPrefix::own(cluster)?,
            promises,
            chance: Chance::new(seed),
            backoff: Backoff::default(),
            link: LinkState::Away {
                since: now,
                is_down: false,
            },
            broken: None,
            numbers: Numbers::new(settings.numbered_topics),
            outgoing: EngineQueue::default(),
            interest: Interest::new(
                settings.linger,
                settings.max_lingering,
                settings.retry_refused,
            ),
            incoming: DeliveryQueues::new(settings.max_inbound),
            nodes: Nodes::new(settings.max_nodes),
            beats: Beats::default(),
            counts: Counts::default(),
            answers: Answers::new(settings.max_queued),
            own_unanswered: None,
            load: Load::default(),
            leaving: None,
            grace: None,
            counters: ClusterCounters::default(),
            events: VecDeque::new(),
            waste: Waste::default(),
            settings,
        };
        core.interest.add(&core.own.all(), Target::All);
        core.interest.add(&core.own.node(id), Target::Node);
        Ok(core)
    }

    /// Reports whether a group has members here whose topic this is.
    pub(crate) fn is_taken(&self, topic: &Topic) -> bool {
        self.interest.is_wanted(topic)
    }

    /// Notes that a group has its first member here.
    pub(crate) fn add_interest(&mut self, topic: &Topic, group: G) {
        self.interest.add(topic, Target::Group(group));
    }

    /// Notes that a group has no more members here: what is queued for it is dropped.
    pub(crate) fn remove_interest(&mut self, topic: &Topic, now: Instant) {
        self.interest.remove(topic, now);
        let purged = self.incoming.purge(topic, &mut self.waste);
        self.counters.uninterested += purged as u64;
    }

    /// Reports whether envelopes of a topic that is wanted arrive; if not,
    /// [`CoreEvent::Subscribed`] follows once they do.
    pub(crate) fn await_subscribed(&mut self, topic: &Topic) -> bool {
        self.interest.await_subscribed(topic)
    }

    /// Sets what heartbeats tell of this node.
    pub(crate) fn set_load(&mut self, load: Load) {
        self.load = load;
    }

    /// Begins to leave: nothing more is published, and what is queued goes out for 2 seconds at most,
    /// with a last word behind it. [`is_over`](Self::is_over) tells when.
    pub(crate) fn leave(&mut self, now: Instant) {
        let deadline = now + self.settings.leave_timeout;
        self.leaving.get_or_insert(Leaving {
            deadline,
            has_said: false,
            is_over: false,
        });
    }

    /// Reports whether all that was wanted is subscribed.
    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_settled()
    }

    /// Reports whether all is said and sent, or there is no more time for it.
    pub(crate) fn is_over(&self) -> bool {
        self.leaving.is_some_and(|leaving| {
            let nothing_left = self.link.is_away() && self.outgoing.is_empty();
            leaving.is_over || nothing_left
        })
    }

    /// Takes the next event.
    pub(crate) fn poll_event(&mut self) -> Option<CoreEvent> {
        self.events.pop_front()
    }

    /// Reports whether there is [waste](Self::take_waste).
    pub(crate) fn has_waste(&self) -> bool {
        !self.waste.is_empty()
    }

    /// Reports whether there are events, or there is waste.
    pub(crate) fn has_news(&self) -> bool {
        !self.events.is_empty() || self.has_waste()
    }

    /// Takes what is to be dropped where no lock is held.
    pub(crate) fn take_waste(&mut self) -> Waste {
        mem::take(&mut self.waste)
    }

    /// Returns the id of this node.
    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// Returns the topic of what is for one node: another one, since a node does not hear itself.
    pub(crate) fn topic_of(&self, node: NodeId) -> Topic {
        self.own.node(node)
    }

    /// Returns all topics that are wanted.
    #[cfg(test)]
    pub(crate) fn interest(&self) -> Vec<Topic> {
        let (mut all, mut end) = (Vec::new(), usize::MAX);
        while end > 0 {
            let (topics, start) = self.interest_before(end);
            all.extend(topics);
            end = start;
        }
        all
    }

    /// Returns some of the topics that are wanted: those in front of `end`, of all in a row; and where to go on
    /// from there, until it is 0.
    ///
    /// One that is removed meanwhile may let another one be returned twice, and none be left out.
    pub(crate) fn interest_before(&self, end: usize) -> (Vec<Topic>, usize) {
        self.interest.wanted_before(end)
    }

    /// Returns a topic of the node itself, which is always wanted.
    #[cfg(any(feature = "nats", feature = "redis"))]
    pub(crate) fn own_topic(&self) -> Topic {
        self.own.all()
    }

    /// Returns the live nodes, this one first.
    pub(crate) fn nodes(&self, now: Instant) -> Vec<Node> {
        let name = self.settings.name.clone();
        let own = Node::new(self.id, name, self.load, Some(self.start), now);
        [own].into_iter().chain(self.nodes.iter()).collect()
    }

    /// Returns how many connections the live nodes have.
    pub(crate) fn connections(&self) -> u64 {
        u64::from(self.load.connections) + self.nodes.connections()
    }

    /// Returns what was counted, and how it is now.
    pub(crate) fn counters(&self) -> ClusterCounters {
        let mut counters = self.counters.clone();
        counters.connected = self.is_connected();
        counters.nodes = self.nodes.len() as u64 + 1;
        counters.topics_wanted = self.interest.wanted_len() as u64;
        counters.topics_subscribed = self.interest.subscribed_len() as u64;
        counters.queued_bytes = self.outgoing.bytes() as u64;
        counters.in_flight = self.outgoing.in_flight() as u64;
        counters.inbound_bytes = self.incoming.bytes() as u64;
        counters.round_trip = self.beats.round_trip();
        counters.max_round_trip = self.beats.max_round_trip();
        counters
    }

    /// Returns how often this node says that it is alive.
    fn interval(&self) -> Duration {
        super::nodes::interval(self.settings.heartbeat, self.nodes.len() + 1)
    }
}

#[cfg(test)]
mod tests;
