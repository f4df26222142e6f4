//! What a node's handles, groups and tasks share.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::{oneshot, watch},
    time,
};

use super::{
    alive::Load,
    backplane::{BackplaneError, Command, Ticket},
    core::{Came, Core},
    counts::Tally,
    deliver::{Deliver, Parcel, Span},
    event_stream::ClusterEvent,
    events::Remote,
    publish_error::PublishError,
    question::QuestionId,
    topic::Topic,
    topic_map::TopicMap,
    waste::Waste,
};
use crate::{
    listeners::{Heard, Listeners},
    lock::Lock,
    session::Connections,
    sync::{Notify, within},
};

/// Where it is told what became of something published.
pub(crate) type Receipt = oneshot::Receiver<Published>;

/// What became of something published.
type Published = Result<(), PublishError>;

/// The core of a node as it is used: it knows a group by what delivers to it.
pub(super) type NodeCore = Core<Weak<dyn Deliver>>;

/// What a node's handles, groups and tasks share.
pub(crate) struct Hub {
    state: Lock<HubState>,
    /// Told when the line has something to do.
    pub(super) commands: Notify,
    /// Told when a deadline has come nearer, or all is over.
    pub(super) clock: Notify,
    /// Told when something is to be delivered, or all is over.
    pub(super) deliveries: Notify,
    /// Told when all that is wanted is subscribed, and when the node has left.
    progress: Notify,
}

/// What the lock is about.
pub(super) struct HubState {
    pub(super) core: NodeCore,
    pub(super) listeners: Listeners<ClusterEvent>,
    /// Groups that were built with this cluster, by their name.
    pub(super) spans: Vec<(Box<str>, Weak<dyn Span>)>,
    pub(super) attached: Vec<Connections>,
    pub(super) subscribed: TopicMap<Vec<oneshot::Sender<()>>>,
    confirmed: HashMap<Ticket, oneshot::Sender<Published>>,
    counted: HashMap<QuestionId, Counting>,
    /// What the core knows nothing of, to be told.
    pub(super) news: Option<ClusterEvent>,
    /// Why the connection ended that ended last.
    pub(super) ended: Option<BackplaneError>,
    /// Until when the clock sleeps; `None` while it does not.
    pub(super) asleep: Option<Option<Instant>>,
    /// The node has left, or its tasks have ended.
    pub(super) over: bool,
    pub(super) line_waits: bool,
    pub(super) delivery_waits: bool,
}

/// Where it is told what others have answered, and how many wait for that.
struct Counting {
    waiting: usize,
    told: watch::Sender<Option<Tally>>,
}

/// So much was looked at in vain that others are to have their turn.
pub(super) struct Later;

/// What is left to do where the lock is not held.
#[must_use]
#[derive(Default)]
pub(crate) struct Told {
    wakes: Wakes,
    /// Nothing, as a rule.
    more: Option<Box<ToldMore>>,
}

/// What is left to do now and then.
#[derive(Default)]
struct ToldMore {
    waste: Waste,
    heard: Heard<ClusterEvent>,
    /// Dropped here, since the errors in them are an engine's.
    events: Vec<ClusterEvent>,
    subscribed: Vec<oneshot::Sender<()>>,
    confirmed: Vec<(oneshot::Sender<Published>, Published)>,
    counted: Vec<(Counting, Tally)>,
    progress: bool,
    connected: bool,
    /// Who has to hear for how long there was no connection.
    reconnected: Option<(Duration, Vec<Weak<dyn Span>>)>,
}

impl Told {
    /// Returns where there is room for more than who is woken.
    fn more(&mut self) -> &mut ToldMore {
        self.more.get_or_insert_default()
    }
}

/// Which tasks have something to do.
#[derive(Clone, Copy, Default)]
struct Wakes {
    commands: bool,
    clock: bool,
    deliveries: bool,
}

impl Hub {
    pub(super) fn new(core: NodeCore) -> Self {
        Self {
            state: Lock::new(HubState {
                core,
                listeners: Listeners::default(),
                spans: Vec::new(),
                attached: Vec::new(),
                subscribed: TopicMap::default(),
                confirmed: HashMap::new(),
                counted: HashMap::new(),
                news: None,
                ended: None,
                asleep: None,
                over: false,
                line_waits: false,
                delivery_waits: false,
            }),
            commands: Notify::new(),
            clock: Notify::new(),
            deliveries: Notify::new(),
            progress: Notify::new(),
        }
    }

    /// Asks or tells the core something, and does what follows from it once the lock is released.
    ///
    /// Nothing of the application runs in `change`, and nothing of it is dropped there.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut HubState, Instant) -> T) -> T {
        let (result, told) = self.change(change);
        self.wake(told);
        result
    }

    /// As [`with`](Self::with), where a lock is held: what follows is to be done once it is released.
    fn change<T>(&self, change: impl FnOnce(&mut HubState, Instant) -> T) -> (T, Told) {
        let now = now();
        let mut state = self.state.lock();
        let result = change(&mut state, now);
        (result, state.tell())
    }

    /// As [`with`](Self::with), for what brings no deadline nearer.
    pub(super) fn with_quickly<T>(&self, change: impl FnOnce(&mut HubState) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state);
        let told = state.tell_quickly();
        drop(state);
        self.wake(told);
        result
    }

    /// Counts groups in and tells them of connections.
    ///
    /// # Panics
    ///
    /// There are groups with this name.
    pub(crate) fn register(&self, name: &str, span: Weak<dyn Span>) {
        let is_new = self.with(|state, _| {
            state.spans.retain(|(_, span)| span.strong_count() > 0);
            let is_known = state.spans.iter().any(|(other, _)| **other == *name);
            if !is_known {
                state.spans.push((name.into(), span));
            }
            !is_known
        });
        assert!(is_new, "this cluster has groups called {name:?} already");
    }

    /// Reports whether a group here has this topic.
    pub(crate) fn is_taken(&self, topic: &Topic) -> bool {
        self.state.lock().core.is_taken(topic)
    }

    /// Notes that a group has its first member here.
    pub(crate) fn want(&self, topic: &Topic, group: Weak<dyn Deliver>) -> Told {
        let want = |state: &mut HubState, _| state.core.add_interest(topic, group);
        self.change(want).1
    }

    /// Notes that a group has no more members here.
    pub(crate) fn stop(&self, topic: &Topic) -> Told {
        let (waiting, mut told) = self.change(|state, now| {
            state.core.remove_interest(topic, now);
            state.subscribed.remove(topic)
        });
        // They wait for nothing any more.
        if let Some(waiting) = waiting {
            told.more().subscribed.extend(waiting);
        }
        told
    }

    /// Takes what came from the engine.
    pub(super) fn receive(&self, topic: &[u8], envelope: Bytes) {
        let mut state = self.state.lock();
        let came = state.core.receive(topic, &envelope, now);
        let asked = match came {
            Came::Question => state.core.take_asked(),
            Came::Beat | Came::Other => None,
        };
        let told = match came {
            Came::Beat => state.tell(),
            Came::Question | Came::Other => state.tell_quickly(),
        };
        drop(state);
        self.wake(told);
        if let Some(asked) = asked {
            self.answer(asked);
        }
    }

    /// Reports whether half of what may wait for delivery does, or more.
    #[cfg(feature = "redis")]
    pub(super) fn is_half_full(&self) -> bool {
        self.state.lock().core.is_half_full()
    }

    /// Queues something for a group on other nodes, or says why not.
    pub(crate) fn publish(&self, topic: &Topic, parcel: Parcel) -> Remote {
        let carried = parcel.into();
        let now = now();
        let mut state = self.state.lock();
        let is_first = !state.core.has_waiting();
        let remote = state.core.publish(topic, &carried, now);
        let wakes = match remote {
            // What is refused changes nothing that anybody waits for.
            _ if remote.is_refused() => Wakes::default(),
            _ if is_first => state.wakes(),
            // Its deadline is behind that of the first.
            _ => state.wakes_at_once(),
        };
        let waste = state.core.has_waste().then(|| state.core.take_waste());
        drop(state);
        drop(waste);
        self.wake_tasks(wakes);
        remote
    }

    /// As [`publish`](Self::publish), and says where it will be told what became of it.
    ///
    /// # Errors
    ///
    /// It is refused.
    pub(crate) fn publish_confirmed(
        &self,
        topic: &Topic,
        parcel: Parcel,
    ) -> Result<(Remote, Receipt), PublishError> {
        let carried = parcel.into();
        let (waiting, receipt) = oneshot::channel();
        self.with(|state, now| {
            let published = state.core.publish_confirmed(topic, &carried, now);
            let (ticket, remote) = published.map_err(PublishError::refused)?;
            state.confirmed.insert(ticket, waiting);
            Ok((remote, receipt))
        })
    }

    /// Returns where it will be told that a topic is subscribed; `None` if it is.
    pub(crate) fn await_subscribed(&self, topic: &Topic) -> Option<oneshot::Receiver<()>> {
        let (waiting, receiver) = oneshot::channel();
        let mut given_up = Vec::new();
        let is_awaited = self.with(|state, _| {
            // Of a group that is gone nobody would say that it is subscribed.
            let is_gone = state.over || !state.core.is_taken(topic);
            if is_gone || state.core.await_subscribed(topic) {
                return false;
            }
            let all = state.subscribed.entry(topic.clone()).or_default();
            if all.len() == all.capacity() {
                // Some may have given up. They leave a waker behind, which is dropped without the lock.
                given_up.extend(all.extract_if(.., |waiting| waiting.is_closed()));
            }
            all.push(waiting);
            true
        });
        is_awaited.then_some(receiver)
    }

    /// Takes the next command for the line, which waits if there is none; `Err` if there may be one once others
    /// had their turn.
    pub(super) fn next_command(&self) -> Result<Option<Command>, Later> {
        self.with(|state, now| {
            let command = state.core.poll_command(now);
            if command.is_none() && state.core.has_command() {
                return Err(Later);
            }
            state.line_waits = command.is_none();
            Ok(command)
        })
    }

    /// Waits until all that is wanted is subscribed, or will never be.
    pub(super) async fn connected(self: Arc<Self>) {
        self.until(|state| state.over || state.core.is_connected())
            .await;
    }

    /// Waits until the node has left, but not for longer than that may take.
    pub(super) async fn left(&self, limit: Duration) {
        within(limit, self.until(|state| state.over)).await;
    }

    async fn until(&self, is_so: impl Fn(&HubState) -> bool) {
        loop {
            let progress = self.progress.notified();
            if self.with(|state, _| is_so(state)) {
                return;
            }
            progress.await;
        }
    }

    /// Notes that the tasks end: whoever waits for other nodes waits in vain.
    pub(super) fn end(&self) {
        let waiting = self.with(|state, now| {
            state.over = true;
            let ended = state.ended.take();
            state.core.stop(now);
            let subscribed = mem::take(&mut state.subscribed);
            (ended, subscribed, mem::take(&mut state.confirmed))
        });
        drop(waiting);
        self.progress.notify_waiters();
    }

    /// Tells the core what there is to carry here, for the next heartbeat.
    pub(super) fn weigh(&self) {
        let (spans, attached) = self.with(|state, _| {
            let spans = state.spans.iter().map(|(_, span)| span.clone());
            (spans.collect::<Vec<_>>(), state.attached.clone())
        });
        let groups = spans.iter().filter_map(Weak::upgrade);
        let groups = groups.map(|span| span.groups()).sum::<usize>();
        let connections = attached.iter().map(Connections::len).sum::<usize>();
        let load = Load {
            connections: u32::try_from(connections).unwrap_or(u32::MAX),
            groups: u32::try_from(groups).unwrap_or(u32::MAX),
            draining: attached.iter().any(Connections::is_draining),
        };
        self.with(|state, _| state.core.set_load(load));
        // The last of one may be dropped here.
        drop((spans, attached));
    }
}

/// Returns the time as the runtime has it.
pub(super) fn now() -> Instant {
    time::Instant::now().into_std()
}

mod counting;
mod telling;
#[cfg(all(test, feature = "testing"))]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
