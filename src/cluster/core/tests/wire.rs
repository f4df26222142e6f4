//! Two or three nodes, and an engine between them that does everything wrong that it can.
//!
//! `CLUSTER_SEEDS` says how many seeds are tried (200), `CLUSTER_SEED` from which on (0).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    env,
};

use bytes::Bytes;

use super::*;
use crate::{
    cluster::{
        core::Came,
        counts::{Asking, Tally},
        envelope::{EnvelopeHeader, Kind},
        number::Number,
        question::QuestionId,
    },
    protocol::test_support::Random,
};

#[test]
fn whatever_the_wire_does_order_holds_nothing_comes_twice_and_what_is_missing_is_told() {
    let seeds = env::var("CLUSTER_SEEDS").map_or(200, |seeds| seeds.parse().unwrap());
    let first = env::var("CLUSTER_SEED").map_or(0, |seed| seed.parse().unwrap());
    let mut all = Totals::default();
    for seed in first..first + seeds {
        let world = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run();
            world.totals()
        });
        let Ok(totals) = world else {
            panic!("CLUSTER_SEED={seed} CLUSTER_SEEDS=1 replays it");
        };
        all.add(&totals);
    }
    println!("{all:?}");
    if seeds >= 100 {
        all.assert_that_everything_happened();
    }
}

/// What all seeds came to: a wire on which nothing goes wrong shows nothing.
#[derive(Debug, Default)]
struct Totals {
    delivered: u64,
    missed: u64,
    counters: Vec<(&'static str, u64)>,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.missed += other.missed;
        self.counters.resize(other.counters.len(), ("", 0));
        for (sum, (name, count)) in self.counters.iter_mut().zip(&other.counters) {
            *sum = (name, sum.1 + count);
        }
    }

    fn assert_that_everything_happened(&self) {
        assert!(self.delivered > 0 && self.missed > 0);
        for (name, count) in &self.counters {
            assert!(*count > 0, "no {name}");
        }
    }
}

const TOPICS: usize = 5;

struct World {
    random: Random,
    now: Instant,
    topics: Vec<Topic>,
    peers: Vec<Peer>,
    /// What happens, and when.
    acts: BTreeMap<(Instant, u64), Act>,
    acts_made: u64,
    /// The engine does nothing before.
    frozen: Instant,
    /// What the engine is good for.
    promises: Promises,
    /// One in so many fails in each way; none does at the end.
    rare: Option<usize>,
    /// The number of each envelope that reached the engine, by sender, topic, count.
    numbers: HashMap<(usize, usize, u64), Number>,
}

struct Peer {
    core: Core<usize>,
    settings: ClusterSettings,
    /// The number of its connection; there is none while `subscribed` is `None`.
    connection: u64,
    subscribed: Option<HashSet<Topic>>,
    /// By when each of its three channels has passed on all there was.
    channels: [Instant; 3],
    members: [bool; TOPICS],
    /// How many it has published, and when each.
    published: [u64; TOPICS],
    sent_at: HashMap<(usize, u64), Instant>,
    /// The last that was delivered since the last member joined, by sender and topic.
    heard: HashMap<(usize, usize), u64>,
    busy: Vec<Topic>,
    /// What its events have told: of which tickets nothing yet.
    awaited: HashSet<Ticket>,
    connected: bool,
    others: HashSet<NodeId>,
    delivered: u64,
    missed: u64,
    beats: u64,
    /// Its questions that run, how many it has asked, and how many of others it has answered.
    asking: HashSet<QuestionId>,
    asked: u64,
    answered: u64,
    /// Questions and answers that it has taken.
    talk: u64,
    /// All that was counted.
    tally: Tally,
}

#[derive(Debug)]
enum Act {
    /// The application does something.
    Application(usize),
    Connect(usize),
    /// An envelope reaches the engine.
    Reach(usize, u64, Topic, Bytes, Ticket),
    Answer(usize, u64, Ticket),
    Push(usize, u64, Topic, Bytes),
    Subscribed(usize, u64, Vec<Topic>),
    Denied(usize, u64, Vec<Topic>),
    /// A question has run for as long as one may.
    EndQuestion(usize, QuestionId),
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let now = Instant::now();
        let topics = (0..TOPICS).map(|index| topic(&index.to_string())).collect();
        let count = 2 + random.below(2);
        let promises = Promises {
            echoes: random.below(4) > 0,
            confirms: random.below(4) > 0,
            ..promises()
        };
        let peers = (0..count).map(|index| Peer::new(index, &promises, &mut random, now));
        let peers = peers.collect();
        let mut world = Self {
            rare: Some([5, 20, 100][random.below(3)]),
            promises,
            random,
            now,
            topics,
            peers,
            acts: BTreeMap::new(),
            acts_made: 0,
            frozen: now,
            numbers: HashMap::new(),
        };
        for peer in 0..count {
            world.act_in(0, Act::Connect(peer));
            world.act_in(1, Act::Application(peer));
        }
        world
    }

    fn run(&mut self) {
        let end = self.now + Duration::from_secs(30);
        self.run_until(end);
        self.heal();
        for _ in 0..3 {
            self.all_publish();
            let soon = self.now + Duration::from_secs(2);
            self.run_until(soon);
        }
        self.all_count();
        self.assert_all_is_well();
    }

    /// All know how many members there are elsewhere.
    fn all_count(&mut self) {
        for topic in 0..TOPICS {
            let before = self.tallies();
            for peer in 0..self.peers.len() {
                // One after the other, since of small queues one place is for answers.
                self.count(peer, topic);
                self.pump();
                let soon = self.now + Duration::from_secs(2);
                self.run_until(soon);
            }
            let others = self.peers.len() as u64 - 1;
            for (before, after) in before.iter().zip(self.tallies()) {
                assert_eq!(after.members - before.members, others);
                assert_eq!(after.nodes - before.nodes, others);
                assert_eq!(after.missing, before.missing);
            }
        }
    }

    fn tallies(&self) -> Vec<Tally> {
        self.peers.iter().map(|peer| peer.tally).collect()
    }

    /// Asks how many members a group has elsewhere.
    fn count(&mut self, peer: usize, topic: usize) {
        let key = self.topics[topic].clone();
        let node = &mut self.peers[peer];
        node.asked += 1;
        let asking = node.core.ask(&key, self.now);
        // What is known was counted before, or nobody was asked.
        if let Asking::Waits(id, until) = asking
            && node.asking.insert(id)
        {
            self.act_at(until, Act::EndQuestion(peer, id));
        }
    }

    /// Nothing fails any more, and all join.
    fn heal(&mut self) {
        self.rare = None;
        let end = self.now + Duration::from_secs(60);
        self.run_until(end);
        for peer in &mut self.peers {
            for (index, topic) in self.topics.iter().enumerate() {
                if !peer.members[index] {
                    peer.join(index, topic);
                }
            }
        }
        self.pump();
        let soon = self.now + Duration::from_secs(5);
        self.run_until(soon);
    }

    fn all_publish(&mut self) {
        for peer in 0..self.peers.len() {
            for topic in 0..TOPICS {
                let remote = self.publish(peer, topic, 0);
                assert_eq!(remote, Remote::Queued, "all is well again");
            }
        }
        self.pump();
    }

    /// What was published once nothing failed any more has come to all, and all counters agree.
    fn assert_all_is_well(&mut self) {
        for (receiver, peer) in self.peers.iter().enumerate() {
            for (sender, other) in self.peers.iter().enumerate() {
                for topic in 0..TOPICS {
                    let heard = peer.heard.get(&(sender, topic));
                    let last = other.published[topic] - 1;
                    let expected = (receiver != sender).then_some(last);
                    assert_eq!(
                        heard.copied(),
                        expected,
                        "{sender} to {receiver} in {topic}"
                    );
                }
            }
            peer.assert_counters_agree();
            assert!(peer.connected && peer.awaited.is_empty() && peer.asking.is_empty());
            assert_eq!(peer.others.len(), self.peers.len() - 1);
            assert_eq!(peer.core.nodes(self.now).len(), self.peers.len());
        }
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for peer in &self.peers {
            let counters = peer.core.counters();
            totals.add(&Totals {
                delivered: peer.delivered,
                missed: peer.missed,
                counters: vec![
                    ("reconnects", counters.reconnects),
                    ("confirmed", counters.confirmed),
                    ("down", counters.refused.down),
                    ("full", counters.refused.full),
                    ("too large", counters.refused.too_large),
                    ("expired", counters.refused.expired),
                    ("echoes", counters.own_echoes),
                    ("doubles", counters.doubles),
                    ("gaps", counters.gaps),
                    ("overrun", counters.overrun),
                    ("truncated", counters.malformed.truncated),
                    ("uninterested", counters.uninterested),
                    ("members counted", peer.tally.members),
                    ("nodes counted", peer.tally.nodes),
                    ("nodes not counted", peer.tally.missing),
                ],
            });
        }
        totals
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            let timeouts = self.peers.iter().map(|peer| peer.core.poll_timeout());
            let timeout = timeouts.flatten().min().unwrap_or(end);
            let act = self.acts.first_key_value().map_or(end, |((at, _), _)| *at);
            if timeout.min(act) >= end {
                self.now = end;
                return;
            }
            self.now = self.now.max(timeout.min(act));
            if act <= timeout {
                let (_, act) = self.acts.pop_first().unwrap();
                self.act(act);
            } else {
                self.time_out();
            }
            self.pump();
        }
    }

    fn time_out(&mut self) {
        for peer in 0..self.peers.len() {
            let core = &mut self.peers[peer].core;
            if core.poll_timeout().is_none_or(|due| self.now < due) {
                continue;
            }
            if core.handle_timeout(self.now).is_some() {
                self.cut(peer);
            } else {
                let due = core.poll_timeout();
                assert!(
                    due.is_none_or(|due| due > self.now),
                    "{due:?} is over: {core:?}"
                );
            }
        }
    }

    fn act_in(&mut self, millis: u64, act: Act) {
        let at = self.now + Duration::from_millis(millis);
        self.act_at(at, act);
    }

    fn act_at(&mut self, at: Instant, act: Act) {
        self.acts_made += 1;
        self.acts.insert((at, self.acts_made), act);
    }

    /// Passes something on by one of a peer's channels, mostly behind what is on its way there.
    fn pass(&mut self, peer: usize, channel: usize, act: Act) {
        let millis = if self.fails() { 3000 } else { 20 };
        let delay = Duration::from_millis(self.random.below(millis) as u64);
        let mut at = self.now.max(self.frozen) + delay;
        if !self.fails() {
            at = at.max(self.peers[peer].channels[channel]);
            self.peers[peer].channels[channel] = at;
        }
        self.act_at(at, act);
    }

    fn fails(&mut self) -> bool {
        self.rare.is_some_and(|rare| self.random.below(rare) == 0)
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Application(peer) => self.application(peer),
            Act::Connect(peer) => self.connect(peer),
            Act::Reach(peer, connection, topic, envelope, ticket) => {
                self.reach(peer, connection, &topic, &envelope, ticket);
            }
            Act::Answer(peer, connection, ticket) => {
                let core = &mut self.peers[peer].core;
                core.alive(self.now);
                if self.promises.confirms && self.peers[peer].is_on(connection) {
                    self.peers[peer].core.published(ticket, Ok(()));
                }
            }
            Act::Push(peer, connection, topic, envelope) => {
                // Also what was under way when its connection broke.
                if self.peers[peer].is_on(connection) || self.random.below(2) == 0 {
                    self.push(peer, &topic, envelope);
                }
            }
            Act::Subscribed(peer, connection, topics) => {
                let now = self.now;
                let peer = &mut self.peers[peer];
                if peer.is_on(connection) {
                    peer.subscribed
                        .as_mut()
                        .unwrap()
                        .extend(topics.iter().cloned());
                    peer.core.subscribed(&topics, now);
                }
            }
            Act::Denied(peer, connection, topics) => {
                let now = self.now;
                let peer = &mut self.peers[peer];
                if peer.is_on(connection) {
                    peer.core.unsubscribed(&topics, Lost::Denied, now);
                }
            }
            Act::EndQuestion(peer, id) => self.peers[peer].core.end_question(id, self.now),
        }
    }

    fn application(&mut self, peer: usize) {
        let Some(rare) = self.rare else {
            return;
        };
        let topic = self.random.below(TOPICS);
        match self.random.below(12) {
            0 if self.random.below(4) == 0 => {
                let (now, key) = (self.now, self.topics[topic].clone());
                self.peers[peer].toggle(topic, &key, now);
            }
            1 if self.random.below(rare) == 0 => self.cut(peer),
            2 if self.random.below(rare) == 0 => {
                let millis = self.random.below(8000) as u64;
                self.frozen = self.now + Duration::from_millis(millis);
            }
            3 => self.peers[peer].finish_one(&mut self.random),
            4 if self.random.below(rare) == 0 => self.move_topic(peer, topic),
            5 => self.count(peer, topic),
            _ => {
                for _ in 0..1 + self.random.below(6) {
                    let len = [0, 0, 0, 100, 2000][self.random.below(5)];
                    self.publish(peer, topic, len);
                }
            }
        }
        let millis = self.random.below(400) as u64;
        self.act_in(millis, Act::Application(peer));
    }

    /// The engine gives a subscription up, and says so.
    fn move_topic(&mut self, peer: usize, topic: usize) {
        let (now, key) = (self.now, self.topics[topic].clone());
        let peer = &mut self.peers[peer];
        let subscribed = peer.subscribed.as_mut();
        if subscribed.is_some_and(|topics| topics.remove(&key)) {
            peer.core.unsubscribed(&[key], Lost::Moved, now);
        }
    }

    fn publish(&mut self, peer: usize, topic: usize, len: usize) -> Remote {
        let key = self.topics[topic].clone();
        let at = self.now;
        let node = &mut self.peers[peer];
        let count = node.published[topic];
        node.published[topic] += 1;
        let padding = "x".repeat(len);
        let what = text(&format!("{peer} {topic} {count} {padding}"));
        node.sent_at.insert((topic, count), at);
        if !count.is_multiple_of(4) {
            return node.core.publish(&key, &what, at);
        }
        match node.core.publish_confirmed(&key, &what, at) {
            Ok((ticket, remote)) => {
                assert!(node.awaited.insert(ticket));
                remote
            }
            Err(refused) => refused,
        }
    }

    fn connect(&mut self, peer: usize) {
        let delay = self.now.max(self.frozen);
        if delay > self.now || self.fails() {
            let pause = self.peers[peer].core.lost(self.now);
            self.act_at(delay + pause, Act::Connect(peer));
            return;
        }
        let peer = &mut self.peers[peer];
        peer.connection += 1;
        peer.subscribed = Some(HashSet::new());
        peer.channels = [self.now; 3];
        peer.core.connected(self.now);
    }

    fn cut(&mut self, peer: usize) {
        let node = &mut self.peers[peer];
        if node.subscribed.take().is_none() {
            return;
        }
        let pause = node.core.lost(self.now);
        let long = if self.fails() { 7000 } else { 0 };
        self.act_at(
            self.now + pause + Duration::from_millis(long),
            Act::Connect(peer),
        );
    }

    /// The engine executes what it has read, also of a connection that is gone.
    fn reach(
        &mut self,
        peer: usize,
        connection: u64,
        topic: &Topic,
        envelope: &Bytes,
        ticket: Ticket,
    ) {
        if self.fails() {
            // Gone on its way there, and with it the answer.
            return;
        }
        let times = if self.fails() { 2 } else { 1 };
        for _ in 0..times {
            for other in 0..self.peers.len() {
                if other == peer && !self.promises.echoes {
                    continue;
                }
                let subscribed = self.peers[other].subscribed.as_ref();
                if subscribed.is_some_and(|topics| topics.contains(topic)) && !self.fails() {
                    let envelope = self.spoil(envelope);
                    let connection = self.peers[other].connection;
                    self.pass(
                        other,
                        1,
                        Act::Push(other, connection, topic.clone(), envelope),
                    );
                }
            }
        }
        self.pass(peer, 2, Act::Answer(peer, connection, ticket));
    }

    /// Cuts an envelope off, seldom.
    fn spoil(&mut self, envelope: &Bytes) -> Bytes {
        if self.fails() && self.fails() {
            let len = self.random.below(24);
            return envelope.slice(..len);
        }
        envelope.clone()
    }

    fn push(&mut self, peer: usize, topic: &Topic, envelope: Bytes) {
        let header = EnvelopeHeader::decode(&envelope);
        let node = &mut self.peers[peer];
        let is_own = header.is_ok_and(|header| header.node == Some(node.core.id()));
        let kind = header.ok().filter(|_| !is_own).map(|header| header.kind);
        let is_beat = kind.is_some_and(|kind| kind.is_of_nodes() && !kind.is_talk());
        node.beats += u64::from(is_beat);
        let before = node.dropped();
        let came = node.core.receive(topic.as_bytes(), &envelope, || self.now);
        let is_taken = kind.is_some_and(Kind::is_talk) && node.dropped() == before;
        node.talk += u64::from(is_taken);
        assert!(is_taken || came != Came::Question);
        if let Some(asked) = node.core.take_asked() {
            let members = asked
                .group
                .map_or(0, |topic| usize::from(node.members[topic]));
            node.core.answer(asked.by, asked.id, members, self.now);
            node.answered += 1;
        }
    }

    /// Does all that the cores want done.
    fn pump(&mut self) {
        for peer in 0..self.peers.len() {
            while let Some(command) = self.peers[peer].core.poll_command(self.now) {
                self.command(peer, command);
                while let Some(more) = self.peers[peer].core.poll_more() {
                    self.command(peer, more);
                }
            }
            self.deliver(peer);
            self.peers[peer].take_events();
            drop(self.peers[peer].core.take_waste());
            self.peers[peer].assert_bounds_hold();
        }
    }

    fn command(&mut self, peer: usize, command: Command) {
        let connection = self.peers[peer].connection;
        match command {
            Command::Publish(publish) => {
                self.note(peer, &publish);
                let (topic, ticket) = (publish.topic().clone(), publish.ticket());
                let envelope = envelope(&publish);
                self.pass(
                    peer,
                    0,
                    Act::Reach(peer, connection, topic, envelope, ticket),
                );
            }
            Command::Subscribe(topics) => {
                let denied = self.fails() && self.fails();
                let act = if denied { Act::Denied } else { Act::Subscribed };
                self.pass(peer, 2, act(peer, connection, topics));
            }
            Command::Unsubscribe(topics) => {
                let subscribed = self.peers[peer].subscribed.as_mut().unwrap();
                for topic in topics {
                    subscribed.remove(&topic);
                }
            }
            Command::Leave => unreachable!("nobody leaves"),
        }
    }

    /// Remembers the number of an envelope; none is sent that waited for too long.
    fn note(&mut self, peer: usize, publish: &Publish) {
        if publish.topic().groups() == b"!" {
            return;
        }
        let header = EnvelopeHeader::decode(publish.head()).unwrap();
        let (sender, topic, count) = parse(publish.payload());
        assert_eq!(sender, peer);
        let node = &self.peers[peer];
        let age = self.now - node.sent_at[&(topic, count)];
        let ClusterSettings {
            max_wait,
            answer_timeout,
            settling,
            ..
        } = node.settings;
        // Once, a connection may be made use of meanwhile.
        let most = max_wait + answer_timeout + settling + Duration::from_secs(2);
        assert!(age < most, "{age:?} old");
        let before = self.numbers.insert((sender, topic, count), header.number);
        assert!(before.is_none_or(|before| before == header.number));
    }

    fn deliver(&mut self, peer: usize) {
        while let Some(delivery) = self.peers[peer].core.poll_delivery() {
            let Some(Carried::Message(message)) = delivery.carried else {
                unreachable!("nothing else is sent");
            };
            let payload = message.into_message().into_bytes();
            let (sender, topic, count) = parse(&payload);
            let node = &mut self.peers[peer];
            assert_ne!(sender, peer, "an own message is no other's");
            assert_eq!(delivery.from, Some(id(sender as u64 + 1)));
            assert_eq!(delivery.topic, self.topics[topic]);
            assert_eq!(delivery.target, Target::Group(topic));
            assert!(node.members[topic], "somebody is there");
            node.delivered += 1;
            node.missed += delivery.missed;
            if let Some(before) = node.heard.insert((sender, topic), count) {
                assert!(before < count, "{count} after {before}");
                let between = count - before - 1;
                let runs = [before, count].map(|count| self.numbers[&(sender, topic, count)].run);
                if runs[0] == runs[1] {
                    assert_eq!(delivery.missed, between, "from {before} to {count}");
                } else {
                    assert!(delivery.missed <= between, "from {before} to {count}");
                }
            }
            node.busy.push(delivery.topic);
        }
        if self.rare.is_none() {
            self.peers[peer].finish();
            if self.peers[peer].core.counters().inbound_bytes > 0 {
                self.deliver(peer);
            }
        }
    }
}

impl Peer {
    fn new(index: usize, promises: &Promises, random: &mut Random, now: Instant) -> Self {
        let settings = ClusterSettings {
            max_queue: [10_000, 8 << 20][random.below(2)],
            max_queued: [20, 65_536][random.below(2)],
            max_inbound: [2000, 16 << 20][random.below(2)],
            max_message_size: [1500, 1 << 20][random.below(2)],
            linger: Duration::from_millis([0, 300, 5000][random.below(3)]),
            max_lingering: [1, 10_000][random.below(2)],
            numbered_topics: [1, 2, 32_768][random.below(3)],
            ..ClusterSettings::default()
        };
        Self {
            core: core_on(promises.clone(), index as u64 + 1, settings.clone(), now),
            settings,
            connection: 0,
            subscribed: None,
            channels: [now; 3],
            members: [false; TOPICS],
            published: [0; TOPICS],
            sent_at: HashMap::new(),
            heard: HashMap::new(),
            busy: Vec::new(),
            awaited: HashSet::new(),
            connected: false,
            others: HashSet::new(),
            delivered: 0,
            missed: 0,
            beats: 0,
            asking: HashSet::new(),
            asked: 0,
            answered: 0,
            talk: 0,
            tally: Tally::default(),
        }
    }

    /// How many envelopes it has dropped.
    fn dropped(&self) -> u64 {
        let counters = self.core.counters();
        let malformed = counters.malformed.truncated + counters.malformed.question;
        counters.uninterested + counters.doubles + counters.overrun + malformed
    }

    /// Who has answered is counted once, and who has not is missing.
    fn counted(&mut self, id: QuestionId, tally: Tally) -> bool {
        assert!(tally.members <= tally.nodes, "each has one member at most");
        assert!(
            tally.nodes + tally.missing <= 2,
            "there are two others at most"
        );
        self.tally.members += tally.members;
        self.tally.nodes += tally.nodes;
        self.tally.missing += tally.missing;
        self.asking.remove(&id)
    }

    fn is_on(&self, connection: u64) -> bool {
        self.subscribed.is_some() && self.connection == connection
    }

    fn join(&mut self, index: usize, topic: &Topic) {
        self.members[index] = true;
        self.core.add_interest(topic, index);
    }

    fn toggle(&mut self, index: usize, topic: &Topic, now: Instant) {
        if self.members[index] {
            self.members[index] = false;
            self.heard.retain(|(_, topic), _| *topic != index);
            self.core.remove_interest(topic, now);
        } else {
            self.join(index, topic);
        }
    }

    /// One of the groups has delivered.
    fn finish_one(&mut self, random: &mut Random) {
        if !self.busy.is_empty() {
            let place = random.below(self.busy.len());
            let topic = self.busy.swap_remove(place);
            self.core.delivered(&topic);
        }
    }

    fn finish(&mut self) {
        for topic in self.busy.drain(..) {
            self.core.delivered(&topic);
        }
    }

    /// No event contradicts the one before.
    fn take_events(&mut self) {
        while let Some(event) = self.core.poll_event() {
            let is_news = match event {
                CoreEvent::Connected { .. } => !mem::replace(&mut self.connected, true),
                CoreEvent::Disconnected => mem::replace(&mut self.connected, false),
                CoreEvent::NodeJoined(node) => self.others.insert(node),
                CoreEvent::NodeLeft(node) => self.others.remove(&node),
                CoreEvent::Published(ticket, _) => self.awaited.remove(&ticket),
                CoreEvent::Subscribed(_) => false,
                CoreEvent::Denied(topics) => !topics.is_empty(),
                CoreEvent::Counted(id, tally) => self.counted(id, tally),
            };
            assert!(is_news, "{:?}", self.core);
        }
    }

    fn assert_bounds_hold(&self) {
        let counters = self.core.counters();
        assert!(counters.queued_bytes <= self.settings.max_queue as u64);
        assert!(counters.inbound_bytes <= self.settings.max_inbound as u64);
        assert!(counters.in_flight <= 1024);
    }

    fn assert_counters_agree(&self) {
        let counters = self.core.counters();
        let refused = counters.refused;
        let all = self.published.iter().sum::<u64>() + self.answered;
        let tried = counters.published + refused.down + refused.full + refused.too_large;
        // Some questions were not asked, or over before they could leave.
        assert!((all..=all + self.asked).contains(&tried));
        assert_eq!(
            counters.published,
            counters.confirmed + refused.expired + refused.rejected
        );
        assert_eq!(
            (
                counters.queued_bytes,
                counters.in_flight,
                counters.inbound_bytes
            ),
            (0, 0, 0)
        );
        let kept = self.delivered + counters.doubles + counters.overrun;
        let passed_over = counters.uninterested + counters.malformed.truncated;
        let rest = self.beats + self.talk + counters.own_echoes + counters.malformed.too_large;
        assert_eq!(counters.received, kept + passed_over + rest);
        assert!(self.missed <= counters.lost);
        assert_eq!(counters.topics_wanted, TOPICS as u64 + 2);
        assert_eq!(counters.topics_subscribed, TOPICS as u64 + 2);
    }
}

fn parse(payload: &[u8]) -> (usize, usize, u64) {
    let payload = str::from_utf8(payload).unwrap();
    let mut parts = payload.split(' ').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap();
    (next() as usize, next() as usize, next())
}
