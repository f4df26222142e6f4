//! What the targets measure the crate by, written from the standards and from nothing of the crate:
//! a naive reader of frames, a naive DEFLATE.
//!
//! `.ci/fuzz` does not count what runs in here, so that it tells libFuzzer nothing new.

use arbitrary::{Result, Unstructured};

pub mod deflate;
pub mod frames;

/// Takes bytes: a length, and so many of those that follow, as far as there are any.
///
/// `Vec<u8>` would ask before each byte whether there is another.
pub fn bytes<'a>(u: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let len = match u.arbitrary::<u8>()? {
        len @ 0..=0xf7 => usize::from(len),
        high => usize::from(high & 7) << 8 | usize::from(u.arbitrary::<u8>()?),
    };
    u.bytes(len.min(u.len()))
}

/// The longest beginning that is UTF-8.
pub fn text(mut bytes: Vec<u8>) -> String {
    let valid = match std::str::from_utf8(&bytes) {
        Ok(_) => bytes.len(),
        Err(error) => error.valid_up_to(),
    };
    bytes.truncate(valid);
    String::from_utf8(bytes).expect("it is valid so far")
}
