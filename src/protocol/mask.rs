//! Masking (RFC 6455 §5.3).

#[cfg(not(shuttle))]
use std::cell::RefCell;

/// Masks or unmasks `payload` in place; the two are the same.
#[inline]
pub fn apply_mask(payload: &mut [u8], key: [u8; 4]) {
    let word = u32::from_ne_bytes(key);
    let (words, tail) = payload.as_chunks_mut::<4>();
    for chunk in words {
        *chunk = (u32::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Copies `payload` and masks or unmasks the copy, in one pass.
#[inline(never)]
pub(super) fn masked_copy(payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let word = u32::from_ne_bytes(key);
    let (words, tail) = payload.as_chunks::<4>();
    let masked = words
        .iter()
        .map(|chunk| (u32::from_ne_bytes(*chunk) ^ word).to_ne_bytes());
    let mut copy = Vec::with_capacity(payload.len().div_ceil(4));
    copy.extend(masked);
    let mut copy = copy.into_flattened();
    copy.extend(tail.iter().zip(key).map(|(byte, key)| byte ^ key));
    copy
}

/// The key for the bytes that follow the first `len` ones of a payload.
#[inline]
pub(crate) fn advance_key(mut key: [u8; 4], len: usize) -> [u8; 4] {
    key.rotate_left(len % 4);
    key
}

/// Draws an unpredictable masking key from the operating system's generator (§10.3).
///
/// Keys are drawn in batches, one batch per thread.
///
/// # Panics
///
/// Panics when the operating system has no random numbers to give.
#[must_use]
pub fn random_masking_key() -> [u8; 4] {
    // What is tried has to come again: it draws the same each time.
    #[cfg(shuttle)]
    return shuttle::rand::Rng::r#gen(&mut shuttle::rand::thread_rng());
    #[cfg(not(shuttle))]
    BATCH.with_borrow_mut(|batch| {
        if let Some(key) = batch.pop() {
            return key;
        }
        let mut bytes = [0; 4 * BATCH_KEYS];
        fill(&mut bytes);
        let (keys, _) = bytes.as_chunks::<4>();
        batch.extend_from_slice(&keys[1..]);
        keys[0]
    })
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
    static BATCH: RefCell<Vec<[u8; 4]>> = const { RefCell::new(Vec::new()) };
}

#[cfg(any(test, not(shuttle)))]
const BATCH_KEYS: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::protocol::test_support::{KEY, Random};

    /// RFC 6455 §5.3 to the letter.
    fn naive(payload: &[u8], key: [u8; 4]) -> Vec<u8> {
        let octets = payload.iter().enumerate();
        octets.map(|(i, octet)| octet ^ key[i % 4]).collect()
    }

    #[test]
    fn hello_of_the_standard_is_unmasked_and_masked() {
        let mut hello = *b"\x7f\x9f\x4d\x51\x58";
        apply_mask(&mut hello, KEY);
        assert_eq!(&hello, b"Hello");
        apply_mask(&mut hello, KEY);
        assert_eq!(&hello, b"\x7f\x9f\x4d\x51\x58");
    }

    #[test]
    fn every_length_and_alignment_is_masked_as_the_standard_says() {
        let mut random = Random(1);
        for len in 0..300 {
            for offset in 0..8 {
                let mut buffer = random.bytes(offset + len);
                let expected = naive(&buffer[offset..], KEY);
                apply_mask(&mut buffer[offset..], KEY);
                assert_eq!(buffer[offset..], expected, "{len} bytes at {offset}");
                let copy = masked_copy(&buffer[offset..], KEY);
                assert_eq!(naive(&copy, KEY), expected, "copy of {len} at {offset}");
            }
        }
    }

    #[test]
    fn advanced_key_goes_on_at_every_cut() {
        let payload = Random(2).bytes(37);
        for cut in 0..=payload.len() {
            let mut pieces = payload.clone();
            let (first, second) = pieces.split_at_mut(cut);
            apply_mask(first, KEY);
            apply_mask(second, advance_key(KEY, cut));
            assert_eq!(pieces, naive(&payload, KEY), "cut at {cut}");
        }
    }

    #[test]
    fn random_keys_differ_within_and_between_batches() {
        let draw = || -> HashSet<_> { (0..4 * BATCH_KEYS).map(|_| random_masking_key()).collect() };
        // Among 512 random keys of four bytes two are the same once in 30,000 runs, three never.
        let (first, second) = (draw(), draw());
        assert!(first.len() >= 4 * BATCH_KEYS - 1, "{}", first.len());
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

    /// How many keys were drawn before.
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
