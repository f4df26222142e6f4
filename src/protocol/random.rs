//! Random bytes, drawn from the operating system in batches.

#[cfg(not(shuttle))]
use std::cell::RefCell;

/// Draws an unpredictable masking key from the operating system's generator (RFC 6455 §10.3).
///
/// Keys are drawn in batches, one batch per thread.
///
/// # Panics
///
/// Panics if the operating system has no random numbers.
#[must_use]
pub fn random_masking_key() -> [u8; 4] {
    random()
}

/// Draws `N` unpredictable bytes, of which no other call gets any; at most a batch of 256.
///
/// # Panics
///
/// Panics when the operating system has no random numbers to give.
#[cfg(not(shuttle))]
#[inline]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    const { assert!(N <= BATCH, "a batch is enough") };
    BYTES.with_borrow_mut(|batch| batch.take())
}

/// Draws the same each time: what is tried has to come again.
#[cfg(shuttle)]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    [0; N].map(|_| shuttle::rand::Rng::r#gen(&mut shuttle::rand::thread_rng()))
}

/// Bytes that were drawn, of which the first `left` were given to nobody yet.
#[cfg(not(shuttle))]
struct Batch {
    bytes: [u8; BATCH],
    left: usize,
}

#[cfg(not(shuttle))]
impl Batch {
    #[inline]
    fn take<const N: usize>(&mut self) -> [u8; N] {
        loop {
            if let Some((left, taken)) = self.bytes[..self.left].split_last_chunk() {
                self.left = left.len();
                return *taken;
            }
            self.draw();
        }
    }

    #[cold]
    fn draw(&mut self) {
        fill(&mut self.bytes);
        self.left = BATCH;
    }
}

/// Fills with random bytes.
#[cfg(not(any(shuttle, sim)))]
fn fill(bytes: &mut [u8]) {
    // Without random numbers no client may send: §5.3 demands unpredictable keys.
    getrandom::fill(bytes).expect("the operating system gives random numbers");
}

/// Fills with what comes again in each thread: what is simulated is to be the same twice.
#[cfg(all(sim, not(shuttle)))]
fn fill(bytes: &mut [u8]) {
    thread_local! {
        static STATE: std::cell::Cell<u32> = const { std::cell::Cell::new(1) };
    }
    for byte in bytes {
        let next = STATE
            .get()
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        STATE.set(next);
        *byte = (next >> 24) as u8;
    }
}

#[cfg(not(shuttle))]
thread_local! {
    static BYTES: RefCell<Batch> = const { RefCell::new(Batch { bytes: [0; BATCH], left: 0 }) };
}

/// Has this thread draw nothing but `byte`, until a batch is used up.
#[cfg(all(test, feature = "deflate", feature = "layer", not(shuttle)))]
pub(crate) fn repeat(byte: u8) {
    BYTES.with_borrow_mut(|batch| {
        *batch = Batch {
            bytes: [byte; BATCH],
            left: BATCH,
        };
    });
}

/// How many bytes are drawn at once.
#[cfg(not(shuttle))]
const BATCH: usize = 256;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_byte_is_given_twice_whatever_the_sizes_that_are_asked_for() {
        let mut batch = Batch {
            bytes: std::array::from_fn(|index| index as u8),
            left: BATCH,
        };
        let mut given = Vec::new();
        for _ in 0..BATCH / 16 {
            given.extend(batch.take::<4>());
            given.extend(batch.take::<8>());
            given.extend(batch.take::<3>());
            given.extend(batch.take::<1>());
        }
        given.sort_unstable();
        assert!(
            given
                .iter()
                .enumerate()
                .all(|(index, byte)| index == usize::from(*byte))
        );
    }

    #[test]
    fn rest_of_a_batch_too_short_for_what_is_asked_for_is_drawn_anew() {
        let mut batch = Batch {
            bytes: [0; BATCH],
            left: 7,
        };
        assert_ne!(batch.take::<8>(), [0; 8]);
        assert_eq!(batch.left, BATCH - 8);
    }

    #[test]
    fn random_keys_differ_within_and_between_batches() {
        let draw = || -> HashSet<_> { (0..BATCH).map(|_| random_masking_key()).collect() };
        // Among 512 random keys of four bytes two are the same once in 30,000 runs, three never.
        let (first, second) = (draw(), draw());
        assert!(first.len() >= BATCH - 1, "{}", first.len());
        assert!(first.intersection(&second).count() <= 1);
    }

    #[test]
    fn random_keys_use_every_bit() {
        let keys = (0..256).map(|_| u32::from_ne_bytes(random_masking_key()));
        let (any, all) = keys.fold((0, u32::MAX), |(any, all), key| (any | key, all & key));
        assert_eq!((any, all), (u32::MAX, 0));
    }

    fn draw_keys(count: usize) -> Vec<u32> {
        let keys = (0..count).map(|_| u32::from_ne_bytes(random_masking_key()));
        keys.collect()
    }

    /// Returns how many keys were drawn before.
    fn repeats(mut keys: Vec<u32>) -> usize {
        keys.sort_unstable();
        keys.windows(2).filter(|pair| pair[0] == pair[1]).count()
    }

    /// Among a million random keys of 32 bits 10^12 / 2^33 = 116.4 were drawn before, give or take
    /// 10.8. Fewer than 40 or more than 200 come once in 10^11 runs. A counter repeats none.
    const REPEATS: std::ops::RangeInclusive<usize> = 40..=200;

    #[test]
    fn a_million_random_keys_repeat_as_often_as_chance_has_it() {
        let keys = draw_keys(1_000_000);
        // So many ones in each bit of a key, and of what two in a row have in common: half of them,
        // give or take 500.
        let steps = keys.windows(2).map(|pair| pair[0] ^ pair[1]);
        let steps: Vec<_> = steps.collect();
        for words in [&keys, &steps] {
            for bit in 0..32 {
                let ones = words.iter().filter(|word| **word >> bit & 1 == 1).count();
                assert!((496_000..=504_000).contains(&ones), "{ones} in bit {bit}");
            }
        }
        let repeats = repeats(keys);
        assert!(REPEATS.contains(&repeats), "{repeats}");
    }

    #[test]
    fn keys_of_many_threads_repeat_as_often_as_those_of_one() {
        let threads: Vec<_> = (0..8)
            .map(|_| std::thread::spawn(|| draw_keys(125_000)))
            .collect();
        let keys = threads.into_iter().flat_map(|thread| thread.join().ok());
        let repeats = repeats(keys.flatten().collect());
        assert!(REPEATS.contains(&repeats), "{repeats}");
    }
}
