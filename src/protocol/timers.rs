//! Every deadline of a connection, in one table.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{
    below::{Below, MAX_BELOW},
    decoder::FrameInProgress,
    expiry::{Deadline, Expiry},
    facts::Facts,
    start::Start,
    ticks::{NEVER, TICK, TICKS_PER_SECOND, ticks},
};
use crate::config::Config;

/// The deadlines of a connection.
///
/// They are kept in ticks of [`TICK`] since the connection opened, which takes half the memory of
/// instants: a deadline passes at its time or up to one tick later. After 497 days of one connection
/// only those are set that bound its end, and pass at once.
///
/// Nothing here is touched per message: traffic leaves its marks elsewhere (a flag, a counter),
/// and a deadline that finds such a mark when it expires moves itself on.
#[derive(Debug)]
pub(crate) struct Timers {
    start: Start,
    /// Ticks after `start`, by [`Timer`]; [`NEVER`] where none is set.
    deadlines: [u32; TIMERS],
    /// When the frame that `Timer::Frame` watches was first seen unfinished.
    frame_start: u32,
    frame: u32,
    /// This connection's share of ±10 % on the ping interval: thousandths above 900.
    jitter: u8,
    /// A deadline was set since that was last asked.
    changed: bool,
    /// Something was received since the last ping was written.
    heard: bool,
    /// Reading stopped at some time since the last ping was written.
    paused: bool,
    /// What had come and gone when the idle deadline was set.
    traffic: u32,
    below: Below,
}

#[derive(Clone, Copy)]
enum Timer {
    Ping,
    Pong,
    Frame,
    Write,
    Close,
    Idle,
    FirstMessage,
    Lifetime,
}

impl Timers {
    /// Sets the deadlines that run from the beginning; `seed` decides the jitter.
    pub(crate) fn new(now: Instant, seed: u64, config: &Config) -> Self {
        let mut timers = Self {
            start: Start::new(now),
            deadlines: [NEVER; TIMERS],
            frame_start: 0,
            frame: 0,
            jitter: (seed % 201) as u8,
            changed: false,
            heard: false,
            paused: false,
            traffic: Facts::traffic([0; 4]),
            below: Below::default(),
        };
        timers.set(Timer::Ping, now, timers.ping_interval(config));
        timers.set(Timer::Idle, now, config.idle_timeout);
        timers.set(Timer::FirstMessage, now, config.first_message_timeout);
        timers.set(Timer::Lifetime, now, config.max_lifetime);
        timers
    }

    /// Returns the earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        let earliest = self.deadlines.into_iter().min();
        let earliest = earliest.filter(|&at| at != NEVER)?;
        self.start.checked_add(TICK * earliest)
    }

    /// Reports whether the earliest deadline may be earlier than when this was last asked.
    #[inline]
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions ask"))]
    pub(crate) fn take_changed(&mut self) -> bool {
        mem::take(&mut self.changed)
    }

    /// Notes that bytes were received.
    #[inline]
    pub(crate) fn heard(&mut self) {
        self.heard = true;
    }

    /// Notes that reading stopped until the application receives.
    #[inline]
    pub(crate) fn paused(&mut self) {
        self.paused = true;
    }

    /// Notes that a ping was written.
    pub(crate) fn ping_written(&mut self, now: Instant, config: &Config) {
        if self.is_set(Timer::Pong) && !self.heard {
            // The time of the ping before it runs on.
            return;
        }
        self.heard = false;
        self.paused = false;
        self.below.ping_written(self.offset(now));
        // The ping waits behind all that is below us.
        let below = self.below(now, MAX_BELOW);
        let timeout = config.ping_timeout;
        self.set(
            Timer::Pong,
            now,
            timeout.map(|timeout| timeout.saturating_add(below)),
        );
    }

    /// Notes bytes that were given to the transport; reports whether some seconds' worth of them may
    /// still be below us.
    ///
    /// The clock is asked only once in 14 KiB.
    #[inline]
    pub(crate) fn written(&mut self, bytes: usize, now: impl FnOnce() -> Instant) -> bool {
        let start = self.start;
        self.below.written(bytes, || offset(start, now()))
    }

    /// Notes that the peer has answered all pings.
    pub(crate) fn pings_answered(&mut self, now: Instant) {
        self.below.pings_answered(self.offset(now));
    }

    /// Returns how long what was written, of which at most `most` bytes are still below us, may be on
    /// its way to the peer, in whole seconds.
    pub(crate) fn below(&self, now: Instant, most: u64) -> Duration {
        self.below.time(self.offset(now), most)
    }

    /// Watches the frame that is in progress when all there is was decoded.
    ///
    /// The clock is asked only where a frame is seen unfinished for the first time.
    #[inline]
    pub(crate) fn watch_frame(
        &mut self,
        frame: Option<FrameInProgress>,
        now: impl FnOnce() -> Instant,
        config: &Config,
    ) {
        match frame {
            None => self.stop(Timer::Frame),
            Some(frame) if self.is_set(Timer::Frame) && frame.number == self.frame => {}
            Some(frame) => {
                let now = now();
                self.frame = frame.number;
                self.frame_start = self.offset(now);
                self.set(Timer::Frame, now, config.frame_timeout);
            }
        }
    }

    /// Notes that something waits to be written: progress was just made, or waiting has just begun.
    ///
    /// The transport may take nothing more before `most` bytes that are below it have left.
    pub(crate) fn write_waits(&mut self, now: Instant, most: u64, config: &Config) {
        let below = self.below(now, most);
        let timeout = config.write_timeout;
        self.set(
            Timer::Write,
            now,
            timeout.map(|timeout| timeout.saturating_add(below)),
        );
    }

    pub(crate) fn is_write_waiting(&self) -> bool {
        self.is_set(Timer::Write)
    }

    /// Notes that nothing waits to be written.
    #[inline]
    pub(crate) fn write_done(&mut self) {
        self.stop(Timer::Write);
    }

    /// Waits only for the end now, for no longer than `timeout` from when what was written has reached
    /// the peer.
    pub(crate) fn closing(&mut self, now: Instant, timeout: Duration) {
        self.deadlines = [NEVER; TIMERS];
        let below = self.below(now, MAX_BELOW);
        self.set(Timer::Close, now, Some(timeout.saturating_add(below)));
    }

    /// Notes that the session has a deadline of its own, which may be earlier than all of these.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn have_changed(&mut self) {
        self.changed = true;
    }

    /// Gives the peer all its time for a first message from now on: until now nothing was read.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn restart_first_message(&mut self, now: Instant, config: &Config) {
        if self.is_set(Timer::FirstMessage) {
            self.set(Timer::FirstMessage, now, config.first_message_timeout);
        }
    }

    /// Stops all deadlines.
    pub(crate) fn stop_all(&mut self) {
        self.deadlines = [NEVER; TIMERS];
    }

    /// Stops all deadlines but that of what is queued.
    pub(crate) fn ended(&mut self) {
        let write = self.deadlines[Timer::Write as usize];
        self.stop_all();
        self.deadlines[Timer::Write as usize] = write;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_set(Timer::Close)
    }

    /// Bounds the end as [`closing`](Self::closing) does; the deadlines of the open state stay.
    #[cfg_attr(
        not(any(test, feature = "layer")),
        expect(dead_code, reason = "sessions do")
    )]
    pub(crate) fn bound_end(&mut self, now: Instant, timeout: Duration) {
        let below = self.below(now, MAX_BELOW);
        self.set(Timer::Close, now, Some(timeout.saturating_add(below)));
    }

    /// Stops the deadlines of the open state.
    pub(crate) fn stop_open(&mut self) {
        let (write, close) = (Timer::Write as usize, Timer::Close as usize);
        for (index, deadline) in self.deadlines.iter_mut().enumerate() {
            if index != write && index != close {
                *deadline = NEVER;
            }
        }
    }

    /// Takes one deadline that passed and meant something.
    ///
    /// Once our Close was sent, none of the open state does, whenever it was set.
    pub(crate) fn expired(
        &mut self,
        now: Instant,
        facts: Facts,
        config: &Config,
    ) -> Option<Expiry> {
        if facts.closing {
            self.stop_open();
        }
        let offset = self.offset(now);
        for timer in TIMER {
            if self.deadlines[timer as usize] <= offset {
                self.stop(timer);
                if let Some(expiry) = self.judge(timer, now, facts, config) {
                    return Some(expiry);
                }
            }
        }
        None
    }

    /// Decides what a deadline that passed means: nothing, where it moves itself on.
    fn judge(
        &mut self,
        timer: Timer,
        now: Instant,
        facts: Facts,
        config: &Config,
    ) -> Option<Expiry> {
        let deadline = match timer {
            Timer::Ping => {
                self.set(Timer::Ping, now, self.ping_interval(config));
                return Some(Expiry::Ping);
            }
            Timer::Pong if self.heard => return None,
            Timer::Pong if self.paused => {
                self.paused = false;
                self.set(Timer::Pong, now, config.ping_timeout);
                return None;
            }
            Timer::Pong => {
                // What is below has had its time.
                self.below.forget();
                Deadline::PeerSilent
            }
            Timer::Frame => return self.judge_frame(now, facts, config),
            Timer::Write => Deadline::Write,
            Timer::Close => Deadline::Close,
            Timer::Idle if facts.traffic != self.traffic => {
                self.traffic = facts.traffic;
                self.set(Timer::Idle, now, config.idle_timeout);
                return None;
            }
            Timer::Idle => Deadline::Idle,
            Timer::FirstMessage if facts.received > 0 => return None,
            Timer::FirstMessage => Deadline::FirstMessage,
            Timer::Lifetime => Deadline::Lifetime,
        };
        Some(Expiry::Passed(deadline))
    }

    /// Each 16 KiB received gives a frame another second.
    fn judge_frame(&mut self, now: Instant, facts: Facts, config: &Config) -> Option<Expiry> {
        let frame = facts.frame.filter(|frame| frame.number == self.frame)?;
        let earned = Duration::from_secs(frame.received / RECEIVING_FLOOR);
        let deadline = self
            .frame_start
            .saturating_add(ticks(config.frame_timeout?.saturating_add(earned)));
        if deadline <= self.offset(now) {
            return Some(Expiry::Passed(Deadline::Frame));
        }
        self.deadlines[Timer::Frame as usize] = deadline;
        self.changed = true;
        None
    }

    fn ping_interval(&self, config: &Config) -> Option<Duration> {
        let interval = config.ping_interval?.max(TICK);
        // Whoever says `Duration::MAX` means "never".
        let share = 900 + u128::from(self.jitter);
        let jittered = interval.as_nanos().saturating_mul(share) / 1000;
        Some(Duration::from_nanos(
            u64::try_from(jittered).unwrap_or(u64::MAX),
        ))
    }

    fn set(&mut self, timer: Timer, now: Instant, after: Option<Duration>) {
        self.changed = true;
        // What bounds the end of a connection is set however old that is.
        let last = if matches!(timer, Timer::Write | Timer::Close) {
            NEVER - 1
        } else {
            NEVER
        };
        let due = after.map(|after| self.due(now, after).min(last));
        self.deadlines[timer as usize] = due.unwrap_or(NEVER);
    }

    #[inline]
    fn stop(&mut self, timer: Timer) {
        self.deadlines[timer as usize] = NEVER;
    }

    fn is_set(&self, timer: Timer) -> bool {
        self.deadlines[timer as usize] != NEVER
    }

    /// Returns the first tick that is not before `after` from now.
    fn due(&self, now: Instant, after: Duration) -> u32 {
        ticks(self.age(now).saturating_add(after))
    }

    fn offset(&self, now: Instant) -> u32 {
        offset(self.start, now)
    }

    /// Returns how long the connection has been open.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.start.age(now)
    }
}

/// Returns the tick that has begun.
fn offset(start: Start, now: Instant) -> u32 {
    let age = start.age(now);
    let subsec = age.subsec_nanos() / TICK.subsec_nanos();
    let ticks = age.as_secs().saturating_mul(TICKS_PER_SECOND);
    u32::try_from(ticks.saturating_add(subsec.into())).unwrap_or(NEVER - 1)
}

const TIMER: [Timer; TIMERS] = [
    Timer::Ping,
    Timer::Pong,
    Timer::Frame,
    Timer::Write,
    Timer::Close,
    Timer::Idle,
    Timer::FirstMessage,
    Timer::Lifetime,
];

const TIMERS: usize = 8;

/// How many bytes of a frame a peer has to send in a second, so as not to be cut off.
const RECEIVING_FLOOR: u64 = 16 << 10;

#[cfg(test)]
mod tests;
