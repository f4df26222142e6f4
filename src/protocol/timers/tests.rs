//! Every deadline, on a clock that stands until it is moved.

use super::*;

fn passed<const N: usize>(deadlines: [Deadline; N]) -> [Expiry; N] {
    deadlines.map(Expiry::Passed)
}

const QUIET: Facts = Facts {
    traffic: 0,
    received: 0,
    frame: None,
    closing: false,
};

/// A config without any deadline.
fn none() -> Config {
    Config::default()
        .ping_interval(None)
        .ping_timeout(None)
        .frame_timeout(None)
        .write_timeout(None)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// With this seed the ping interval is exactly the configured one.
const NO_JITTER: u64 = 100;

struct Clock {
    start: Instant,
    config: Config,
    timers: Timers,
}

impl Clock {
    fn new(config: Config) -> Self {
        let start = Instant::now();
        let timers = Timers::new(start, NO_JITTER, &config);
        Self {
            start,
            config,
            timers,
        }
    }

    /// What has expired at `at`, one after the other.
    fn expired(&mut self, at: Duration, facts: Facts) -> Vec<Expiry> {
        let now = self.start + at;
        std::iter::from_fn(|| self.timers.expired(now, facts, &self.config)).collect()
    }

    fn next(&self) -> Option<Duration> {
        Some(self.timers.next()?.duration_since(self.start))
    }

    fn ping_written(&mut self, at: Duration) {
        self.timers.ping_written(self.start + at, &self.config);
    }

    fn watch(&mut self, at: Duration, frame: Option<FrameInProgress>) {
        self.timers
            .watch_frame(frame, || self.start + at, &self.config);
    }
}

fn frame(number: u32, received: u64) -> Option<FrameInProgress> {
    Some(FrameInProgress { number, received })
}

#[test]
fn without_settings_nothing_expires() {
    let mut clock = Clock::new(none());
    assert_eq!(clock.next(), None);
    assert_eq!(clock.expired(seconds(1 << 33), QUIET), []);
}

#[test]
fn ping_is_due_after_each_interval() {
    let mut clock = Clock::new(none().ping_interval(seconds(20)));
    assert_eq!(clock.next(), Some(seconds(20)));
    assert_eq!(clock.expired(millis(19_999), QUIET), []);
    assert_eq!(clock.expired(seconds(20), QUIET), [Expiry::Ping]);
    assert_eq!(clock.next(), Some(seconds(40)));
    // Asked late, it pings once and goes on from there.
    assert_eq!(clock.expired(seconds(100), QUIET), [Expiry::Ping]);
    assert_eq!(clock.next(), Some(seconds(120)));
}

#[test]
fn ping_interval_varies_by_ten_percent() {
    let (now, config) = (Instant::now(), none().ping_interval(seconds(20)));
    let first = |seed| {
        Timers::new(now, seed, &config)
            .next()
            .map(|at| at.duration_since(now))
    };
    let intervals: Vec<_> = (0..1000).chain([u64::MAX]).filter_map(first).collect();
    assert_eq!(intervals.iter().min(), Some(&seconds(18)));
    assert_eq!(intervals.iter().max(), Some(&seconds(22)));
    assert_eq!(intervals.len(), 1001);
}

#[test]
fn ping_interval_may_be_anything() {
    for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let mut clock = Clock::new(none().ping_interval(interval));
        let pings = clock.expired(seconds(1), QUIET).len();
        assert_eq!(pings, usize::from(interval < seconds(1)), "{interval:?}");
    }
}

#[test]
fn silent_peer_is_found_when_the_ping_times_out() {
    let mut clock = Clock::new(none().ping_timeout(seconds(5)));
    clock.ping_written(seconds(10));
    assert_eq!(clock.expired(millis(14_999), QUIET), []);
    assert_eq!(
        clock.expired(seconds(15), QUIET),
        passed([Deadline::PeerSilent])
    );
    assert_eq!(clock.expired(seconds(99), QUIET), []);
}

#[test]
fn any_byte_after_the_ping_is_a_sign_of_life() {
    let mut clock = Clock::new(none().ping_timeout(seconds(5)));
    clock.ping_written(seconds(10));
    clock.timers.heard();
    assert_eq!(clock.expired(seconds(15), QUIET), []);
    assert_eq!(clock.next(), None);
}

#[test]
fn a_byte_before_the_ping_is_none() {
    let mut clock = Clock::new(none().ping_timeout(seconds(5)));
    clock.timers.heard();
    clock.ping_written(seconds(10));
    assert_eq!(
        clock.expired(seconds(15), QUIET),
        passed([Deadline::PeerSilent])
    );
}

/// T15, also where pings come faster than their timeout.
#[test]
fn silent_peer_is_found_within_interval_and_timeout() {
    for (interval, timeout) in [(20, 20), (18, 20), (5, 20), (20, 5), (1, 60)] {
        let config = none()
            .ping_interval(seconds(interval))
            .ping_timeout(seconds(timeout));
        let mut clock = Clock::new(config);
        let mut found = None;
        for second in 1..=interval + timeout {
            for expiry in clock.expired(seconds(second), QUIET) {
                match expiry {
                    Expiry::Ping => clock.ping_written(seconds(second)),
                    Expiry::Passed(deadline) => found = Some((deadline, second)),
                }
            }
        }
        assert_eq!(
            found,
            Some((Deadline::PeerSilent, interval + timeout)),
            "{interval}, {timeout}"
        );
    }
}

#[test]
fn answering_peer_is_never_found_silent() {
    for (interval, timeout) in [(20, 20), (5, 20), (20, 5), (1, 60)] {
        let config = none()
            .ping_interval(seconds(interval))
            .ping_timeout(seconds(timeout));
        let mut clock = Clock::new(config);
        for second in 1..500 {
            for expiry in clock.expired(seconds(second), QUIET) {
                assert_eq!(expiry, Expiry::Ping, "at {second}: {interval}, {timeout}");
                clock.ping_written(seconds(second));
            }
            if second % 4 == 0 {
                clock.timers.heard();
            }
        }
    }
}

#[test]
fn ping_timeout_does_not_run_while_reading_is_paused() {
    let mut clock = Clock::new(none().ping_timeout(seconds(5)));
    clock.ping_written(seconds(10));
    clock.timers.paused();
    assert_eq!(clock.expired(seconds(15), QUIET), []);
    assert_eq!(clock.expired(millis(19_999), QUIET), []);
    assert_eq!(
        clock.expired(seconds(20), QUIET),
        passed([Deadline::PeerSilent])
    );
}

#[test]
fn frame_has_its_time_from_the_first_byte() {
    let mut clock = Clock::new(none().frame_timeout(seconds(30)));
    clock.watch(seconds(10), frame(1, 0));
    clock.watch(seconds(35), frame(1, 100));
    let facts = Facts {
        frame: frame(1, 100),
        ..QUIET
    };
    assert_eq!(clock.expired(millis(39_999), facts), []);
    assert_eq!(clock.expired(seconds(40), facts), passed([Deadline::Frame]));
}

#[test]
fn frame_gains_a_second_with_each_16_kib() {
    for (received, gained) in [(16_383, 0), (16_384, 1), (32_768, 2), (16 << 20, 1024)] {
        let mut clock = Clock::new(none().frame_timeout(seconds(30)));
        clock.watch(seconds(0), frame(1, 0));
        let facts = Facts {
            frame: frame(1, received),
            ..QUIET
        };
        assert_eq!(
            clock.expired(seconds(30 + gained) - millis(1), facts),
            [],
            "{received}"
        );
        assert_eq!(
            clock.expired(seconds(30 + gained), facts),
            passed([Deadline::Frame]),
            "{received}"
        );
    }
}

/// T5: 16 KiB a second is slow, and honest.
#[test]
fn slow_transfer_of_16_mib_is_not_cut() {
    let mut clock = Clock::new(none().frame_timeout(seconds(30)));
    for second in 0..1024 {
        let progress = frame(1, second * (16 << 10));
        clock.watch(seconds(second), progress);
        let facts = Facts {
            frame: progress,
            ..QUIET
        };
        assert_eq!(clock.expired(seconds(second), facts), []);
    }
}

#[test]
fn each_frame_has_its_own_time() {
    let mut clock = Clock::new(none().frame_timeout(seconds(30)));
    clock.watch(seconds(0), frame(1, 0));
    clock.watch(seconds(29), frame(2, 0));
    let facts = Facts {
        frame: frame(2, 0),
        ..QUIET
    };
    assert_eq!(clock.expired(seconds(58), facts), []);
    assert_eq!(clock.expired(seconds(59), facts), passed([Deadline::Frame]));
}

#[test]
fn deadline_of_one_frame_does_not_hit_the_next() {
    let mut clock = Clock::new(none().frame_timeout(seconds(30)));
    clock.watch(seconds(0), frame(1, 0));
    let next = Facts {
        frame: frame(2, 0),
        ..QUIET
    };
    assert_eq!(clock.expired(seconds(30), next), []);
}

#[test]
fn finished_frame_is_not_watched_any_more() {
    let mut clock = Clock::new(none().frame_timeout(seconds(30)));
    clock.watch(seconds(0), frame(1, 0));
    clock.watch(seconds(1), None);
    assert_eq!(clock.next(), None);
    assert_eq!(clock.expired(seconds(99), QUIET), []);
}

#[test]
fn clock_is_asked_once_for_each_unfinished_frame() {
    let (now, config) = (Instant::now(), none().frame_timeout(seconds(30)));
    let mut timers = Timers::new(now, 0, &config);
    let mut asked = 0;
    for progress in [
        None,
        frame(1, 0),
        frame(1, 5),
        frame(1, 9),
        None,
        None,
        frame(2, 0),
    ] {
        let clock = || {
            asked += 1;
            now
        };
        timers.watch_frame(progress, clock, &config);
    }
    assert_eq!(asked, 2);
}

#[test]
fn write_times_out_without_progress() {
    let mut clock = Clock::new(none().write_timeout(seconds(10)));
    assert!(!clock.timers.is_write_waiting());
    clock
        .timers
        .write_waits(clock.start + seconds(1), MAX_BELOW, &clock.config);
    assert!(clock.timers.is_write_waiting());
    clock
        .timers
        .write_waits(clock.start + seconds(9), MAX_BELOW, &clock.config);
    assert_eq!(clock.expired(millis(18_999), QUIET), []);
    assert_eq!(clock.expired(seconds(19), QUIET), passed([Deadline::Write]));
    clock
        .timers
        .write_waits(clock.start + seconds(20), MAX_BELOW, &clock.config);
    clock.timers.write_done();
    assert_eq!(clock.expired(seconds(99), QUIET), []);
}

#[test]
fn idle_connection_ends_between_one_and_two_timeouts() {
    for last in [1, 500, 999] {
        let mut clock = Clock::new(none().idle_timeout(seconds(1)));
        let one = Facts {
            traffic: 1,
            ..QUIET
        };
        assert_eq!(clock.expired(millis(last), one), []);
        assert_eq!(clock.expired(seconds(1), one), []);
        assert_eq!(clock.expired(millis(1_999), one), []);
        assert_eq!(clock.expired(seconds(2), one), passed([Deadline::Idle]));
        assert!((1000..=2000).contains(&(2000 - last)));
    }
}

#[test]
fn connection_without_a_message_is_idle_after_one_timeout() {
    let mut clock = Clock::new(none().idle_timeout(seconds(1)));
    assert_eq!(clock.expired(millis(999), QUIET), []);
    assert_eq!(clock.expired(seconds(1), QUIET), passed([Deadline::Idle]));
}

#[test]
fn busy_connection_is_never_idle() {
    let mut clock = Clock::new(none().idle_timeout(seconds(1)));
    for second in 1..100 {
        let facts = Facts {
            traffic: second as u32,
            ..QUIET
        };
        assert_eq!(clock.expired(seconds(second), facts), []);
    }
}

#[test]
fn first_message_has_its_time() {
    let config = none().first_message_timeout(seconds(5));
    let mut clock = Clock::new(config.clone());
    let sent_only = Facts {
        traffic: 1,
        ..QUIET
    };
    assert_eq!(clock.expired(millis(4_999), sent_only), []);
    assert_eq!(
        clock.expired(seconds(5), sent_only),
        passed([Deadline::FirstMessage])
    );
    let mut clock = Clock::new(config);
    let received = Facts {
        traffic: 1,
        received: 1,
        ..QUIET
    };
    assert_eq!(clock.expired(seconds(5), received), []);
    assert_eq!(clock.next(), None);
}

#[test]
fn lifetime_ends_whatever_happens() {
    let mut clock = Clock::new(none().max_lifetime(seconds(60)));
    let busy = Facts {
        closing: false,
        traffic: 9,
        received: 9,
        frame: None,
    };
    clock.timers.heard();
    assert_eq!(clock.expired(millis(59_999), busy), []);
    assert_eq!(
        clock.expired(seconds(60), busy),
        passed([Deadline::Lifetime])
    );
}

#[test]
fn closing_leaves_the_close_deadline_only() {
    let config = Config::default()
        .idle_timeout(seconds(1))
        .max_lifetime(seconds(1));
    let mut clock = Clock::new(config);
    clock.ping_written(seconds(0));
    clock.timers.closing(clock.start + seconds(10), seconds(5));
    assert!(clock.timers.is_closing());
    assert_eq!(clock.next(), Some(seconds(15)));
    assert_eq!(clock.expired(seconds(99), QUIET), passed([Deadline::Close]));
    assert!(!clock.timers.is_closing());
}

#[test]
fn stopping_the_open_state_keeps_write_and_close() {
    let config = Config::default()
        .idle_timeout(seconds(1))
        .max_lifetime(seconds(1));
    let mut clock = Clock::new(config.first_message_timeout(seconds(1)));
    clock.timers.closing(clock.start, seconds(15));
    clock
        .timers
        .write_waits(clock.start, MAX_BELOW, &clock.config);
    clock.ping_written(seconds(0));
    clock.watch(seconds(0), frame(1, 0));
    clock.timers.stop_open();
    assert_eq!(
        clock.expired(seconds(99), QUIET),
        passed([Deadline::Write, Deadline::Close])
    );
}

#[test]
fn end_keeps_the_write_deadline_only() {
    let mut clock = Clock::new(Config::default());
    clock.timers.closing(clock.start, seconds(15));
    clock
        .timers
        .write_waits(clock.start, MAX_BELOW, &clock.config);
    clock.timers.ended();
    assert_eq!(clock.expired(seconds(99), QUIET), passed([Deadline::Write]));
}

#[test]
fn next_is_the_earliest_deadline() {
    let config = none().idle_timeout(seconds(30)).max_lifetime(seconds(20));
    let mut clock = Clock::new(config.first_message_timeout(seconds(10)));
    for (at, expiry) in [
        (10, Deadline::FirstMessage),
        (20, Deadline::Lifetime),
        (30, Deadline::Idle),
    ] {
        assert_eq!(clock.next(), Some(seconds(at)));
        assert_eq!(clock.expired(seconds(at), QUIET), passed([expiry]));
    }
    assert_eq!(clock.next(), None);
}

#[test]
fn longest_durations_mean_never() {
    let config = none()
        .idle_timeout(Duration::MAX)
        .max_lifetime(Duration::MAX);
    let mut clock = Clock::new(config.frame_timeout(Duration::MAX));
    clock.watch(seconds(0), frame(1, 0));
    assert_eq!(clock.next(), None);
    assert_eq!(clock.expired(seconds(1 << 33), QUIET), []);
}

/// A clock after `bytes` were written at once, at its beginning.
fn after_writing(config: Config, bytes: usize) -> Clock {
    let mut clock = Clock::new(config);
    let start = clock.start;
    let _much = clock.timers.written(bytes, || start);
    clock
}

const MIB: usize = 1 << 20;

const KIB: usize = 1 << 10;

#[test]
fn what_is_below_takes_a_second_for_14_kib() {
    let cases = [
        (0, 0, 0),
        (163, 0, 0),
        (14 * KIB, 0, 1),
        (140 * KIB, 0, 10),
        // It is forgotten at half that speed.
        (140 * KIB, 8, 6),
        (140 * KIB, 21, 0),
        (MIB, 0, 73),
        (MIB, 147, 0),
        // No more than fits below us.
        (100 * MIB, 0, 438),
        (100 * MIB, 100, 393),
        (usize::MAX, 0, 438),
    ];
    for (bytes, passed, expected) in cases {
        let clock = after_writing(none(), bytes);
        let now = clock.start + seconds(passed);
        let below = clock.timers.below(now, MAX_BELOW);
        assert_eq!(below.as_secs(), expected, "{bytes} bytes, {passed} s");
        assert_eq!(clock.timers.below(now, 0), Duration::ZERO);
    }
}

#[test]
fn small_writes_add_up_and_the_clock_is_asked_once_in_14_kib() {
    let mut clock = Clock::new(none());
    let (start, mut asked) = (clock.start, 0);
    for _ in 0..14 * 1024 {
        let _much = clock.timers.written(100, || {
            asked += 1;
            start
        });
    }
    assert!((99..=100).contains(&asked), "{asked}");
    let below = clock.timers.below(start, MAX_BELOW);
    assert!((99..=100).contains(&below.as_secs()), "{below:?}");
}

#[test]
fn it_is_told_when_some_seconds_are_below() {
    let mut clock = Clock::new(none());
    let now = clock.start;
    assert!(!clock.timers.written(42 * KIB, || now));
    assert!(clock.timers.written(15 * KIB, || now));
}

#[test]
fn what_is_below_a_line_slower_than_the_floor_is_not_forgotten() {
    let mut clock = after_writing(none(), 4 * MIB);
    // For hours as much is written as leaves.
    for second in 0..10_000 {
        let now = clock.start + seconds(second);
        let _much = clock.timers.written(10_000, || now);
    }
    let now = clock.start + seconds(10_000);
    assert!(clock.timers.below(now, MAX_BELOW) > seconds(280));
}

#[test]
fn traffic_below_half_of_the_floor_leaves_nothing_below() {
    let mut clock = Clock::new(none());
    for second in 0..1000 {
        let now = clock.start + seconds(second);
        let _much = clock.timers.written(7000, || now);
        assert!(clock.timers.below(now, MAX_BELOW) <= seconds(1));
    }
}

#[test]
fn sending_deadlines_allow_for_what_is_below() {
    let config = none().ping_timeout(seconds(20)).write_timeout(seconds(10));
    for (bytes, extra) in [(0, 0), (140 * KIB, 10), (MIB, 73)] {
        let clock = || after_writing(config.clone(), bytes);

        let mut pinged = clock();
        let start = pinged.start;
        pinged.timers.ping_written(start, &config);
        assert_eq!(pinged.next(), Some(seconds(20 + extra)));
        let expired = pinged.expired(seconds(20 + extra), QUIET);
        assert_eq!(expired, passed([Deadline::PeerSilent]));
        // It has had its time, and gets it once.
        let now = start + seconds(20 + extra);
        pinged.timers.closing(now, seconds(5));
        assert_eq!(pinged.next(), Some(seconds(25 + extra)));

        let mut waiting = clock();
        let start = waiting.start;
        // No more counts than what the transport may have to bring away.
        for (most, extra) in [(MAX_BELOW, extra), (56 << 10, extra.min(4)), (0, 0)] {
            waiting.timers.write_waits(start, most, &config);
            assert_eq!(waiting.next(), Some(seconds(10 + extra)));
        }

        let mut closing = clock();
        let start = closing.start;
        closing.timers.closing(start, seconds(5));
        assert_eq!(closing.next(), Some(seconds(5 + extra)));

        let mut ending = clock();
        let start = ending.start;
        ending.timers.bound_end(start, seconds(15));
        assert_eq!(ending.next(), Some(seconds(15 + extra)));
    }
}

#[test]
fn answered_pings_show_what_has_reached_the_peer() {
    // Only what was written behind the ping is left; of very much that is not known.
    for (behind, left) in [(0, 0), (140 * KIB, 10), (4 * MIB, 295), (6 * MIB, 438)] {
        let mut clock = after_writing(none().ping_timeout(seconds(20)), 6 * MIB);
        let start = clock.start;
        clock.timers.ping_written(start, &none());
        let _much = clock.timers.written(behind, || start);
        assert_eq!(clock.timers.below(start, MAX_BELOW), seconds(438));
        let now = start + seconds(1);
        clock.timers.pings_answered(now);
        let below = clock.timers.below(now, MAX_BELOW);
        assert_eq!(below, seconds(left), "{behind}");
    }
}

#[test]
fn once_our_close_was_sent_only_the_end_is_waited_for_whatever_was_set_since() {
    let config = none()
        .ping_interval(seconds(1))
        .ping_timeout(seconds(1))
        .frame_timeout(seconds(1))
        .idle_timeout(seconds(1))
        .first_message_timeout(seconds(1))
        .max_lifetime(seconds(1))
        .write_timeout(seconds(90));
    for closing in [false, true] {
        let mut clock = Clock::new(config.clone());
        clock.ping_written(seconds(0));
        clock.watch(seconds(0), frame(1, 0));
        clock.timers.write_waits(clock.start, 0, &config);
        clock.timers.bound_end(clock.start, seconds(95));
        let facts = Facts {
            frame: frame(1, 0),
            closing,
            ..QUIET
        };
        assert_eq!(clock.expired(seconds(10), facts).is_empty(), closing);
        clock.ping_written(seconds(20));
        clock.watch(seconds(20), frame(1, 0));
        let late = clock.expired(seconds(100), facts);
        assert!(late.ends_with(&passed([Deadline::Write, Deadline::Close])) || !closing);
        assert_eq!(late.len() == 2, closing, "{late:?}");
    }
}
