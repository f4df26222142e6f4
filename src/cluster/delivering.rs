//! The task that delivers here what other nodes sent.

use std::{
    collections::HashSet,
    future::poll_fn,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{task::yield_now, time::Instant};
use tracing::{Instrument, Span, error, warn};

use super::{
    deliver::{Deliver, Gap, Parcel},
    envelope::Carried,
    hub::Hub,
    incoming::{Inbound, Target},
    topic::Topic,
};
use crate::{error::TrySendError, protocol::CloseCode};

/// Delivers what comes, until the node has left.
///
/// What is done at once is done here. What takes longer, as a broadcast to many does, goes on in a task of
/// its own; its topic waits for it, and no other one does.
pub(super) async fn deliver_all(hub: Arc<Hub>) {
    let mut gaps = Gaps::default();
    let mut done = None;
    let mut in_a_row = 0;
    loop {
        let inbound = match hub.next_delivery(done.take()) {
            Next::Inbound(inbound) => inbound,
            Next::Over => return,
            Next::Nothing => {
                gaps.rest();
                hub.deliveries.notified().await;
                in_a_row = 0;
                continue;
            }
        };
        gaps.count(&inbound);
        done = deliver_unharmed(&hub, inbound).await;
        in_a_row += 1;
        if in_a_row == IN_A_ROW {
            in_a_row = 0;
            yield_now().await;
        }
    }
}

enum Next {
    Inbound(Inbound<Weak<dyn Deliver>>),
    Nothing,
    Over,
}

/// As [`deliver`]. What panics, be it a payload or a key that is dropped here, harms nothing else.
async fn deliver_unharmed(hub: &Arc<Hub>, inbound: Inbound<Weak<dyn Deliver>>) -> Option<Topic> {
    let topic = inbound.topic.clone();
    let mut inbound = Some(inbound);
    let delivered = poll_fn(|cx| {
        let inbound = inbound.take();
        let deliver = || inbound.and_then(|inbound| deliver(hub, inbound, cx));
        Poll::Ready(catch_unwind(AssertUnwindSafe(deliver)))
    });
    delivered.await.unwrap_or_else(|_| {
        error!("what another node sent was delivered, and something panicked");
        Some(topic)
    })
}

/// Delivers, or has it go on elsewhere. Returns the topic that may have its next turn.
fn deliver(
    hub: &Arc<Hub>,
    inbound: Inbound<Weak<dyn Deliver>>,
    cx: &mut Context<'_>,
) -> Option<Topic> {
    let topic = inbound.topic.clone();
    let Some(mut delivery) = begin(hub, inbound) else {
        return Some(topic);
    };
    if delivery.as_mut().poll(cx).is_ready() {
        return Some(topic);
    }
    let mut busy = Busy {
        hub: hub.clone(),
        topic: Some(topic),
    };
    let rest = async move {
        delivery.await;
        // At once, so that members get what follows in the same write.
        while let Some(inbound) = busy.next() {
            if let Some(delivery) = begin(&busy.hub, inbound) {
                delivery.await;
            }
        }
    };
    tokio::spawn(rest.instrument(Span::current()));
    None
}

/// Begins to deliver; `None` if all is done.
fn begin(hub: &Hub, inbound: Inbound<Weak<dyn Deliver>>) -> Option<Delivering> {
    let Target::Group(group) = inbound.target else {
        if let Some(carried) = inbound.carried {
            hub.tell_connection(carried);
        }
        return None;
    };
    let group = group.upgrade()?;
    if let (Some(from), missed @ 1..) = (inbound.from, inbound.missed) {
        group.clone().missed(Gap { from, missed });
    }
    let parcel = match inbound.carried {
        Some(Carried::Message(message)) => Parcel::Message(message),
        Some(Carried::Close(frame)) => Parcel::Close(frame),
        // Not obeyed, or not to a group.
        None | Some(Carried::MessageTo(..) | Carried::CloseConnection(..)) => return None,
    };
    Some(group.deliver(parcel))
}

type Delivering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Keeps a topic busy until it is dropped, or there is nothing next.
struct Busy {
    hub: Arc<Hub>,
    topic: Option<Topic>,
}

impl Busy {
    /// Takes what is next of the topic.
    fn next(&mut self) -> Option<Inbound<Weak<dyn Deliver>>> {
        let topic = self.topic.as_ref()?;
        let next = self.hub.with_quickly(|state| state.core.next_of(topic));
        if next.is_none() {
            self.topic = None;
        }
        next
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(topic) = &self.topic {
            self.hub.with_quickly(|state| state.core.delivered(topic));
        }
    }
}

/// Groups that missed something, to be told now and then.
#[derive(Default)]
struct Gaps {
    topics: HashSet<Topic>,
    missed: u64,
    told: Option<Instant>,
}

impl Gaps {
    fn count(&mut self, inbound: &Inbound<Weak<dyn Deliver>>) {
        if inbound.missed > 0 {
            self.topics.insert(inbound.topic.clone());
            self.missed += inbound.missed;
        }
        self.rest();
    }

    /// Tells what there is, once a second at most.
    fn rest(&mut self) {
        if self.topics.is_empty() {
            return;
        }
        let now = Instant::now();
        if self.told.is_some_and(|told| now - told < PER_WARNING) {
            return;
        }
        self.told = Some(now);
        let groups = mem::take(&mut self.topics).len();
        let missed = mem::take(&mut self.missed);
        warn!(
            groups,
            missed, "messages of other nodes did not come: see `scaling#after-a-gap`"
        );
    }
}

impl Hub {
    fn next_delivery(&self, done: Option<Topic>) -> Next {
        self.with_quickly(|state| {
            if let Some(topic) = &done {
                state.core.delivered(topic);
            }
            if let Some(inbound) = state.core.poll_delivery() {
                return Next::Inbound(inbound);
            }
            if state.over {
                return Next::Over;
            }
            state.delivery_waits = true;
            Next::Nothing
        })
    }

    /// Does what is for one connection of this node.
    pub(super) fn tell_connection(&self, carried: Carried) {
        let (Carried::MessageTo(id, _) | Carried::CloseConnection(id, _)) = carried else {
            return;
        };
        let attached = self.with(|state, _| state.attached.clone());
        let Some(sender) = attached.iter().find_map(|connections| connections.get(id)) else {
            self.with(|state, _| state.core.count_unheard());
            return;
        };
        match carried {
            Carried::MessageTo(_, message) => {
                if let Err(TrySendError::Full(_)) = sender.try_send(message) {
                    self.with(|state, _| state.core.count_overrun());
                }
            }
            Carried::CloseConnection(_, frame) => {
                sender.close(frame.unwrap_or_else(|| CloseCode::NORMAL.into()));
            }
            Carried::Message(_) | Carried::Close(_) => {}
        }
    }
}

/// After so many deliveries other tasks of the runtime have their turn.
const IN_A_ROW: usize = 32;

/// How often a warning about gaps may be logged.
const PER_WARNING: Duration = Duration::from_secs(1);
