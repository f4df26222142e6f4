//! What has happened, in numbers.

use std::{collections::BTreeMap, sync::PoisonError};

use crate::{
    session::Report,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What the connections of some layers have done since they were made: a snapshot, made by
/// [`Connections::counters`](crate::Connections::counters).
///
/// All but `open` only grow. Messages and bytes are counted while connections live, not at their
/// end.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counters {
    /// The connections that are open now.
    pub open: usize,
    /// Handshakes that were accepted.
    pub accepted: u64,
    /// Those among them whose stream was never handed over.
    pub failed_upgrades: u64,
    /// Handshakes that were refused, by the name of the [`Rejection`](crate::handshake::Rejection),
    /// or `Hook`.
    pub refused: BTreeMap<&'static str, u64>,
    /// Connections that ended, by the code of the first Close frame: 1005 where that had none, 1006
    /// where there was no Close frame at all.
    pub closed: BTreeMap<u16, u64>,
    /// Messages received; control frames are none.
    pub messages_received: u64,
    /// Bytes received, as they came: compressed, with headers, control frames too.
    pub bytes_received: u64,
    /// Messages sent, or at least queued.
    pub messages_sent: u64,
    /// Bytes of their payload, before compression: not to be compared with
    /// [`bytes_received`](Self::bytes_received).
    pub bytes_sent: u64,
}

/// The counters as they are kept.
#[derive(Debug, Default)]
pub(super) struct Counting {
    accepted: AtomicU64,
    failed_upgrades: AtomicU64,
    /// Both change once a connection at most.
    refused: Mutex<BTreeMap<&'static str, u64>>,
    closed: Mutex<BTreeMap<u16, u64>>,
    traffic: [TrafficShard; SHARDS],
}

/// Counters that one core in some has to itself.
#[derive(Debug, Default)]
#[repr(align(128))]
struct TrafficShard([AtomicU64; 4]);

/// Messages and bytes, received and sent.
pub(crate) type Traffic = [u64; 4];

impl Counting {
    pub(super) fn accept(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(super) fn fail_upgrade(&self) {
        self.failed_upgrades.fetch_add(1, Relaxed);
    }

    pub(super) fn refuse(&self, reason: &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(reason).or_default() += 1;
    }

    pub(super) fn end(&self, report: &Report) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        *closed.entry(report.close_code).or_default() += 1;
    }

    /// Adds what went over the connection that `number` stands for.
    pub(super) fn add(&self, number: u64, traffic: Traffic) {
        let TrafficShard(counters) = &self.traffic[number as usize % SHARDS];
        for (counter, more) in counters.iter().zip(traffic) {
            if more > 0 {
                counter.fetch_add(more, Relaxed);
            }
        }
    }

    pub(super) fn snapshot(&self, open: usize) -> Counters {
        let sum = |index: usize| {
            let shards = self.traffic.iter();
            shards
                .map(|TrafficShard(counters)| counters[index].load(Relaxed))
                .sum()
        };
        Counters {
            open,
            accepted: self.accepted.load(Relaxed),
            failed_upgrades: self.failed_upgrades.load(Relaxed),
            refused: self
                .refused
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            closed: self
                .closed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            messages_received: sum(0),
            bytes_received: sum(1),
            messages_sent: sum(2),
            bytes_sent: sum(3),
        }
    }
}

/// How many cores can count without getting in each other's way.
const SHARDS: usize = 16;
