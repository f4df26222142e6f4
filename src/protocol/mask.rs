//! Masking (RFC 6455 §5.3).

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
    BATCH.with_borrow_mut(|batch| {
        if let Some(key) = batch.pop() {
            return key;
        }
        let mut bytes = [0; 4 * BATCH_KEYS];
        // Without random numbers no client may send: §5.3 demands unpredictable keys.
        getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
        let (keys, _) = bytes.as_chunks::<4>();
        batch.extend_from_slice(&keys[1..]);
        keys[0]
    })
}

thread_local! {
    static BATCH: RefCell<Vec<[u8; 4]>> = const { RefCell::new(Vec::new()) };
}

const BATCH_KEYS: usize = 64;
