//! Where connections are found, and what is counted of all of them.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use super::{closing::Closing, counters::Counting, doors::Doors};
use crate::{
    lock::{Lock, LockGuard},
    protocol::random,
    session::{handle::Sender, id::ConnectionId, shared::Shared},
    sync::{
        FairMutex, Notify,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

pub(super) struct Registry {
    /// Each connection in the shard of its number, so that cores seldom meet.
    shards: [Lock<Shard>; SHARDS],
    pub(super) open: AtomicUsize,
    /// For connections from the answer to the handshake until their handler is gone, too; closed,
    /// with how that is done, once they are drained.
    pub(super) doors: Doors<Closing>,
    /// The next number, where they are not drawn at random.
    next: Option<AtomicU64>,
    /// How many are in no shard.
    pub(super) unlisted: AtomicUsize,
    /// Told to those, who would not be found: the doors are closed.
    pub(super) draining: Notify,
    /// Told to those: a drain has no more time.
    pub(super) aborting: Notify,
    /// The last one inside has left.
    empty: Notify,
    pub(super) counting: Counting,
    /// Held by one broadcast at a time.
    pub(super) broadcasts: FairMutex<()>,
}

impl Registry {
    /// Makes a registry whose connections are numbered from `next` on, or at random.
    pub(super) fn new(next: Option<AtomicU64>) -> Self {
        Self {
            shards: Default::default(),
            open: AtomicUsize::new(0),
            doors: Doors::new(),
            next,
            unlisted: AtomicUsize::new(0),
            draining: Notify::new(),
            aborting: Notify::new(),
            empty: Notify::new(),
            counting: Counting::default(),
            broadcasts: FairMutex::new(()),
        }
    }

    /// Waits until the last one inside has left.
    pub(super) async fn wait_until_empty(&self) {
        loop {
            let empty = self.empty.notified();
            if self.doors.inside() == 0 {
                return;
            }
            empty.await;
        }
    }

    pub(super) fn shard(&self, id: ConnectionId) -> LockGuard<'_, Shard> {
        self.lock(id.as_u64() as usize % SHARDS)
    }

    fn lock(&self, index: usize) -> LockGuard<'_, Shard> {
        // Nothing under the lock can panic half-way.
        self.shards[index].lock()
    }

    /// Returns the numbers of the connections in a shard: no connection itself is touched.
    pub(super) fn ids(&self, index: usize) -> Vec<ConnectionId> {
        self.lock(index).keys().copied().collect()
    }

    /// Finds a connection, whether or not its transport is still there.
    pub(super) fn find(&self, id: ConnectionId) -> Option<Sender> {
        let shared = self.shard(id).get(&id).cloned();
        shared.map(Sender::new)
    }

    /// There is one less that is alive.
    pub(super) fn leave(&self) {
        if self.doors.leave() {
            self.empty.notify_waiters();
        }
    }

    /// A number that no open connection has: two of 2^64 at random are never the same.
    pub(super) fn next_id(&self) -> ConnectionId {
        ConnectionId::new(match &self.next {
            Some(next) => next.fetch_add(1, Ordering::Relaxed),
            None => u64::from_ne_bytes(random()),
        })
    }
}

/// The connections with some of the numbers.
///
/// Nobody but the server chooses those, so that a simple hash does, which is the same each time.
type Shard = HashMap<ConnectionId, Arc<Shared>, BuildHasherDefault<Hash>>;

/// Hashes a number.
#[derive(Default)]
pub(super) struct Hash(u64);

impl Hasher for Hash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // An odd number near 2^64 divided by the golden ratio: neighbours end far from each other.
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// How many cores can open and close connections without getting in each other's way.
pub(super) const SHARDS: usize = 16;
