//! What is sent again to where its partition has gone.

use std::collections::BTreeMap;

use super::partitions::Partition;
use crate::cluster::backplane::{Publish, Ticket};

/// What waits for its partition's new master, and what is unanswered: a partition is not sent to the new
/// one before the old one has answered all, or order would be lost.
pub(super) struct Holds {
    partitions: Vec<PartitionHold>,
    /// Some partition is held.
    any: bool,
    /// In the order in which it was published.
    held: BTreeMap<Ticket, Publish>,
}

#[derive(Clone, Debug, Default)]
struct PartitionHold {
    unanswered: usize,
    is_held: bool,
}

impl Default for Holds {
    fn default() -> Self {
        Self {
            partitions: vec![PartitionHold::default(); Partition::all().count()],
            any: false,
            held: BTreeMap::new(),
        }
    }
}

impl Holds {
    /// Notes that an envelope is sent.
    pub(super) fn sent(&mut self, partition: Partition) {
        self.partitions[partition.index()].unanswered += 1;
    }

    /// Notes that it is answered, or will not be.
    pub(super) fn answered(&mut self, partition: Partition) {
        let unanswered = &mut self.partitions[partition.index()].unanswered;
        *unanswered = unanswered.saturating_sub(1);
    }

    /// Notes that a partition has another master: what follows waits for what is unanswered.
    pub(super) fn moves(&mut self, partition: Partition) {
        let hold = &mut self.partitions[partition.index()];
        hold.is_held |= hold.unanswered > 0;
        self.any |= hold.is_held;
    }

    /// Keeps an envelope, and all that follows in its partition.
    pub(super) fn hold(&mut self, publish: Publish) {
        self.partitions[Partition::of(publish.topic().as_bytes()).index()].is_held = true;
        self.any = true;
        self.held.insert(publish.ticket(), publish);
    }

    pub(super) fn is_held(&self, partition: Partition) -> bool {
        self.partitions[partition.index()].is_held
    }

    /// Takes the envelopes of all partitions that have a place to go to, and of which nothing is
    /// unanswered.
    pub(super) fn take(&mut self, has_place: impl Fn(Partition) -> bool) -> Vec<Publish> {
        if !self.any {
            return Vec::new();
        }
        for partition in Partition::all() {
            let hold = &mut self.partitions[partition.index()];
            hold.is_held &= hold.unanswered > 0 || !has_place(partition);
        }
        let partitions = &self.partitions;
        self.any = partitions.iter().any(|hold| hold.is_held);
        let is_free = |publish: &Publish| {
            let partition = Partition::of(publish.topic().as_bytes());
            !partitions[partition.index()].is_held
        };
        let free = self.held.extract_if(.., |_, publish| is_free(publish));
        free.map(|(_, publish)| publish).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}
