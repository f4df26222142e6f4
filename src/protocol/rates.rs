//! How many messages and bytes a peer may send.

use std::time::Duration;

use super::error::ProtocolError;
use crate::config::Config;

/// What a peer has used up of its rates. Time is given as the age of the connection.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    messages: Bucket,
    bytes: Bucket,
}

impl Rates {
    /// Takes bytes into account that came.
    ///
    /// # Errors
    ///
    /// They are too many, and that [closes](Config::close_over_rate). Else the next ones wait longer.
    pub(crate) fn receive_bytes(
        &mut self,
        bytes: usize,
        age: Duration,
        config: &Config,
    ) -> Result<(), ProtocolError> {
        let Some(limit) = Limit::of_bytes(config) else {
            return Ok(());
        };
        let rate = limit.per_second;
        match self.bytes.take(bytes as u64, age, limit) {
            false if config.closes_over_rate() => Err(ProtocolError::ByteFlood { rate }),
            _ => Ok(()),
        }
    }

    /// Takes messages into account that were received.
    pub(crate) fn receive_messages(&mut self, messages: u64, age: Duration, config: &Config) {
        if let Some(limit) = Limit::of_messages(config) {
            let _within = self.messages.take(messages, age, limit);
        }
    }

    /// Returns how many bytes may be read now; `None` where that is not limited.
    pub(crate) fn byte_room(&mut self, age: Duration, config: &Config) -> Option<u64> {
        let limit = Limit::of_bytes(config)?;
        Some(self.bytes.room(age, limit))
    }

    /// Returns how many messages may be received now; `None` where that is not limited.
    pub(crate) fn message_room(&mut self, age: Duration, config: &Config) -> Option<u64> {
        let limit = Limit::of_messages(config)?;
        Some(self.messages.room(age, limit))
    }

    /// Returns how long to wait until it is worth reading again, once there was no room.
    pub(crate) fn wait(&mut self, age: Duration, config: &Config) -> Duration {
        let bytes = Limit::of_bytes(config).map(|limit| self.bytes.wait(age, limit));
        let messages = Limit::of_messages(config).map(|limit| self.messages.wait(age, limit));
        bytes.max(messages).unwrap_or_default()
    }
}

/// So much at once, and so much a second.
#[derive(Clone, Copy, Debug)]
struct Limit {
    per_second: u64,
    burst: u64,
}

impl Limit {
    fn of_messages(config: &Config) -> Option<Self> {
        let rates = config.rates.as_ref()?;
        let rate = rates.message_rate?;
        let burst = rates.message_burst.unwrap_or(rate);
        Some(Self::new(rate.into(), burst.into()))
    }

    fn of_bytes(config: &Config) -> Option<Self> {
        let rates = config.rates.as_ref()?;
        let per_second = rates.byte_rate?;
        let burst = rates.byte_burst.unwrap_or(per_second);
        Some(Self::new(per_second, burst))
    }

    /// A burst smaller than what is woken for would cut the rate.
    fn new(per_second: u64, burst: u64) -> Self {
        let burst = burst.max(per_second.div_ceil(HELPINGS));
        Self { per_second, burst }
    }

    /// What a full bucket holds, in thousandths.
    fn full(self) -> u64 {
        self.burst.saturating_mul(THOUSANDTHS)
    }

    /// What is worth being woken for, in thousandths.
    fn helping(self) -> u64 {
        let helping = (self.per_second / HELPINGS).clamp(1, self.burst);
        helping.saturating_mul(THOUSANDTHS)
    }
}

/// A bucket that fills with time.
#[derive(Debug, Default)]
struct Bucket {
    /// The age at which it was last filled, in thousandths of a second.
    filled: u64,
    /// How much is missing in it, in thousandths; more than it holds, where more came than was to.
    missing: u64,
}

impl Bucket {
    /// Takes something out; reports whether there was as much in it.
    fn take(&mut self, count: u64, age: Duration, limit: Limit) -> bool {
        self.fill(age, limit);
        let count = count.saturating_mul(THOUSANDTHS);
        self.missing = self.missing.saturating_add(count);
        self.missing <= limit.full()
    }

    fn room(&mut self, age: Duration, limit: Limit) -> u64 {
        self.fill(age, limit);
        limit.full().saturating_sub(self.missing) / THOUSANDTHS
    }

    /// Returns how long it takes until there is a helping in it; nothing where it is not empty.
    fn wait(&mut self, age: Duration, limit: Limit) -> Duration {
        if self.room(age, limit) > 0 {
            return Duration::ZERO;
        }
        let too_much = self.missing.saturating_sub(limit.full() - limit.helping());
        Duration::from_millis(too_much.div_ceil(limit.per_second))
    }

    fn fill(&mut self, age: Duration, limit: Limit) {
        let age = age.as_millis() as u64;
        // So much a second, times thousandths of a second: nothing is rounded.
        let more = age.saturating_sub(self.filled);
        let more = more.saturating_mul(limit.per_second);
        self.missing = self.missing.saturating_sub(more);
        self.filled = self.filled.max(age);
    }
}

const THOUSANDTHS: u64 = 1000;

/// How often a second a connection at its limit is woken to read, at most.
const HELPINGS: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(7);

    fn limits(messages: u32, bytes: u64) -> Config {
        Config::default().message_rate(messages).byte_rate(bytes)
    }

    /// Receives for `time`, as much as there is room for, and waits then; returns how much that was.
    fn flood(config: &Config, time: Duration) -> (u64, u64) {
        let mut rates = Rates::default();
        let (mut age, mut received) = (START, (0, 0));
        while age <= START + time {
            let messages = rates.message_room(age, config).unwrap_or(0);
            let bytes = rates.byte_room(age, config).unwrap_or(0);
            rates.receive_messages(messages, age, config);
            let within = rates.receive_bytes(bytes as usize, age, config);
            assert_eq!(within, Ok(()));
            received = (received.0 + messages, received.1 + bytes);
            let wait = rates.wait(age, config);
            assert!(wait >= Duration::from_millis(1), "it spins");
            age += wait;
        }
        received
    }

    #[test]
    fn a_flood_of_an_hour_keeps_to_burst_and_rate() {
        for (rate, burst) in [(1, 1), (3, 7), (7, 1), (100, 200), (999, 10), (12_345, 1)] {
            let config = limits(rate, u64::from(rate) * 100)
                .message_burst(burst)
                .byte_burst(u64::from(burst) * 100);
            let (messages, bytes) = flood(&config, Duration::from_hours(1));
            // No less than what comes in 50 ms.
            let burst = u64::from(burst.max(rate.div_ceil(20)));
            let most = burst + 3600 * u64::from(rate);
            // A bucket of one message loses what is less than a millisecond.
            assert!(messages >= most - most / 100, "{messages} of {most}");
            assert!(messages <= most && bytes <= most * 100, "{bytes}");
        }
    }

    #[test]
    fn a_connection_at_its_limit_wakes_no_more_than_twenty_times_a_second() {
        let mut rates = Rates::default();
        let config = limits(1_000_000, 1_000_000_000);
        let (mut age, mut wakes) = (START, 0);
        while age < START + Duration::from_secs(10) {
            let room = rates.message_room(age, &config).unwrap_or(0);
            rates.receive_messages(room, age, &config);
            age += rates.wait(age, &config);
            wakes += 1;
        }
        assert!(wakes <= 201, "{wakes}");
    }

    /// However small the burst is, what is left of the rate is the rate.
    #[test]
    fn small_burst_costs_neither_the_rate_nor_more_wakes() {
        for burst in [1, 100, 10_000, 49_999] {
            let mut rates = Rates::default();
            let config = limits(1, 1_000_000).byte_burst(burst);
            let (mut age, mut wakes, mut bytes) = (START, 0, 0);
            while age < START + Duration::from_secs(10) {
                let room = rates.byte_room(age, &config).unwrap_or(0);
                assert_eq!(rates.receive_bytes(room as usize, age, &config), Ok(()));
                bytes += room;
                age += rates.wait(age, &config);
                wakes += 1;
            }
            assert!(wakes <= 201, "{wakes} wakes at {burst}");
            assert!(
                (9_950_000..=10_100_000).contains(&bytes),
                "{bytes} bytes at {burst}"
            );
        }
    }

    #[test]
    fn without_a_burst_a_second_may_come_at_once() {
        let mut rates = Rates::default();
        assert_eq!(rates.message_room(START, &limits(5, 70)), Some(5));
        assert_eq!(rates.byte_room(START, &limits(5, 70)), Some(70));
        let none = Config::default();
        assert_eq!(rates.message_room(START, &none), None);
        assert_eq!(rates.byte_room(START, &none), None);
        assert_eq!(rates.wait(START, &none), Duration::ZERO);
    }

    #[test]
    fn what_came_too_much_is_waited_for() {
        let mut rates = Rates::default();
        let config = limits(1, 100).byte_burst(100);
        assert_eq!(rates.receive_bytes(1100, START, &config), Ok(()));
        // Ten seconds of debt, and a twentieth of a second for five bytes.
        assert_eq!(rates.wait(START, &config), Duration::from_millis(10_050));
        let later = START + Duration::from_millis(10_050);
        assert_eq!(rates.byte_room(later, &config), Some(5));
    }

    #[test]
    fn where_that_closes_one_byte_too_much_is_an_error() {
        let config = limits(1, 100).close_over_rate(true);
        let mut rates = Rates::default();
        assert_eq!(rates.receive_bytes(100, START, &config), Ok(()));
        assert_eq!(
            rates.receive_bytes(1, START, &config),
            Err(ProtocolError::ByteFlood { rate: 100 })
        );
    }

    #[test]
    fn no_value_makes_it_spin_or_overflow() {
        for rate in [0, 1, u64::MAX] {
            for burst in [0, 1, u64::MAX] {
                let config = Config::default().byte_rate(rate).byte_burst(burst);
                let mut rates = Rates::default();
                for _ in 0..3 {
                    let _within = rates.receive_bytes(usize::MAX, START, &config);
                }
                let wait = rates.wait(START, &config);
                let full = rates.byte_room(START, &config) > Some(0);
                assert_eq!(full, wait.is_zero(), "{rate} {burst}");
            }
        }
    }
}
