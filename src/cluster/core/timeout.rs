//! What happens when nothing happens.

use std::time::{Duration, Instant};

use super::Core;
use crate::cluster::{
    events::{CoreEvent, Silence},
    link::LinkState,
};

impl<G: Clone> Core<G> {
    /// Keeps the deadlines.
    ///
    /// Returns why the connection is of no more use, if it is: it is to be dropped, and
    /// [`lost`](Self::lost) to be called.
    #[must_use]
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Silence> {
        self.look_at_clock(now);
        self.look_for_grace(now);
        if self.link.is_down(now, self.settings.max_wait) {
            self.go_down();
        }
        self.settle(now);
        self.expire(now);
        self.beats.handle_timeout(now);
        self.interest.handle_timeout(now);
        self.end_questions(now);
        if self.leaving.is_some_and(|leaving| leaving.deadline <= now) {
            self.end();
        }
        if self.grace.is_some_and(|grace| now < grace) {
            return None;
        }
        self.grace = None;
        for node in self.nodes.handle_timeout(now) {
            self.expect_no_answer(node, now);
            self.events.push_back(CoreEvent::NodeLeft(node));
        }
        self.silence(now)
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let waits = self.outgoing.waiting_since();
        let waits = waits.filter(|_| !self.link.holds_back());
        let expires = waits.and_then(|since| since.checked_add(self.settings.max_wait));
        let leaving = self.leaving.filter(|leaving| !leaving.is_over);
        let due = [
            expires,
            self.link.due(self.settings.max_wait),
            self.beats.due(),
            self.interest.due(),
            leaving.map(|leaving| leaving.deadline),
            self.silence_due().max(self.grace),
        ];
        due.into_iter().flatten().min()
    }

    /// Judges no silence for a moment if this node itself stood still: what was said may wait to be
    /// read.
    fn look_for_grace(&mut self, now: Instant) {
        let late = self
            .poll_timeout()
            .is_some_and(|due| now.saturating_duration_since(due) >= STOOD_STILL);
        // One at a time, so that a machine that is always late judges all the same.
        if late && self.grace.is_none() {
            self.grace = Some(now + GRACE);
        }
    }

    /// Keeps nothing any more, once there was no connection for too long.
    fn go_down(&mut self) {
        if let LinkState::Away { is_down, .. } = &mut self.link {
            *is_down = true;
        }
        self.expire_all();
    }

    fn silence(&self, now: Instant) -> Option<Silence> {
        if self.unanswered_due().is_some_and(|due| due <= now) {
            return Some(Silence::Unanswered);
        }
        self.beats.is_silent(now).then_some(Silence::NoEcho)
    }

    /// Returns when a silence is to be judged.
    fn silence_due(&self) -> Option<Instant> {
        let due = [
            self.nodes.due(),
            self.unanswered_due(),
            self.beats.echo_due(),
        ];
        due.into_iter().flatten().min()
    }

    fn unanswered_due(&self) -> Option<Instant> {
        let since = [
            self.outgoing.unanswered_since(),
            self.interest.unanswered_since(),
            self.own_unanswered.map(|(_, since)| since),
        ];
        let since = since.into_iter().flatten().min()?;
        since.checked_add(self.settings.answer_timeout)
    }
}

/// By how much later than it was due this node has to be looked at, to have stood still.
const STOOD_STILL: Duration = Duration::from_millis(250);

/// How long no silence is judged after that.
const GRACE: Duration = Duration::from_secs(1);
