//! What all clients have seen, summed up.

use std::{collections::BTreeMap, time::Duration};

use super::{Load, count::Tally, lock};
use std::sync::atomic::Ordering::Relaxed;

/// What the members of one node have got of one sender on another node.
///
/// What one of them has not got, none has: the node has not.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) receiver: usize,
    pub(crate) group: u16,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    /// Lost behind all that has come.
    pub(crate) tail: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    /// By all senders.
    pub(crate) sent: u64,
    /// By each receiving node and sender on the other one.
    pub(crate) remote: Vec<Pair>,
    /// Over all members and local senders, tails included.
    pub(crate) local_lost: u64,
    /// Over all members and senders.
    pub(crate) doubled: u64,
    pub(crate) late: u64,
    pub(crate) received: u64,
    /// Members that have lost something else than the others of their node.
    pub(crate) uneven: u64,
}

impl Sums {
    pub(crate) fn tail(&self) -> u64 {
        self.remote.iter().map(|pair| pair.tail).sum()
    }
}

impl Load {
    pub(crate) fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        let mut pairs: BTreeMap<(usize, u32), (u16, Tally, u64)> = BTreeMap::new();
        let members = &self.shared.members;
        let sent = |id: u32| {
            let at = usize::try_from(id & 0xffff).unwrap_or(usize::MAX);
            let sender = members.get(at)?;
            (sender.id(at) == id).then(|| sender.sent.load(Relaxed))
        };
        for member in members {
            sums.sent += u64::from(member.sent.load(Relaxed));
            sums.sent += u64::from(member.sent_before.load(Relaxed));
            let stayed = member.ended.load(Relaxed) == 0;
            for (&id, (node, track)) in &lock(&member.seen).tracks {
                let tally = track.tally;
                sums.doubled += tally.doubled;
                sums.late += tally.late;
                sums.received += tally.delivered;
                let tail = sent(id).map_or(0, |sent| track.tail(sent));
                if usize::from(*node) == member.node {
                    sums.local_lost += if stayed { tally.lost + tail } else { 0 };
                    continue;
                }
                let first = (member.group, tally, tail);
                let (_, most, most_tail) = pairs.entry((member.node, id)).or_insert(first);
                if stayed && (most.lost, *most_tail) != (tally.lost, tail) {
                    sums.uneven += 1;
                }
                most.lost = most.lost.max(tally.lost);
                most.delivered = most.delivered.max(tally.delivered);
                *most_tail = (*most_tail).max(tail);
            }
        }
        let pairs = pairs
            .into_iter()
            .map(|((receiver, _), (group, tally, tail))| Pair {
                receiver,
                group,
                delivered: tally.delivered,
                lost: tally.lost,
                tail,
            });
        sums.remote.extend(pairs);
        sums
    }

    /// How long after the fault every member had messages of all senders again, without a gap; an error says how many
    /// have none.
    pub(crate) fn whole(&self) -> Result<Duration, String> {
        let (mut last, mut left) = (Duration::ZERO, 0);
        for member in &self.shared.members {
            for whole in lock(&member.seen).whole {
                match whole {
                    Some(whole) => last = last.max(whole),
                    None => left += 1,
                }
            }
        }
        match left {
            0 => Ok(last.saturating_sub(self.shared.healed())),
            left => Err(format!(
                "of {left} senders, members have heard nothing since"
            )),
        }
    }

    /// The delays of messages between members of one node in a phase: of 99 in 100, and the longest.
    pub(crate) fn local_delays(&self, phase: super::Phase) -> (Duration, Duration) {
        let delays = &self.shared.delays[phase as usize][0];
        (delays.within(990), delays.longest())
    }
}
