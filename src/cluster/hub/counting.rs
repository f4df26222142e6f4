//! Counting the members of a group on all nodes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::Instant,
};

use tokio::sync::watch;
use tracing::error;

use super::{Counting, Hub, HubState, now};
use crate::{
    cluster::{
        asked::Asked,
        counts::{Asking, Tally},
        deliver::Deliver,
        question::QuestionId,
        topic::Topic,
    },
    sync::within,
};

impl Hub {
    /// Returns how many members a group has here, and what other nodes say.
    pub(crate) async fn count(self: Arc<Self>, topic: Topic) -> (usize, Tally) {
        let asking = self.with(|state, now| {
            let asking = state.core.ask(&topic, now);
            state.wait_for(asking)
        });
        let others = match asking {
            Ok(tally) => tally,
            Err((id, until, answers)) => {
                let hub = self.clone();
                let waiting = Waiting { hub, id };
                waiting.answered(until, answers).await
            }
        };
        // Last, so that they are those that are there now.
        let here = self.with_quickly(|state| state.core.group(&topic));
        (members(here), others)
    }

    /// Answers a question of another node.
    #[cold]
    pub(super) fn answer(&self, asked: Asked<Weak<dyn Deliver>>) {
        let Asked { by, id, group } = asked;
        let members = members(group);
        self.with(|state, now| state.core.answer(by, id, members, now));
    }
}

/// A question, until when it is waited for, and where the answers are told.
type Running = (QuestionId, Instant, watch::Receiver<Option<Tally>>);

impl HubState {
    /// Has somebody wait for answers, if they are not here.
    fn wait_for(&mut self, asking: Asking) -> Result<Tally, Running> {
        let (id, until) = match asking {
            Asking::Known(tally) => return Ok(tally),
            Asking::Waits(id, until) => (id, until),
        };
        let counting = self.counted.entry(id).or_insert_with(|| Counting {
            waiting: 0,
            told: watch::channel(None).0,
        });
        counting.waiting += 1;
        Err((id, until, counting.told.subscribe()))
    }
}

/// Somebody who waits for the answers to a question.
struct Waiting {
    hub: Arc<Hub>,
    id: QuestionId,
}

impl Waiting {
    /// Returns the answers there are once all are, or it is time.
    async fn answered(self, until: Instant, mut answers: watch::Receiver<Option<Tally>>) -> Tally {
        let left = until.saturating_duration_since(now());
        within(left, async { drop(answers.changed().await) }).await;
        if answers.borrow().is_none() {
            // All who wait are told, this one among them.
            self.hub
                .with(|state, now| state.core.end_question(self.id, now));
            drop(answers.changed().await);
        }
        let tally = *answers.borrow();
        tally.unwrap_or_else(|| self.hub.with_quickly(|state| state.core.unheard()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.hub.with_quickly(|state| {
            let Some(counting) = state.counted.get_mut(&self.id) else {
                return;
            };
            counting.waiting -= 1;
            if counting.waiting == 0 {
                state.counted.remove(&self.id);
                state.core.forget_question(self.id);
            }
        });
    }
}

/// Returns how many members a group has. What panics when it is dropped here harms nothing.
fn members(group: Option<Weak<dyn Deliver>>) -> usize {
    let mut members = 0;
    let count = || {
        let group = group.and_then(|group| group.upgrade());
        members = group.map_or(0, |group| group.members());
    };
    if catch_unwind(AssertUnwindSafe(count)).is_err() {
        error!("a group was counted, and something panicked");
    }
    members
}
