//! The own heartbeats: when they are due, and whether they come back.

use std::time::{Duration, Instant};

use super::{
    chance::Chance,
    nodes::{INTERVALS, interval},
    number::Number,
};

/// The own heartbeats.
///
/// One goes out by the connection that publishes and comes in by the one that subscribes: so it shows
/// that both are of use.
#[derive(Debug, Default)]
pub(super) struct Beats {
    /// The index of the next one.
    next: u32,
    /// When the next one is due, while there is a connection.
    due: Option<Instant>,
    /// The next one leaves as soon as it can.
    is_due: bool,
    /// When the last one left.
    last: Option<Instant>,
    /// By when one has to be back.
    echo_due: Option<Instant>,
    /// The engine has refused the last one.
    was_refused: bool,
    /// The last one that is not back.
    unechoed: Option<(u32, Instant)>,
    round_trip: Option<Duration>,
    longest: Longest,
}

/// The longest of the last minute or two.
#[derive(Debug, Default)]
struct Longest {
    since: Option<Instant>,
    before: Option<Duration>,
    now: Option<Duration>,
}

impl Beats {
    /// Begins on a new connection, with a heartbeat at once; `watched` tells whether they come back.
    pub(super) fn connected(&mut self, now: Instant, interval: Duration, watched: bool) {
        self.due = Some(now);
        self.is_due = true;
        self.unechoed = None;
        self.was_refused = false;
        self.echo_due = watched.then(|| now + interval * INTERVALS);
    }

    /// Stops: there is no connection.
    pub(super) fn lost(&mut self) {
        self.due = None;
        self.is_due = false;
        self.echo_due = None;
        self.unechoed = None;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.is_due |= self.due.is_some_and(|due| due <= now);
    }

    /// Has the next one leave at once.
    pub(super) fn repeat(&mut self) {
        self.is_due = self.due.is_some();
    }

    /// Has the next one leave at once, since somebody asks; but none sooner than a second after the last.
    pub(super) fn answer(&mut self, now: Instant) {
        let Some(due) = self.due else {
            return;
        };
        let soonest = self.last.map_or(now, |last| last + PER_ANSWER);
        self.is_due |= soonest <= now;
        self.due = Some(due.min(soonest));
    }

    /// Reports whether one leaves as soon as it can.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Returns the number of a heartbeat that leaves now, if one is due.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        least: Duration,
        nodes: usize,
        chance: &mut Chance,
    ) -> Option<(Number, Duration)> {
        if !self.is_due {
            return None;
        }
        let interval = interval(least, nodes);
        let number = self.number();
        self.is_due = false;
        self.last = Some(now);
        self.due = Some(now + chance.between(interval * 4 / 5, interval * 6 / 5));
        self.unechoed = Some((number.index, now));
        Some((number, interval))
    }

    /// Returns the number of what is said next to all nodes.
    pub(super) fn number(&mut self) -> Number {
        let index = self.next;
        self.next = self.next.saturating_add(1);
        Number { run: 1, index }
    }

    /// Notes that one came back.
    pub(super) fn echo(&mut self, number: Number, interval: Duration, now: Instant) {
        self.heard(now, interval);
        if let Some((_, sent)) = self.unechoed.take_if(|(index, _)| *index == number.index) {
            let round_trip = now.saturating_duration_since(sent);
            self.round_trip = Some(round_trip);
            self.longest.take(round_trip, now);
        }
    }

    /// Notes that the engine said something, where that stands for the own heartbeats.
    pub(super) fn heard(&mut self, now: Instant, interval: Duration) {
        if self.echo_due.is_some() {
            self.echo_due = Some(now + interval * INTERVALS);
        }
    }

    /// Reports whether none came back for three intervals.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.echo_due.is_some_and(|due| due <= now)
    }

    /// Has one be back within three intervals: heartbeats are subscribed from now on.
    pub(super) fn expect_echo(&mut self, now: Instant, interval: Duration) {
        self.echo_due = Some(now + interval * INTERVALS);
    }

    /// Notes that the engine refused one: it will not come back, and that is no silence.
    pub(super) fn refused(&mut self) {
        self.was_refused = true;
        self.expect_no_echo();
    }

    /// Reports whether the engine has refused the last one.
    pub(super) fn was_refused(&self) -> bool {
        self.was_refused
    }

    /// Notes that the engine took one again, which has to be back within three intervals.
    pub(super) fn accepted(&mut self, interval: Duration) {
        self.was_refused = false;
        self.echo_due = self.last.map(|last| last + interval * INTERVALS);
    }

    /// Gives no more heed to what comes back: heartbeats are not subscribed.
    pub(super) fn expect_no_echo(&mut self) {
        self.echo_due = None;
    }

    /// Returns by when one has to be back.
    pub(super) fn echo_due(&self) -> Option<Instant> {
        self.echo_due
    }

    /// Returns when the next one is due, unless it waits to leave.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.is_due)
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(super) fn max_round_trip(&self) -> Option<Duration> {
        self.longest.before.max(self.longest.now)
    }
}

impl Longest {
    fn take(&mut self, time: Duration, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= MINUTE {
            self.before = self.now.take();
            self.since = Some(now);
        }
        self.now = self.now.max(Some(time));
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// Not more often are others answered who ask whether this node is there.
const PER_ANSWER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
