//! What is held of a budget, and by which connections.

use std::{array, collections::BTreeMap, sync::Arc, task::Waker};

use crate::{
    lock::{Lock, LockGuard},
    sync::atomic::{
        AtomicBool, AtomicU64, AtomicUsize,
        Ordering::{AcqRel, Relaxed},
    },
};

/// What is held of a budget, and by which connections.
pub(super) struct Ledger {
    pub(super) limit: usize,
    pub(super) used: AtomicUsize,
    /// What condemned connections still hold: those that have to give it up.
    pub(super) condemned: AtomicUsize,
    /// How many connections were condemned so far.
    pub(super) closed: AtomicU64,
    /// The next holder's number.
    pub(super) next: AtomicU64,
    /// The connections that hold much, each in the shard of its number; the oldest first.
    holders: [Lock<BTreeMap<u64, Arc<Holder>>>; SHARDS],
    /// Held while one thread chooses which connections to condemn.
    deciding: Lock<()>,
    /// The log has a warning that memory is short, and it still is.
    pub(super) warned: AtomicBool,
}

/// A connection that holds much.
pub(super) struct Holder {
    pub(super) number: u64,
    /// All that it holds, including what it shares with others.
    pub(super) weight: AtomicUsize,
    /// What it held alone when it was condemned, less what it has given up since.
    pub(super) condemned: AtomicUsize,
    pub(super) is_condemned: AtomicBool,
    /// What it holds alone.
    pub(super) own: AtomicUsize,
    pub(super) session: Waker,
}

impl Ledger {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
            condemned: AtomicUsize::new(0),
            closed: AtomicU64::new(0),
            next: AtomicU64::new(0),
            holders: array::from_fn(|_| Lock::default()),
            deciding: Lock::default(),
            warned: AtomicBool::new(false),
        }
    }

    pub(super) fn left(&self) -> usize {
        self.limit.saturating_sub(self.used.load(Relaxed))
    }

    /// Returns how many bytes connections hold that are not condemned.
    pub(super) fn stays(&self) -> usize {
        let condemned = self.condemned.load(Relaxed);
        self.used.load(Relaxed).saturating_sub(condemned)
    }

    /// Condemns connections until this many bytes will be free: the largest first, and of equals the
    /// one that has held longest.
    pub(super) fn free(&self, bytes: usize) {
        let target = self.limit.saturating_sub(bytes);
        if self.stays() <= target {
            return;
        }
        // A second thread that waits here finds nothing left to do.
        let deciding = self.deciding.lock();
        let mut excess = self.stays().saturating_sub(target);
        if excess == 0 {
            return;
        }
        let mut holders: Vec<_> = (0..SHARDS)
            .flat_map(|index| {
                let shard = self.shard(index as u64);
                let all: Vec<_> = shard.values().cloned().collect();
                all
            })
            .map(|holder| (holder.weight.load(Relaxed), holder))
            .filter(|(weight, holder)| *weight > 0 && !holder.is_condemned.load(Relaxed))
            .collect();
        holders.sort_by_key(|(weight, holder)| (usize::MAX - weight, holder.number));
        let told = holders.iter().take_while(|(weight, holder)| {
            let due = excess > 0;
            if due {
                excess = excess.saturating_sub(*weight);
                holder.condemn(self);
            }
            due
        });
        let told = told.count();
        // Wakers run foreign code.
        drop(deciding);
        for (_, holder) in &holders[..told] {
            holder.session.wake_by_ref();
        }
    }

    pub(super) fn shard(&self, number: u64) -> LockGuard<'_, BTreeMap<u64, Arc<Holder>>> {
        // Nothing under the lock can panic half-way.
        self.holders[number as usize % SHARDS].lock()
    }

    pub(super) fn give_back(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Relaxed);
        if before - bytes < self.limit / 2 && self.warned.load(Relaxed) {
            self.warned.store(false, Relaxed);
        }
    }
}

impl Holder {
    pub(super) fn condemn(&self, ledger: &Ledger) {
        let own = self.own.load(Relaxed);
        self.condemned.store(own, Relaxed);
        ledger.condemned.fetch_add(own, Relaxed);
        if self.is_condemned.swap(true, AcqRel) {
            // It has just been forgotten.
            ledger.condemned.fetch_sub(own, Relaxed);
        } else {
            ledger.closed.fetch_add(1, Relaxed);
        }
    }
}

/// How many cores can enter and leave without contention.
const SHARDS: usize = 16;
