//! What one connection holds of a budget.

use std::{fmt, sync::Arc, task::Waker};

use super::{
    held::Held,
    ledger::{Holder, Ledger},
};
use crate::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// What one connection holds of a budget. Dropping it gives that back.
pub(crate) struct Account {
    ledger: Arc<Ledger>,
    charged: usize,
    /// Present once the connection holds much.
    holder: Option<Arc<Holder>>,
}

#[cfg_attr(
    not(feature = "layer"),
    expect(dead_code, reason = "sessions have one")
)]
impl Account {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        Self {
            ledger,
            charged: 0,
            holder: None,
        }
    }

    /// Records what the connection holds now, alone and in all.
    ///
    /// If that is too much for the budget, this condemns the connections that hold most and wakes
    /// their sessions. `session` wakes this connection's.
    pub(crate) fn settle(&mut self, held: Held, session: &Waker) {
        self.charge(held.own);
        if self.is_condemned() {
            return self.is_on_its_way(held.own);
        }
        // Connections that are not entered hold no more than half of the budget together.
        let scarce = self.ledger.left() < self.ledger.limit / 2;
        if held.weight >= if scarce { SOME } else { MUCH } {
            self.be_known(held, session);
        } else if let Some(holder) = &self.holder {
            holder.own.store(held.own, Relaxed);
            holder.weight.store(held.weight, Relaxed);
        }
        let limit = self.ledger.limit;
        if self.ledger.stays() > limit {
            self.ledger.free(limit / 8);
        }
    }

    /// Records how much of it is still to be given up.
    fn is_on_its_way(&self, own: usize) {
        if let Some(holder) = &self.holder {
            let before = holder.condemned.load(Relaxed);
            let less = before.saturating_sub(own);
            holder.condemned.store(before - less, Relaxed);
            self.ledger.condemned.fetch_sub(less, Relaxed);
        }
    }

    fn charge(&mut self, own: usize) {
        let ledger = &*self.ledger;
        if own > self.charged {
            ledger.used.fetch_add(own - self.charged, Relaxed);
        } else if own < self.charged {
            ledger.give_back(self.charged - own);
        }
        self.charged = own;
    }

    /// Enters the connection among those that may be condemned.
    fn be_known(&mut self, held: Held, session: &Waker) {
        if let Some(holder) = &self.holder {
            holder.own.store(held.own, Relaxed);
            holder.weight.store(held.weight, Relaxed);
            if holder.session.will_wake(session) {
                return;
            }
            // Its session has moved to another task.
            self.be_forgotten();
        }
        let ledger = &*self.ledger;
        let number = ledger.next.fetch_add(1, Relaxed);
        let holder = Arc::new(Holder {
            number,
            weight: AtomicUsize::new(held.weight),
            own: AtomicUsize::new(held.own),
            condemned: AtomicUsize::new(0),
            is_condemned: AtomicBool::new(false),
            session: session.clone(),
        });
        ledger.shard(number).insert(number, holder.clone());
        self.holder = Some(holder);
    }

    fn be_forgotten(&mut self) {
        let Some(holder) = self.holder.take() else {
            return;
        };
        let ledger = &*self.ledger;
        let known = ledger.shard(holder.number).remove(&holder.number);
        drop(known);
        // A thread that found the holder before sees it condemned.
        if holder.is_condemned.swap(true, AcqRel) {
            let condemned = holder.condemned.load(Relaxed);
            ledger.condemned.fetch_sub(condemned, Relaxed);
        }
    }

    /// Condemns this connection itself.
    pub(crate) fn condemn(&mut self, session: &Waker) {
        if self.holder.is_none() {
            let held = Held {
                own: self.charged,
                weight: self.charged,
            };
            self.be_known(held, session);
        }
        if let Some(holder) = &self.holder {
            holder.condemn(&self.ledger);
            session.wake_by_ref();
        }
    }

    /// Reports whether the connection has to give up what it holds.
    pub(crate) fn is_condemned(&self) -> bool {
        let holder = self.holder.as_ref();
        holder.is_some_and(|holder| holder.is_condemned.load(Acquire))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.be_forgotten();
        self.charge(0);
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("charged", &self.charged)
            .finish_non_exhaustive()
    }
}

/// A connection that holds less than this, in bytes, is never condemned.
const SOME: usize = 4 << 10;

/// A connection that holds less than this, in bytes, is not condemned while half of the budget is left.
const MUCH: usize = 64 << 10;
