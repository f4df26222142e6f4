//! One connection in a registry.

use std::{cell::Cell, sync::Arc, time::Duration};

use super::shards::Registry;
use crate::{
    protocol::CloseFrame,
    session::{id::ConnectionId, report::SessionReport, shared::Shared, traffic::Traffic},
    sync::atomic::Ordering,
};

/// The place that is kept for a connection from the answer to its handshake on.
///
/// Dropped before it is taken: the stream was not handed over, and there will be no session.
pub(crate) struct Place(Option<Entry>);

impl Place {
    pub(super) fn new(entry: Entry) -> Self {
        Self(Some(entry))
    }

    pub(crate) fn id(&self) -> Option<ConnectionId> {
        self.0.as_ref().map(|entry| entry.id)
    }

    /// Takes the place, for as long as the session lives.
    pub(crate) fn take(mut self) -> Option<Entry> {
        self.0.take()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            entry.registry.counting.fail_upgrade();
            entry.leave();
        }
    }
}

/// A connection in the registry.
pub(crate) struct Entry {
    id: ConnectionId,
    registry: Arc<Registry>,
    /// What was added to the counters so far.
    counted: Cell<Traffic>,
}

/// Tells of a drain those who are not found by their number.
pub(crate) struct Drains(Arc<Registry>);

#[cfg_attr(
    not(feature = "client"),
    expect(dead_code, reason = "gateways have such")
)]
impl Drains {
    /// Waits for a drain; gives what to close with.
    pub(crate) async fn begun(&self) -> CloseFrame {
        loop {
            let draining = self.0.draining.notified();
            if let Some(closing) = self.0.doors.closed() {
                return closing.frame.clone();
            }
            draining.await;
        }
    }

    /// Waits until a drain has no more time.
    pub(crate) async fn out_of_time(&self) {
        self.0.aborting.notified().await;
    }
}

/// For a connection that is counted, and in no list: there is no handle of it.
#[cfg_attr(
    not(feature = "client"),
    expect(dead_code, reason = "gateways have such")
)]
impl Entry {
    pub(crate) fn open_unlisted(self) -> Unlisted {
        self.registry.open.fetch_add(1, Ordering::Relaxed);
        self.registry.unlisted.fetch_add(1, Ordering::Relaxed);
        Unlisted {
            entry: self,
            open: true,
        }
    }
}

/// Such a connection. Dropped it leaves the registry, however its task has ended.
pub(crate) struct Unlisted {
    entry: Entry,
    open: bool,
}

#[cfg_attr(
    not(feature = "client"),
    expect(dead_code, reason = "gateways have such")
)]
impl Unlisted {
    pub(crate) fn id(&self) -> ConnectionId {
        self.entry.id
    }

    /// Counts the end: the transports are gone.
    pub(crate) fn close(&mut self, report: &SessionReport, traffic: Traffic) {
        self.open = false;
        self.entry.registry.unlisted.fetch_sub(1, Ordering::Relaxed);
        self.entry.count(traffic);
        self.entry.close(report);
    }

    pub(crate) fn drains(&self) -> Drains {
        Drains(self.entry.registry.clone())
    }
}

impl Drop for Unlisted {
    fn drop(&mut self) {
        let registry = &*self.entry.registry;
        if self.open {
            registry.unlisted.fetch_sub(1, Ordering::Relaxed);
            registry.open.fetch_sub(1, Ordering::Relaxed);
        }
        self.entry.leave();
    }
}

impl Entry {
    pub(super) fn new(id: ConnectionId, registry: Arc<Registry>) -> Self {
        Self {
            id,
            registry,
            counted: Cell::default(),
        }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Registers the connection as open; gives what it has to be closed with at once, if it has.
    pub(crate) fn open(&self, shared: &Arc<Shared>) -> Option<&CloseFrame> {
        let registry = &*self.registry;
        registry.open.fetch_add(1, Ordering::Relaxed);
        registry.shard(self.id).insert(self.id, shared.clone());
        // Looked at after it could be found: whoever drains has seen it, or is seen here.
        registry.doors.closed().map(|closing| &closing.frame)
    }

    /// Counts the end: the transport is gone.
    pub(crate) fn close(&self, report: &SessionReport) {
        let registry = &*self.registry;
        registry.open.fetch_sub(1, Ordering::Relaxed);
        registry.counting.end(report);
    }

    /// Adds what went over the connection since the last time; `total` is what did so far.
    pub(crate) fn count(&self, total: Traffic) {
        let more = total.since(self.counted.replace(total));
        if more != Traffic::default() {
            let counting = &self.registry.counting;
            counting.add(self.id.as_u64(), more);
        }
    }

    /// Counts a round trip.
    pub(crate) fn measure(&self, time: Duration) {
        self.registry.counting.measure(time);
    }

    /// Leaves the registry: the session is gone, and its handler with it.
    pub(crate) fn leave(&self) {
        let registry = &*self.registry;
        let removed = registry.shard(self.id).remove(&self.id);
        drop(removed);
        registry.leave();
    }
}
