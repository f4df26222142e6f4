//! What has happened, in numbers.

use std::{collections::BTreeMap, time::Duration};

use super::round_trips::{RoundTripCounts, RttHistogram};
use crate::{
    lock::Lock,
    session::{report::SessionReport, traffic::Traffic},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// What the connections of some layers have done since they were made: a snapshot.
///
/// [`Connections::counters`](crate::Connections::counters) makes it. All but `open` only grow. Messages and bytes are
/// counted while connections live, not at their end. On a connection that does nothing else, broadcasts are counted at its
/// next ping, or after 14 KiB.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counters {
    /// The connections that are open now.
    pub open: usize,
    /// Handshakes that were accepted.
    pub accepted: u64,
    /// Accepted handshakes whose stream was never handed over.
    pub failed_upgrades: u64,
    /// Handshakes that were rejected, by the name of the [`Rejection`](crate::handshake::Rejection),
    /// or `Hook`.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Connections that ended, by the code of the first Close frame.
    ///
    /// It is 1005 if that frame had no code, and 1006 if there was no Close frame at all.
    pub closed: BTreeMap<u16, u64>,
    /// Messages received, without control frames.
    pub messages_received: u64,
    /// Bytes received, as they came: compressed, with headers and control frames.
    pub bytes_received: u64,
    /// Messages sent, or at least queued.
    pub messages_sent: u64,
    /// Bytes of the payload of messages sent, before compression.
    ///
    /// They cannot be compared with [`bytes_received`](Self::bytes_received).
    pub bytes_sent: u64,
    /// Messages that found the queue of their connection full, and did not wait.
    ///
    /// [`try_send`](crate::Sender::try_send) returned them, or a group dropped one, or closed its member.
    pub queue_full: u64,
    /// How long pongs took, of the pings that are [timed](crate::session::Rtt).
    ///
    /// For a connection that is open now, ask [`Sender::rtt`](crate::Sender::rtt).
    pub rtt: RttHistogram,
}

/// The counters as they are kept.
#[derive(Debug, Default)]
pub(super) struct Counting {
    accepted: AtomicU64,
    failed_upgrades: AtomicU64,
    /// Both change once a connection at most.
    refused: Lock<BTreeMap<&'static str, u64>>,
    closed: Lock<BTreeMap<u16, u64>>,
    traffic: [TrafficShard; SHARDS],
    round_trips: RoundTripCounts,
}

/// Counters that one core in some has to itself.
#[derive(Debug, Default)]
#[repr(align(128))]
struct TrafficShard {
    messages_received: AtomicU64,
    bytes_received: AtomicU64,
    messages_sent: AtomicU64,
    bytes_sent: AtomicU64,
    queue_full: AtomicU64,
}

impl Counting {
    pub(super) fn accept(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(super) fn fail_upgrade(&self) {
        self.failed_upgrades.fetch_add(1, Relaxed);
    }

    pub(super) fn refuse(&self, reason: &'static str) {
        let mut refused = self.refused.lock();
        *refused.entry(reason).or_default() += 1;
    }

    pub(super) fn end(&self, report: &SessionReport) {
        let mut closed = self.closed.lock();
        *closed.entry(report.close_code).or_default() += 1;
    }

    pub(super) fn measure(&self, round_trip: Duration) {
        self.round_trips.add(round_trip);
    }

    /// Adds what went over the connection that `number` stands for.
    pub(super) fn add(&self, number: u64, traffic: Traffic) {
        let shard = &self.traffic[number as usize % SHARDS];
        add(&shard.messages_received, traffic.messages_received);
        add(&shard.bytes_received, traffic.bytes_received);
        add(&shard.messages_sent, traffic.messages_sent);
        add(&shard.bytes_sent, traffic.bytes_sent);
        add(&shard.queue_full, traffic.queue_full);
    }

    pub(super) fn snapshot(&self, open: usize) -> Counters {
        let sum = |counter: fn(&TrafficShard) -> &AtomicU64| {
            let counters = self.traffic.iter().map(counter);
            counters.map(|counter| counter.load(Relaxed)).sum()
        };
        Counters {
            open,
            accepted: self.accepted.load(Relaxed),
            failed_upgrades: self.failed_upgrades.load(Relaxed),
            rejected: self.refused.lock().clone(),
            closed: self.closed.lock().clone(),
            messages_received: sum(|shard| &shard.messages_received),
            bytes_received: sum(|shard| &shard.bytes_received),
            messages_sent: sum(|shard| &shard.messages_sent),
            bytes_sent: sum(|shard| &shard.bytes_sent),
            queue_full: sum(|shard| &shard.queue_full),
            rtt: self.round_trips.snapshot(),
        }
    }
}

fn add(counter: &AtomicU64, more: u64) {
    if more > 0 {
        counter.fetch_add(more, Relaxed);
    }
}

/// How many cores can count without getting in each other's way.
const SHARDS: usize = 16;
