//! The driver's deadlines.

use std::{
    pin::Pin,
    task::Context,
    time::{Duration, Instant},
};

use super::{Driver, Input, Phase, alarm::Alarm, round::Line};
use crate::{
    error::Error,
    protocol::{Deadline, Expiry, Outcome},
    session::report::EndedBy,
    sync,
};

impl Driver {
    /// Keeps the deadlines; reports whether one passed, so that there may be more to do.
    pub(super) fn poll_deadlines(
        &mut self,
        cx: &mut Context<'_>,
        mut alarm: Pin<&mut Alarm>,
        line: &mut Line,
    ) -> bool {
        if self.phase == Phase::Ended {
            return false;
        }
        self.watch_frame();
        if !self.timers.take_changed() && !alarm.is_due() {
            return false;
        }
        let mut passed = false;
        // Each time round a deadline passes: more than there are cannot pass at once.
        for _ in 0..MOST_EXPIRIES {
            if alarm.is_due() {
                if !self.has_transport(line) {
                    // Who has it wakes the session, and the alarm is still due then.
                    return passed;
                }
                passed |= self.handle_timeout(cx, line);
            }
            let Some(next) = self.next_deadline() else {
                return passed;
            };
            if alarm.as_mut().set(cx, next) {
                return passed;
            }
        }
        // The others get their turn before the next.
        sync::yield_task(cx);
        passed
    }

    fn next_deadline(&self) -> Option<Instant> {
        let cold = self.cold.as_deref();
        let look = cold.and_then(|cold| cold.look);
        let until = self.throttled_until();
        let own = look.into_iter().chain(until);
        self.timers.next().into_iter().chain(own).min()
    }

    /// Has the session look again after a while, if only at what it waits for.
    #[cold]
    pub(super) fn look_again(&mut self, now: Instant, after: Duration) {
        self.cold().look = now.checked_add(after);
        self.timers.have_changed();
    }

    /// Watches the frame in progress, as long as it is the peer who keeps us waiting, and for more than
    /// the end.
    fn watch_frame(&mut self) {
        let waiting = self.phase == Phase::Open && self.input != Input::Paused;
        let waiting = waiting && !self.timers.is_closing();
        let frame = if waiting {
            self.incoming.frame_in_progress(self.undecoded_len())
        } else {
            None
        };
        let config = self.shared.config();
        self.timers.watch_frame(frame, Self::now, config);
    }

    /// Sees to it that the transport is there, which was put back if the turn has ended with what was written; `false`
    /// if somebody else writes. Where the turn is left, it goes back.
    fn has_transport(&self, line: &mut Line) -> bool {
        if line.transport.is_some() {
            return true;
        }
        let mut locked = self.shared.lock_to_drive();
        match self.shared.take_transport(&mut locked) {
            Ok(transport) => line.transport = transport,
            Err(_taken) => return false,
        }
        true
    }

    /// Handles every deadline that passed; reports whether there was one.
    fn handle_timeout(&mut self, cx: &mut Context<'_>, line: &mut Line) -> bool {
        let mut passed = self.is_throttle_over();
        if let Some(cold) = &mut self.cold {
            cold.look.take_if(|look| *look <= Self::now());
        }
        for _ in 0..MOST_EXPIRIES {
            if self.phase == Phase::Ended {
                break;
            }
            let Some(expiry) = self.expired() else {
                break;
            };
            passed = true;
            let Expiry::Passed(deadline) = expiry else {
                self.time_to_ping();
                continue;
            };
            match deadline.outcome() {
                Outcome::Close(frame) => self.close(EndedBy::Timeout, &frame),
                Outcome::Fail(frame) => {
                    self.fail(cx, Error::Timeout(deadline), EndedBy::Timeout, &frame);
                }
                Outcome::GiveUp if self.goes_on_after(deadline, cx, line) => {}
                Outcome::GiveUp => self.time_out(Error::Timeout(deadline), line),
            }
        }
        passed
    }

    /// Sends the ping that is due.
    fn time_to_ping(&mut self) {
        self.ping_queued |= self
            .shared
            .lock_to_drive()
            .ping_to_measure(self.setup())
            .is_ok();
        if let Some(compressing) = self.shared.compressing() {
            compressing.release_if_unused();
        }
    }

    /// Reports whether what a deadline was for has come after all, now that it is looked at again.
    fn goes_on_after(&mut self, deadline: Deadline, cx: &mut Context<'_>, line: &mut Line) -> bool {
        if deadline == Deadline::Write {
            self.write_anyway(cx, line) || self.flush_anyway(cx, line)
        } else {
            self.prolong_end(cx, line)
        }
    }

    fn expired(&mut self) -> Option<Expiry> {
        let (config, undecoded) = (self.shared.config(), self.undecoded_len());
        let facts = self
            .shared
            .lock_to_drive()
            .facts(&self.incoming, config, undecoded);
        self.timers.expired(Self::now(), facts, config)
    }
}

/// How many deadlines are handled in one go: more than there are, and few.
const MOST_EXPIRIES: usize = 32;
