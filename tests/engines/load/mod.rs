//! The load: a thousand clients on each of two nodes, in a hundred groups, of which one per group and node sends.

mod client;
pub(crate) mod count;
pub(crate) mod delays;
mod frame;
mod message;
mod sums;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::Instant,
};
use tower::BoxError;

pub(crate) use self::client::hold;
pub(crate) use self::sums::{Pair, Sums};
use self::{count::Track, delays::Delays, message::Message};
use super::engine::until;

/// How much of it there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) groups: u16,
    /// On each node.
    pub(crate) members_per_group: u16,
    /// Between two messages of a sender, of which there is one per group and node.
    pub(crate) interval: Duration,
    /// Of a message, in bytes.
    pub(crate) size: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            groups: 100,
            members_per_group: 10,
            interval: Duration::from_millis(500),
            size: 100,
        }
    }
}

/// Before the fault, while it lasts, and after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Calm = 0,
    Fault = 1,
    After = 2,
}

impl Phase {
    fn of(number: u8) -> Option<Self> {
        [Self::Calm, Self::Fault, Self::After]
            .into_iter()
            .find(|phase| *phase as u8 == number)
    }
}

pub(crate) struct Load {
    shared: Arc<Shared>,
    end: watch::Sender<bool>,
    clients: JoinSet<()>,
}

struct Shared {
    load: Shape,
    start: Instant,
    /// Where the nodes are.
    ports: [AtomicU16; 2],
    members: Vec<Member>,
    connecting: Semaphore,
    sending: watch::Sender<bool>,
    phase: Mutex<Phase>,
    /// When the fault was over, in µs since the start.
    healed: AtomicU64,
    /// By phase, and whether the sender is on another node.
    delays: [[Delays; 2]; 3],
    /// Whether clients of a node may be cut off.
    may_end: [AtomicBool; 2],
    wrong: Mutex<Vec<String>>,
}

struct Member {
    node: usize,
    group: u16,
    sends: bool,
    joined: AtomicBool,
    /// How often it has been cut off. A sender who comes again is another one to the receivers.
    ended: AtomicU32,
    /// Since it came the last time.
    sent: AtomicU32,
    sent_before: AtomicU32,
    seen: Mutex<Received>,
}

#[derive(Default)]
struct Received {
    tracks: BTreeMap<u32, (u8, Track)>,
    /// By node of the sender, when the last gap ended, or the first message came that was sent after the fault.
    whole: [Option<Duration>; 2],
}

impl Load {
    /// Connects all clients, and waits until each is a member of its group.
    pub(crate) async fn start(load: Shape, ports: [u16; 2]) -> Result<Self, BoxError> {
        let mut members = Vec::new();
        for node in 0..2 {
            for number in 0..load.groups * load.members_per_group {
                members.push(Member::new(
                    node,
                    number % load.groups,
                    number < load.groups,
                ));
            }
        }
        let shared = Arc::new(Shared {
            load,
            start: Instant::now(),
            ports: ports.map(AtomicU16::new),
            members,
            connecting: Semaphore::new(64),
            sending: watch::channel(false).0,
            phase: Mutex::new(Phase::Calm),
            healed: AtomicU64::new(u64::MAX),
            delays: Default::default(),
            may_end: Default::default(),
            wrong: Mutex::default(),
        });
        for (at, member) in shared.members.iter().enumerate() {
            shared.introduce(at, member);
        }
        let (end, ends) = watch::channel(false);
        let mut clients = JoinSet::new();
        for at in 0..shared.members.len() {
            clients.spawn(client::run(shared.clone(), at, ends.clone()));
        }
        let load = Self {
            shared,
            end,
            clients,
        };
        load.all_joined().await?;
        Ok(load)
    }

    /// Returns how many members a group has on each node.
    pub(crate) fn members_per_group(&self) -> u16 {
        self.shared.load.members_per_group
    }

    pub(crate) async fn all_joined(&self) -> Result<(), BoxError> {
        let members = &self.shared.members;
        until(
            "every client is a member",
            Duration::from_secs(120),
            async || {
                let left = members.iter().filter(|it| !it.joined.load(Relaxed)).count();
                match left {
                    0 => Ok(true),
                    left => Err(format!("{left} are not")),
                }
            },
        )
        .await
    }

    /// Lets the senders send, or stops them.
    pub(crate) fn send(&self, send: bool) {
        self.shared.sending.send_replace(send);
    }

    /// Says where a node is now, and that its clients are cut off.
    pub(crate) fn node_restarts(&self, node: usize) {
        self.shared.may_end[node].store(true, Relaxed);
        for member in self.shared.members.iter().filter(|it| it.node == node) {
            member.joined.store(false, Relaxed);
        }
    }

    pub(crate) fn node_is_at(&self, node: usize, port: u16) {
        self.shared.ports[node].store(port, Relaxed);
    }

    pub(crate) fn phase(&self, phase: Phase) {
        if phase == Phase::After {
            let now = self.shared.start.elapsed().as_micros();
            self.shared
                .healed
                .store(u64::try_from(now).unwrap_or(0), Relaxed);
        }
        *lock(&self.shared.phase) = phase;
    }

    /// Ends all clients.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        self.end.send_replace(true);
        while self.clients.join_next().await.is_some() {}
        self.wrong()
    }

    pub(crate) fn wrong(&self) -> Vec<String> {
        lock(&self.shared.wrong).clone()
    }
}

impl Shared {
    /// Lets every receiver in the group of a sender expect what it sends from the first message on.
    fn introduce(&self, at: usize, sender: &Member) {
        if !sender.sends {
            return;
        }
        let node = u8::try_from(sender.node).unwrap_or(u8::MAX);
        for member in self.members.iter().filter(|it| it.group == sender.group) {
            let id = sender.id(at);
            lock(&member.seen)
                .tracks
                .insert(id, (node, Track::from_the_start()));
        }
    }

    fn wrong(&self, what: String) {
        let mut wrong = lock(&self.wrong);
        if wrong.len() < MOST {
            wrong.push(what);
        }
    }

    /// A client was cut off.
    fn went(&self, member: &Member, why: &str) {
        if !self.may_end[member.node].load(Relaxed) {
            let (node, group) = (member.node, member.group);
            self.wrong(format!("a client of node {node}, group {group}: {why}"));
        }
        member.ended.fetch_add(1, Relaxed);
        let sent = member.sent.swap(0, Relaxed);
        member.sent_before.fetch_add(sent, Relaxed);
        member.joined.store(false, Relaxed);
        for (_, track) in lock(&member.seen).tracks.values_mut() {
            track.away();
        }
    }

    fn phase(&self) -> Phase {
        *lock(&self.phase)
    }

    fn healed(&self) -> Duration {
        Duration::from_micros(self.healed.load(Relaxed))
    }
}

impl Member {
    fn new(node: usize, group: u16, sends: bool) -> Self {
        Self {
            node,
            group,
            sends,
            joined: AtomicBool::new(false),
            ended: AtomicU32::new(0),
            sent: AtomicU32::new(0),
            sent_before: AtomicU32::new(0),
            seen: Mutex::default(),
        }
    }

    /// What it calls itself as a sender: another one each time it comes again.
    fn id(&self, at: usize) -> u32 {
        let at = u32::try_from(at).unwrap_or(0);
        (self.ended.load(Relaxed) << 16) | at
    }

    fn next_number(&self, at: usize) -> (u32, u32) {
        (self.id(at), self.sent.fetch_add(1, Relaxed))
    }
}

impl Received {
    fn receive(&mut self, message: &Message, now: Duration, healed: Duration) {
        let entry = self.tracks.entry(message.sender);
        let (_, track) = entry.or_insert_with(|| (message.node, Track::default()));
        let gap = matches!(track.see(message.number), count::Seen::Behind(_));
        if message.sent >= healed
            && let Some(whole) = self.whole.get_mut(usize::from(message.node))
            && (gap || whole.is_none())
        {
            *whole = Some(now);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many faults are kept.
const MOST: usize = 20;
