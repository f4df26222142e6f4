//! Whole nodes, with groups and members, on an engine that does everything wrong that it can.
//!
//! `CLUSTER_SECONDS` says for how long seeds are tried (as long as ten take), `CLUSTER_SEED` tries that one
//! alone.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{runtime, time::sleep};

use super::Memory;
use crate::{
    CloseCode, Config, Groups, WebSocket,
    cluster::{Cluster, NodeId, Remote},
    groups::{GroupEvent, GroupEvents, Membership},
    protocol::test_support::Random,
    testing,
};

#[test]
fn whatever_the_engine_does_members_hear_in_order_and_once_and_groups_what_is_missing() {
    if let Ok(seed) = env::var("CLUSTER_SEED") {
        println!("{:?}", simulate(seed.parse().unwrap()));
        return;
    }
    let seconds = env::var("CLUSTER_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut all = Totals::default();
    let mut seeds = 0;
    while seeds < 10 || Instant::now() < until {
        let totals = catch_unwind(AssertUnwindSafe(|| simulate(seeds)));
        let Ok(totals) = totals else {
            panic!("CLUSTER_SEED={seeds} replays it");
        };
        all.add(&totals);
        seeds += 1;
    }
    println!("{seeds} seeds: {all:?}");
    if seeds >= 100 {
        for (name, count) in &all.0 {
            assert!(*count > 0, "no {name}");
        }
    }
}

#[test]
fn a_seed_is_the_same_each_time() {
    assert_eq!(simulate(3), simulate(3));
}

/// What has happened, by name.
#[derive(Debug, Default, Eq, PartialEq)]
struct Totals(BTreeMap<&'static str, u64>);

impl Totals {
    fn count(&mut self, name: &'static str, count: u64) {
        *self.0.entry(name).or_default() += count;
    }

    fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            self.count(name, *count);
        }
    }
}

fn simulate(seed: u64) -> Totals {
    let mut builder = runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed);
        world.run().await;
        world.totals
    })
}

const KEYS: [&str; 3] = ["a", "b", "c"];

struct World {
    random: Random,
    nodes: Vec<Node>,
    /// How many each node has sent to each group, closes among them, by number of the node.
    sent: HashMap<(NodeId, &'static str), u64>,
    next_id: u64,
    totals: Totals,
}

struct Node {
    link: Memory,
    cluster: Cluster,
    groups: Groups,
    events: GroupEvents,
    /// The members of each group, of which the first stays until all leave.
    members: BTreeMap<&'static str, Vec<Member>>,
    /// Of which groups what is known of the members that are gone, and what was missing.
    lives: BTreeMap<&'static str, Vec<Life>>,
    bounds: (usize, usize),
}

struct Member {
    client: WebSocket,
    server: WebSocket,
    _membership: Membership,
    heard: HashMap<NodeId, Vec<u64>>,
}

/// A group from when it was made until it is gone.
#[derive(Default)]
struct Life {
    /// What its first member has heard.
    heard: HashMap<NodeId, Vec<u64>>,
    missed: HashMap<NodeId, u64>,
    is_over: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Random(seed),
            nodes: Vec::new(),
            sent: HashMap::new(),
            next_id: 1,
            totals: Totals::default(),
        };
        let first = Memory::new();
        for place in 0..2 + world.random.below(4) {
            let link = if place == 0 {
                first.clone()
            } else {
                first.link()
            };
            let node = world.start(link);
            world.nodes.push(node);
        }
        world
    }

    fn start(&mut self, link: Memory) -> Node {
        let id = NodeId::new(self.next_id).unwrap();
        self.next_id += 1;
        let is_small = self.random.below(4) == 0;
        let bounds = if is_small {
            (400, 1200)
        } else {
            (8 << 20, 16 << 20)
        };
        let cluster = Cluster::builder("shop")
            .max_queue(bounds.0)
            .max_inbound(bounds.1)
            .start_as(link.clone(), id, self.random.number());
        let groups = Groups::builder().cluster(&cluster, "rooms").build();
        Node {
            link,
            cluster,
            events: groups.events(),
            groups,
            members: BTreeMap::new(),
            lives: BTreeMap::new(),
            bounds,
        }
    }

    async fn run(&mut self) {
        for _ in 0..150 {
            self.act().await;
            for node in &mut self.nodes {
                node.look();
            }
        }
        for node in &self.nodes {
            node.link.heal();
        }
        // Longer than anybody waits for anything.
        sleep(Duration::from_secs(60)).await;
        self.whole_again().await;
        for node in std::mem::take(&mut self.nodes) {
            self.end(node).await;
        }
    }

    async fn act(&mut self) {
        let place = self.random.below(self.nodes.len());
        let key = KEYS[self.random.below(KEYS.len())];
        match self.random.below(40) {
            0..9 => self.nodes[place].join(key),
            9..12 => self.leave(place, key).await,
            12..26 => {
                for _ in 0..=self.random.below(4) {
                    self.broadcast(place, key).await;
                }
            }
            26 if self.random.below(3) == 0 => {
                self.count_sent(place, key);
                self.nodes[place]
                    .groups
                    .close(key, CloseCode::GOING_AWAY)
                    .await;
                self.totals.count("closes", 1);
            }
            27 if self.random.below(4) == 0 => self.replace(place).await,
            26..34 => self.fail(place),
            34 => sleep(Duration::from_secs(self.random.below(20) as u64)).await,
            35 => self.count(place, key).await,
            _ => sleep(Duration::from_millis(self.random.below(700) as u64)).await,
        }
    }

    fn fail(&mut self, place: usize) {
        let link = &self.nodes[place].link;
        let count = 1 + self.random.below(3);
        let name = match self.random.below(14) {
            0 => (link.lose(count), "lost").1,
            1 => (link.double(count), "doubled").1,
            2 => (link.reorder(), "reordered").1,
            3 => {
                (
                    link.delay(Duration::from_millis(50 * count as u64)),
                    "delayed",
                )
                    .1
            }
            4 => (link.cut(), "cut").1,
            5 => (link.freeze(), "frozen").1,
            6 => (link.restart(), "restarted").1,
            7 if count == 1 => (link.forget(), "forgotten").1,
            8 => {
                let denied = KEYS[count - 1];
                (
                    link.deny(move |topic| topic.key() == denied.as_bytes()),
                    "denied",
                )
                    .1
            }
            9 => (link.deny(|_| false), "permitted").1,
            _ => (link.heal(), "healed").1,
        };
        self.totals.count(name, 1);
    }

    fn count_sent(&mut self, place: usize, key: &'static str) -> u64 {
        let id = self.nodes[place].cluster.id();
        let sent = self.sent.entry((id, key)).or_default();
        *sent += 1;
        *sent
    }

    async fn broadcast(&mut self, place: usize, key: &'static str) {
        let count = self.count_sent(place, key);
        let node = &self.nodes[place];
        let message = format!("{}:{count}", node.cluster.id());
        let delivery = node.groups.broadcast(key, message).await;
        let here = node.members.get(key).map_or(0, Vec::len) as u64;
        assert!(delivery.sent <= here, "{delivery:?}");
        let name = match delivery.remote {
            Remote::Queued => "queued",
            Remote::Waiting => "waiting",
            Remote::Down => "down",
            Remote::Full => "full",
            Remote::Local | Remote::TooLarge => panic!("{delivery:?}"),
        };
        self.totals.count(name, 1);
    }

    /// Counts the members on all nodes, which takes no more than a second, whatever happens.
    async fn count(&mut self, place: usize, key: &'static str) {
        let before = tokio::time::Instant::now();
        let count = self.nodes[place].groups.count(key).await;
        assert!(before.elapsed() <= Duration::from_secs(1));
        self.totals.count("nodes counted", count.nodes - 1);
        self.totals.count("nodes not counted", count.missing);
    }

    async fn leave(&mut self, place: usize, key: &'static str) {
        let is_last = self.random.below(2) == 0;
        let node = &mut self.nodes[place];
        node.look();
        let Some(members) = node.members.get_mut(key) else {
            return;
        };
        if is_last || members.len() == 1 {
            node.end_life(key);
        } else {
            members.pop();
        }
    }

    /// One node leaves, and another one comes.
    async fn replace(&mut self, place: usize) {
        let link = self.nodes[place].link.clone();
        let fresh = self.start(link);
        let mut old = std::mem::replace(&mut self.nodes[place], fresh);
        let before = tokio::time::Instant::now();
        if self.random.below(2) == 0 {
            old.cluster.leave().await;
            assert!(before.elapsed() <= Duration::from_secs(2));
            // With no time left its last words may be on their way still.
            let is_late = before.elapsed() == Duration::from_secs(2);
            assert!(is_late || !old.cluster.counters().connected);
        }
        old.look();
        self.end(old).await;
        self.totals.count("replaced", 1);
    }

    /// Everybody knows how many members there are.
    async fn all_are_counted(&self) {
        let nodes = self.nodes.len() as u64;
        for node in &self.nodes {
            for key in KEYS {
                let counted = node.groups.count(key).await;
                let members = self.nodes.iter().map(|node| node.members[key].len());
                assert_eq!(counted.members, members.sum::<usize>() as u64);
                assert_eq!((counted.nodes, counted.missing), (nodes, 0));
            }
        }
    }

    /// Everybody hears everybody again.
    async fn whole_again(&mut self) {
        self.nodes[0].link.deny(|_| false);
        sleep(Duration::from_secs(40)).await;
        let count = self.nodes.len();
        for place in 0..count {
            for key in KEYS {
                self.nodes[place].join(key);
            }
        }
        sleep(Duration::from_secs(1)).await;
        for node in &mut self.nodes {
            node.look();
            assert_eq!(node.cluster.nodes().len(), count);
        }
        self.all_are_counted().await;
        for place in 0..count {
            for key in KEYS {
                self.broadcast(place, key).await;
                // The bounds of some are small.
                sleep(Duration::from_millis(100)).await;
            }
        }
        let ids: Vec<_> = self.nodes.iter().map(|node| node.cluster.id()).collect();
        for node in &mut self.nodes {
            node.look();
            for key in KEYS {
                for member in &node.members[key] {
                    for id in &ids {
                        let last = member.heard.get(id).and_then(|heard| heard.last());
                        let sent = self.sent.get(&(*id, key));
                        assert_eq!(last, sent, "{id} in {key}: {:?}", node.cluster.counters());
                    }
                }
            }
            let counters = node.cluster.counters();
            assert!(counters.connected);
            assert_eq!((counters.queued_bytes, counters.in_flight), (0, 0));
            assert_eq!(counters.inbound_bytes, 0);
            assert_eq!(counters.topics_wanted, 5);
            assert_eq!(counters.topics_subscribed, 5);
            let gone = counters.confirmed + counters.refused.expired;
            assert_eq!(counters.published, gone);
            assert_eq!(counters.malformed, Default::default());
        }
    }

    async fn end(&mut self, mut node: Node) {
        for key in KEYS {
            node.end_life(key);
        }
        node.look();
        let mut announced = 0;
        for (key, lives) in &node.lives {
            for life in lives {
                announced += life.check(key, &self.sent);
                let heard = life.heard.values().map(Vec::len).sum::<usize>();
                self.totals.count("heard", heard as u64);
            }
        }
        let counters = node.cluster.counters();
        assert!(announced <= counters.lost);
        self.totals.count("missed", announced);
        self.totals.count("doubles", counters.doubles);
        self.totals.count("overrun", counters.overrun);
        self.totals.count("expired", counters.refused.expired);
        self.totals.count("reconnects", counters.reconnects);
    }
}

impl Node {
    fn join(&mut self, key: &'static str) {
        self.look();
        let members = self.members.entry(key).or_default();
        if members.is_empty() {
            self.lives.entry(key).or_default().push(Life::default());
        }
        let config = Config::default().ping_interval(None);
        let (client, server) = testing::pair(config);
        let membership = self.groups.join(key.to_owned(), &server.sender()).unwrap();
        members.push(Member {
            client,
            server,
            _membership: membership,
            heard: HashMap::new(),
        });
    }

    /// Takes what has come, and checks what holds at any time.
    fn look(&mut self) {
        let mut closed = Vec::new();
        for (key, members) in &mut self.members {
            for member in &mut *members {
                member.hear();
            }
            if members.iter().any(|member| !member.server.is_open()) {
                closed.push(*key);
            }
        }
        for key in closed {
            self.end_life(key);
        }
        self.take_events();
        let counters = self.cluster.counters();
        assert!(counters.queued_bytes <= self.bounds.0 as u64);
        assert!(counters.inbound_bytes <= self.bounds.1 as u64);
    }

    /// All members leave, if there are any.
    fn end_life(&mut self, key: &'static str) {
        let Some(mut members) = self.members.remove(key) else {
            return;
        };
        // What was broadcast before they left is theirs.
        self.take_events();
        for member in &mut members {
            member.hear();
        }
        let life = self.lives.get_mut(key).and_then(|lives| lives.last_mut());
        let life = life.expect("it has members");
        life.heard = std::mem::take(&mut members[0].heard);
        drop(members);
        assert_eq!(self.groups.member_count(key), 0);
        self.take_events();
    }

    fn take_events(&mut self) {
        while let Some(event) = self.events.recv().now_or_never() {
            match event {
                GroupEvent::Gap(key, gap) => {
                    let lives = self.lives.get_mut(&*key).expect("it has members");
                    let life = lives.iter_mut().find(|life| !life.is_over);
                    let life = life.expect("it has members");
                    *life.missed.entry(gap.from).or_default() += gap.missed;
                }
                GroupEvent::Destroyed(key) => {
                    let lives = self.lives.get_mut(&*key).expect("it had members");
                    let life = lives.iter_mut().find(|life| !life.is_over);
                    life.expect("it had members").is_over = true;
                }
                GroupEvent::Missed(_) => panic!("they are taken"),
                _ => {}
            }
        }
    }
}

impl Member {
    /// In order, and nothing twice.
    fn hear(&mut self) {
        while let Some(Ok(Some(message))) = self.client.recv().now_or_never() {
            let text = message.as_text().unwrap();
            let (id, count) = text.split_once(':').unwrap();
            let heard = self.heard.entry(id.parse().unwrap()).or_default();
            let count = count.parse().unwrap();
            let last = heard.last().copied().unwrap_or_default();
            assert!(last < count, "{count} of {id} comes behind {last}");
            heard.push(count);
        }
    }
}

impl Life {
    /// Compares what was missing with what the group was told, and returns that.
    fn check(&self, key: &'static str, sent: &HashMap<(NodeId, &'static str), u64>) -> u64 {
        for (id, heard) in &self.heard {
            let (first, last) = (heard[0], heard[heard.len() - 1]);
            let missing = last - first + 1 - heard.len() as u64;
            let missed = self.missed.get(id).copied().unwrap_or_default();
            assert!(
                missing <= missed,
                "{id} in {key}: {heard:?}, and {missed} told"
            );
            assert!(last <= sent[&(*id, key)]);
            // What is told may be missing since a time before the first that came.
            assert!(missed <= sent[&(*id, key)] - heard.len() as u64);
        }
        self.missed.values().sum()
    }
}
