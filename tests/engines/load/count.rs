//! What a receiver has got of a sender: in order, lost, doubled, out of order.

use std::ops::Range;

/// What one receiver has seen of one sender, who numbers his messages from 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    /// The number after the highest that came; `None` until the first one, where the receiver came later.
    next: Option<u32>,
    /// Numbers below it that have not come.
    missing: Vec<Range<u32>>,
    pub(crate) tally: Tally,
}

/// What that comes to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    pub(crate) delivered: u64,
    /// That have not come, with higher numbers behind them that have.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// That came behind higher numbers.
    pub(crate) late: u64,
}

/// What a message was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    InOrder,
    /// With so many missing before it.
    Behind(u32),
    Late,
    Double,
}

impl Track {
    /// Makes one for a receiver that is there before the sender's first message.
    pub(crate) fn from_the_start() -> Self {
        Self {
            next: Some(0),
            ..Self::default()
        }
    }

    /// Takes note of a message.
    pub(crate) fn see(&mut self, number: u32) -> Seen {
        let next = *self.next.get_or_insert(number);
        if number >= next {
            self.next = Some(number + 1);
            self.tally.delivered += 1;
            if number == next {
                return Seen::InOrder;
            }
            self.missing.push(next..number);
            self.tally.lost += u64::from(number - next);
            return Seen::Behind(number - next);
        }
        let Some(at) = self
            .missing
            .iter()
            .position(|range| range.contains(&number))
        else {
            self.tally.doubled += 1;
            return Seen::Double;
        };
        let range = self.missing.swap_remove(at);
        let around = [range.start..number, number + 1..range.end];
        self.missing
            .extend(around.into_iter().filter(|part| !part.is_empty()));
        self.tally.lost -= 1;
        self.tally.late += 1;
        self.tally.delivered += 1;
        Seen::Late
    }

    /// The receiver is away for a while: what is sent meanwhile is not lost.
    pub(crate) fn away(&mut self) {
        self.next = None;
        self.missing.clear();
    }

    /// How many of `sent` messages are behind all that has come: lost, and nobody can know here.
    pub(crate) fn tail(&self, sent: u32) -> u64 {
        self.next
            .map_or(0, |next| u64::from(sent.saturating_sub(next)))
    }
}
