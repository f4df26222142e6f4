//! What all links to an engine within the process share.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::connected::{Connected, Faults, Passing, Said};
use crate::{
    cluster::{
        backplane::{BackplaneError, Command, Publish},
        topic::Topic,
    },
    lock::Lock,
    sync::Notify,
};

/// An engine, and the links to it.
pub(super) struct MemoryEngine {
    state: Lock<EngineState>,
    /// Told when links have changed.
    pub(super) changed: Notify,
}

/// Which topics are refused.
pub(super) type Denies = Arc<dyn Fn(&Topic) -> bool + Send + Sync>;

struct EngineState {
    links: Vec<Link>,
    /// By number: so they are always told in the same order.
    connections: BTreeMap<u64, Connected>,
    last_connection: u64,
    denies: Denies,
    /// To be woken once the lock is released.
    woken: Vec<Arc<Notify>>,
}

#[derive(Default)]
struct Link {
    faults: Faults,
    /// What was published while nothing passed, by connections that were given up since.
    late: Vec<(Topic, Bytes)>,
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self {
            state: Lock::new(EngineState {
                links: Vec::new(),
                connections: BTreeMap::new(),
                last_connection: 0,
                denies: Arc::new(|_| false),
                woken: Vec::new(),
            }),
            changed: Notify::new(),
        }
    }
}

impl MemoryEngine {
    fn with<T>(&self, change: impl FnOnce(&mut EngineState) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state);
        let woken = mem::take(&mut state.woken);
        drop(state);
        for woken in woken {
            woken.notify_one();
        }
        result
    }

    pub(super) fn add_link(&self) -> usize {
        self.with(|state| {
            state.links.push(Link::default());
            state.links.len() - 1
        })
    }

    /// Changes what goes wrong on a link.
    pub(super) fn change(&self, link: usize, change: impl FnOnce(&mut Faults)) {
        self.with(|state| change(&mut state.links[link].faults));
    }

    pub(super) fn cut(&self, link: usize) {
        self.with(|state| {
            state.links[link].faults.is_cut = true;
            state.break_all(Some(link), "the link was cut");
        });
        self.changed.notify_waiters();
    }

    pub(super) fn heal(&self, link: usize) {
        self.with(|state| {
            let healed = mem::take(&mut state.links[link]);
            for (topic, envelope) in healed.late {
                state.publish(None, &topic, &envelope);
            }
            state.release(link);
            state.wake_all();
        });
        self.changed.notify_waiters();
    }

    pub(super) fn restart(&self) {
        self.with(|state| {
            state.links.iter_mut().for_each(|link| link.late.clear());
            state.break_all(None, "the engine was restarted");
        });
    }

    pub(super) fn forget(&self) {
        self.with(|state| {
            for connection in state.connections.values_mut() {
                connection.topics.clear();
            }
        });
    }

    pub(super) fn deny(&self, denies: Denies) {
        let before = self.with(|state| mem::replace(&mut state.denies, denies));
        drop(before);
    }

    /// Makes a connection; `None` while nothing passes.
    pub(super) fn connect(&self, link: usize) -> Option<Result<(u64, Arc<Notify>), &'static str>> {
        self.with(|state| {
            let faults = &state.links[link].faults;
            if faults.is_cut {
                return Some(Err("the link is cut"));
            }
            if faults.is_frozen {
                return None;
            }
            state.last_connection += 1;
            let woken = Arc::new(Notify::new());
            let connection = Connected {
                link,
                topics: BTreeSet::new(),
                passing: VecDeque::new(),
                bytes: 0,
                behind: None,
                said: VecDeque::new(),
                broken: None,
                woken: woken.clone(),
            };
            state.connections.insert(state.last_connection, connection);
            Some(Ok((state.last_connection, woken)))
        })
    }

    pub(super) fn disconnect(&self, id: u64) {
        let gone = self.with(|state| {
            let mut gone = state.connections.remove(&id)?;
            if gone.broken.is_none() {
                let late = gone.said.drain(..).filter_map(|said| match said {
                    Said::Publish(topic, envelope, _) => Some((topic, envelope)),
                    Said::Subscribe { .. } | Said::Unsubscribe(_) => None,
                });
                state.links[gone.link].late.extend(late);
            }
            Some(gone)
        });
        drop(gone);
    }

    /// Has something done, at once or as soon as the link lets it pass.
    pub(super) fn obey(&self, id: u64, command: Command) {
        let said = match command {
            Command::Publish(publish) => self.envelope(&publish),
            Command::Subscribe(topics) => {
                // A function of the test: not under the lock.
                let denies = self.with(|state| state.denies.clone());
                let (denied, permitted) = topics.into_iter().partition(|topic| denies(topic));
                Said::Subscribe { permitted, denied }
            }
            Command::Unsubscribe(topics) => Said::Unsubscribe(topics),
            Command::Leave => return,
        };
        self.with(|state| {
            let Some(connection) = state.connections.get_mut(&id) else {
                return;
            };
            connection.said.push_back(said);
            state.hear(id);
        });
    }

    fn envelope(&self, publish: &Publish) -> Said {
        let envelope = [publish.head(), publish.payload()].concat();
        Said::Publish(publish.topic().clone(), envelope.into(), publish.ticket())
    }

    /// Takes what has come next.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub(super) fn next(&self, id: u64, now: Instant) -> Result<Option<Passing>, BackplaneError> {
        let next = self.with(|state| {
            state.hear(id);
            let Some(connection) = state.connections.get_mut(&id) else {
                return Ok(None);
            };
            let faults = &state.links[connection.link].faults;
            if faults.is_frozen && !faults.is_cut {
                return Ok(None);
            }
            if let Some(why) = connection.broken {
                return Err(why);
            }
            if connection.passing.front().is_none_or(|(due, _)| *due > now) {
                return Ok(None);
            }
            let next = connection.passing.pop_front().map(|(_, passing)| passing);
            if let Some(Passing::Envelope(_, envelope)) = &next {
                connection.bytes -= envelope.len();
            }
            Ok(next)
        });
        next.map_err(BackplaneError::broken)
    }

    /// Returns when something will be there that is not yet.
    pub(super) fn due(&self, id: u64) -> Option<Instant> {
        self.with(|state| {
            let connection = state.connections.get(&id)?;
            let faults = &state.links[connection.link].faults;
            let front = connection.passing.front();
            front.filter(|_| !faults.is_frozen).map(|(due, _)| *due)
        })
    }
}

impl EngineState {
    /// Does what was said on a connection, unless nothing passes.
    fn hear(&mut self, id: u64) {
        while let Some(connection) = self.connections.get_mut(&id) {
            let is_frozen = self.links[connection.link].faults.is_frozen;
            if is_frozen || connection.broken.is_some() {
                return;
            }
            let Some(said) = connection.said.pop_front() else {
                return;
            };
            match said {
                Said::Publish(topic, envelope, ticket) => {
                    let link = connection.link;
                    self.publish(Some(link), &topic, &envelope);
                    self.answer(id, Passing::Published(ticket));
                }
                Said::Subscribe { permitted, denied } => {
                    connection.topics.extend(permitted.iter().cloned());
                    self.answer(id, Passing::Subscribed(permitted));
                    self.answer(id, Passing::Denied(denied));
                }
                Said::Unsubscribe(topics) => {
                    connection.topics.retain(|topic| !topics.contains(topic));
                }
            }
        }
    }

    fn answer(&mut self, id: u64, answer: Passing) {
        if let Some(connection) = self.connections.get_mut(&id) {
            let delay = self.links[connection.link].faults.delay;
            connection.push(answer, delay);
            self.woken.push(connection.woken.clone());
        }
    }

    /// Sends an envelope to all that have subscribed to its topic; `from` which link it comes.
    fn publish(&mut self, from: Option<usize>, topic: &Topic, envelope: &Bytes) {
        for connection in self.connections.values_mut() {
            if !connection.topics.contains(topic) || connection.broken.is_some() {
                continue;
            }
            let counts = from != Some(connection.link) && !is_heartbeats(topic);
            let faults = &mut self.links[connection.link].faults;
            connection.take(topic, envelope, faults, counts);
            self.woken.push(connection.woken.clone());
        }
    }

    fn break_all(&mut self, link: Option<usize>, why: &'static str) {
        for connection in self.connections.values_mut() {
            if link.is_none_or(|link| connection.link == link) {
                connection.end(why);
                self.woken.push(connection.woken.clone());
            }
        }
    }

    /// Lets pass what waits for an envelope after it.
    fn release(&mut self, link: usize) {
        let all = self.connections.values_mut();
        for connection in all.filter(|connection| connection.link == link) {
            if let Some(behind) = connection.behind.take() {
                connection.push_envelope(behind, Duration::ZERO);
            }
        }
    }

    fn wake_all(&mut self) {
        let woken = self.connections.values();
        self.woken
            .extend(woken.map(|connection| connection.woken.clone()));
    }
}

/// Reports whether heartbeats are published to a topic.
fn is_heartbeats(topic: &Topic) -> bool {
    topic.groups() == b"!" && topic.key() == b"all"
}
