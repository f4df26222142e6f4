//! Masking (RFC 6455 §5.3).

/// Masks or unmasks `payload` in place; the two are the same (RFC 6455 §5.3).
///
/// ```
/// use tower_websocket::protocol::{apply_mask, random_masking_key};
///
/// let mut payload = *b"\x7f\x9f\x4d\x51\x58"; // the example of RFC 6455 §5.7
/// apply_mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d]);
/// assert_eq!(&payload, b"Hello");
///
/// let key = random_masking_key();
/// apply_mask(&mut payload, key);
/// apply_mask(&mut payload, key);
/// assert_eq!(&payload, b"Hello");
/// ```
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

/// As [`apply_mask`], for a payload of at most 125 bytes: without what a long loop begins with.
#[inline]
pub(super) fn apply_mask_short(payload: &mut [u8], key: [u8; 4]) {
    let word = u32::from_ne_bytes(key);
    let long = u64::from(word) | u64::from(word) << 32;
    let wide = u128::from(long) | u128::from(long) << 64;
    let (wides, tail) = payload.as_chunks_mut::<16>();
    for chunk in wides {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    let (longs, tail) = tail.as_chunks_mut::<8>();
    if let Some(chunk) = longs.first_mut() {
        *chunk = (u64::from_ne_bytes(*chunk) ^ long).to_ne_bytes();
    }
    let (words, tail) = tail.as_chunks_mut::<4>();
    if let Some(chunk) = words.first_mut() {
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
pub(crate) fn advance_key(key: [u8; 4], len: usize) -> [u8; 4] {
    // As a number, it is turned by one instruction.
    let word = u32::from_le_bytes(key);
    word.rotate_right(8 * (len % 4) as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
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
                apply_mask_short(&mut buffer[offset..], KEY);
                assert_eq!(naive(&buffer[offset..], KEY), expected, "{len} at {offset}");
                let copy = masked_copy(&buffer[offset..], KEY);
                assert_eq!(copy, expected, "copy of {len} at {offset}");
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
}
