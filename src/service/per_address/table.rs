//! What is known of each address: how much it has open, and when it may ask again.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    mem,
    time::Duration,
};

use super::key::Key;
use crate::{
    handshake::Rejection,
    lock::{Lock, LockGuard},
};

/// How many new connections there may be, and in what time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// The time that one connection takes of the whole.
    each: Duration,
    /// In which all of them have come back.
    per: Duration,
}

impl Rate {
    pub(super) fn new(connections: u32, per: Duration) -> Self {
        let connections = connections.max(1);
        let each = per.min(LONGEST) / connections;
        Self {
            each,
            per: each * connections,
        }
    }

    /// Takes one of an address whose bucket is full at `full`, and returns when it is then.
    ///
    /// # Errors
    ///
    /// There is none: how long until there is one.
    fn take(self, full: Duration, now: Duration) -> Result<Duration, Duration> {
        let full = full.max(now) + self.each;
        match full.checked_sub(now + self.per) {
            None | Some(Duration::ZERO) => Ok(full),
            Some(wait) => Err(wait),
        }
    }
}

/// How many connections each address has open.
pub(super) struct Open(Shards<HashMap<Key, usize>>);

impl Open {
    pub(super) fn new() -> Self {
        Self(Shards::new())
    }

    /// Counts a connection, which has to be [released](Self::release).
    ///
    /// # Errors
    ///
    /// There are too many of that address. Nothing was counted.
    pub(super) fn admit(&self, key: Key, max_open: Option<usize>) -> Result<(), Rejection> {
        let mut shard = self.0.lock(key);
        let open = shard.get(&key).copied().unwrap_or(0);
        if max_open.is_some_and(|max| open >= max) {
            return Err(Rejection::TooManyOpen);
        }
        shard.insert(key, open + 1);
        Ok(())
    }

    /// Takes back a connection that was counted.
    pub(super) fn release(&self, key: Key) {
        let mut shard = self.0.lock(key);
        if let Entry::Occupied(mut open) = shard.entry(key) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
        if shard.capacity() > 64 && shard.len() < shard.capacity() / 8 {
            shard.shrink_to(64);
        }
    }
}

/// When each address may ask again, at one rate: at another, buckets are full at other times.
pub(super) struct Table {
    rate: Rate,
    recent: Shards<Recent>,
}

impl Table {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            recent: Shards::new(),
        }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes a connection that is asked for `now`.
    ///
    /// # Errors
    ///
    /// That address has asked for too many. Nothing was taken.
    pub(super) fn take(&self, key: Key, now: Duration) -> Result<(), Rejection> {
        let mut recent = self.recent.lock(key);
        let idle = recent.age(self.rate.per, now);
        let full = self.rate.take(recent.full(key), now);
        let full = full.map_err(|retry_after| Rejection::TooManyNew { retry_after });
        let taken = full.map(|full| recent.remember(key, full, now));
        drop(recent);
        drop(idle);
        taken.map(drop)
    }
}

/// All addresses, in shards that have a lock each.
struct Shards<T> {
    shards: [Lock<T>; SHARDS],
    /// Who knows no key of it cannot choose addresses that fall together.
    hasher: RandomState,
}

impl<T: Default> Shards<T> {
    fn new() -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
        }
    }

    fn lock(&self, key: Key) -> LockGuard<'_, T> {
        self.shards[self.hasher.hash_one(key) as usize % SHARDS].lock()
    }
}

/// When the bucket of each address is full, in two generations: where nothing was taken during the whole
/// of one, it is full, and need not be known.
#[derive(Default)]
struct Recent {
    young: Generation,
    old: Generation,
    /// When the young one began.
    began: Duration,
}

type Generation = HashMap<Key, Duration>;

impl Recent {
    /// Begins a new generation if it is time. What is forgotten is dropped by the caller, without the lock.
    fn age(&mut self, per: Duration, now: Duration) -> Option<[Generation; 2]> {
        let age = now.saturating_sub(self.began);
        if age < per {
            return None;
        }
        let before = self.begin(now);
        let idle = if age < per * 2 {
            Generation::new()
        } else {
            mem::take(&mut self.old)
        };
        Some([before, idle])
    }

    fn begin(&mut self, now: Duration) -> Generation {
        self.began = now;
        let young = mem::take(&mut self.young);
        mem::replace(&mut self.old, young)
    }

    fn full(&self, key: Key) -> Duration {
        let full = self.young.get(&key).or_else(|| self.old.get(&key));
        full.copied().unwrap_or_default()
    }

    /// Remembers when a bucket is full, and forgets the older generation where there is no room.
    fn remember(&mut self, key: Key, full: Duration, now: Duration) -> Option<[Generation; 2]> {
        let no_room = self.young.len() >= MAX_YOUNG && !self.young.contains_key(&key);
        let forgotten = no_room.then(|| [self.begin(now), Generation::new()]);
        self.young.insert(key, full);
        forgotten
    }
}

const SHARDS: usize = 16;

/// How many addresses a generation of a shard has at most: what fits into a table of 4,096 places, and is
/// 57,344 of all shards together.
const MAX_YOUNG: usize = 4096 / 8 * 7;

/// Times of a rate are no longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ask(table: &Table, key: u32, now: Duration) -> Result<(), Rejection> {
        table.take(Key::V4(key), now)
    }

    fn too_many(retry_after: Duration) -> Result<(), Rejection> {
        Err(Rejection::TooManyNew { retry_after })
    }

    #[test]
    fn so_many_are_new_at_once_and_as_many_again_spread_over_the_time() {
        let table = Table::new(Rate::new(4, 8 * SECOND));
        let mut now = 100 * SECOND;
        for _ in 0..4 {
            ask(&table, 1, now).unwrap();
        }
        for _ in 0..100 {
            assert_eq!(ask(&table, 1, now), too_many(2 * SECOND));
        }
        now += 2 * SECOND - Duration::from_nanos(1);
        assert_eq!(ask(&table, 1, now), too_many(Duration::from_nanos(1)));
        now += Duration::from_nanos(1);
        ask(&table, 1, now).unwrap();
        assert_eq!(ask(&table, 1, now), too_many(2 * SECOND));
        ask(&table, 2, now).unwrap();
        // All of them are back.
        now += 8 * SECOND;
        for _ in 0..4 {
            ask(&table, 1, now).unwrap();
        }
        assert_eq!(ask(&table, 1, now), too_many(2 * SECOND));
    }

    #[test]
    fn no_address_is_forgotten_before_its_bucket_is_full() {
        let rate = Rate::new(5, 10 * SECOND);
        for start in 0..30 {
            let table = Table::new(rate);
            let start = start * SECOND;
            for _ in 0..5 {
                ask(&table, 1, start).unwrap();
            }
            for second in 1..30 {
                let now = start + second * SECOND;
                // Others come and go, and generations with them.
                ask(&table, 1000 + second, now).unwrap();
                let before = ask(&table, 1, now);
                assert_eq!(
                    before.is_ok(),
                    second % 2 == 0,
                    "{second} s after {start:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_open_counts_until_it_is_released() {
        let table = Open::new();
        let ask = |key| table.admit(Key::V6(key), Some(2));
        assert_eq!((ask(1), ask(1), ask(2)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(ask(1), Err(Rejection::TooManyOpen));
        table.release(Key::V6(1));
        assert_eq!(ask(1), Ok(()));
        assert_eq!(ask(1), Err(Rejection::TooManyOpen));
        for key in [1, 1, 2] {
            table.release(Key::V6(key));
        }
        for shard in &table.0.shards {
            assert!(shard.lock().is_empty());
        }
    }

    #[test]
    fn memory_is_bounded_whatever_addresses_come() {
        let table = Table::new(Rate::new(2, 1000 * SECOND));
        for key in 0..400_000 {
            ask(&table, key, SECOND).unwrap();
        }
        let places = |generation: &Generation| generation.capacity();
        let all = |recent: &Lock<Recent>| {
            let recent = recent.lock();
            places(&recent.young) + places(&recent.old)
        };
        let places: usize = table.recent.shards.iter().map(all).sum();
        let bytes = places * 8 / 7 * (size_of::<(Key, Duration)>() + 1);
        assert!(bytes <= 5 << 20, "{bytes}");
        // The latest are known, and the earliest forgotten.
        ask(&table, 399_999, SECOND).unwrap();
        assert!(ask(&table, 399_999, SECOND).is_err());
        for _ in 0..2 {
            ask(&table, 0, SECOND).unwrap();
        }
        // What was idle for long is forgotten, too.
        ask(&table, 0, 5000 * SECOND).unwrap();
        let mut idle = table
            .recent
            .shards
            .iter()
            .filter(|shard| all(shard) < MAX_YOUNG);
        assert!(idle.next().is_some());
    }

    #[test]
    fn rates_that_make_no_sense_limit_what_they_can() {
        let table = |connections, per| Table::new(Rate::new(connections, per));
        let none = table(0, SECOND);
        ask(&none, 1, SECOND).unwrap();
        assert_eq!(ask(&none, 1, SECOND), too_many(SECOND));
        let (no_time, all) = (table(1, Duration::ZERO), table(u32::MAX, Duration::MAX));
        for _ in 0..1000 {
            ask(&no_time, 1, SECOND).unwrap();
            ask(&all, 1, SECOND).unwrap();
        }
        let longest = table(1, Duration::MAX);
        ask(&longest, 1, SECOND).unwrap();
        assert_eq!(ask(&longest, 1, SECOND), too_many(LONGEST));
    }
}
