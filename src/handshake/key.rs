//! `Sec-WebSocket-Key` and the `Sec-WebSocket-Accept` that answers it (RFC 6455 §4.2.2).

use base64::{
    Engine, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use http::HeaderValue;
use sha1::{Digest, Sha1};

/// Returns the `Sec-WebSocket-Accept` for the bytes of a `Sec-WebSocket-Key`.
///
/// The key is taken as it was sent and not checked: ask [`is_valid`] first.
///
/// ```
/// use tower_websocket::handshake::key;
///
/// assert_eq!(key::accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept(key: &[u8]) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    base64_value(&digest.into())
}

/// Makes a key for a client: 16 random bytes from the operating system's generator (RFC 6455 §4.1).
///
/// ```
/// use tower_websocket::handshake::key;
///
/// assert!(key::is_valid(key::random().as_bytes()));
/// ```
///
/// # Panics
///
/// Panics if the operating system has no random numbers.
#[must_use]
pub fn random() -> HeaderValue {
    let mut nonce = [0; 16];
    // §4.1 demands a random nonce for each connection.
    getrandom::fill(&mut nonce).expect("the operating system gives random numbers");
    let mut text = [0; 24];
    let encoded = STANDARD.encode_slice(nonce, &mut text);
    debug_assert_eq!(encoded, Ok(text.len()));
    HeaderValue::from_bytes(&text).expect("base64 is visible ASCII")
}

/// Reports whether this is the base64 of 16 bytes (RFC 6455 §4.2.1 item 5).
///
/// That is 24 characters of the standard alphabet with padding. The bits that the last of them has
/// to spare may be anything: RFC 4648 §3.5 leaves it to the decoder.
///
/// ```
/// use tower_websocket::handshake::key;
///
/// assert!(key::is_valid(b"dGhlIHNhbXBsZSBub25jZQ=="));
/// assert!(!key::is_valid(b"too short"));
/// ```
#[must_use]
pub fn is_valid(key: &[u8]) -> bool {
    // Three quarters of 24 characters, before the padding is known.
    let mut nonce = [0; 18];
    KEY.decode_slice(key, &mut nonce).is_ok_and(|len| len == 16)
}

fn base64_value(digest: &[u8; 20]) -> HeaderValue {
    let mut text = [0; 28];
    let encoded = STANDARD.encode_slice(digest, &mut text);
    debug_assert_eq!(encoded, Ok(text.len()));
    HeaderValue::from_bytes(&text).expect("base64 is visible ASCII")
}

/// What every server appends to the key (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const KEY: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §1.3.
    const SAMPLE: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn sample_of_the_rfc_is_answered_as_in_the_rfc() {
        assert_eq!(accept(SAMPLE), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn another_key_has_another_answer() {
        assert_ne!(accept(b"dGhlIHNhbXBsZSBub25jZA=="), accept(SAMPLE));
    }

    #[test]
    fn random_keys_are_keys_and_differ() {
        let keys = [random(), random()];
        assert!(keys.iter().all(|key| is_valid(key.as_bytes())));
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn sixteen_bytes_are_a_key() {
        assert!(is_valid(SAMPLE));
        assert!(is_valid(b"AAAAAAAAAAAAAAAAAAAAAA=="));
        assert!(is_valid(b"++++////++++////++++/w=="));
    }

    #[test]
    fn spare_bits_of_a_key_may_be_set() {
        assert!(is_valid(b"AAAAAAAAAAAAAAAAAAAAAB=="));
    }

    #[test]
    fn fifteen_and_seventeen_bytes_are_no_key() {
        assert!(!is_valid(b"AAAAAAAAAAAAAAAAAAAA"));
        assert!(!is_valid(b"AAAAAAAAAAAAAAAAAAAAAAA="));
        assert!(!is_valid(b"AAAAAAAAAAAAAAAAAAAAAAAA"));
    }

    #[test]
    fn other_text_is_no_key() {
        let long = [b'A'; 64 << 10];
        let table: [(&str, &[u8]); 8] = [
            ("nothing", b""),
            ("no padding", b"dGhlIHNhbXBsZSBub25jZQ"),
            ("half the padding", b"dGhlIHNhbXBsZSBub25jZQ="),
            ("the url-safe alphabet", b"----____----____----_w=="),
            ("padding inside", b"dGhlIHNhbXBsZSBub25j===="),
            ("white space", b" GhlIHNhbXBsZSBub25jZQ=="),
            ("a byte that is not ASCII", b"\xffGhlIHNhbXBsZSBub25jZQ=="),
            ("64 KiB", &long),
        ];
        for (name, key) in table {
            assert!(!is_valid(key), "{name}");
        }
    }
}
