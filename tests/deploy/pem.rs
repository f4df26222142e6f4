//! A certificate as proxies read it.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns DER as PEM (RFC 7468 §3).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let lines: Vec<String> = der.chunks(48).map(line).collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

fn line(bytes: &[u8]) -> String {
    bytes.chunks(3).flat_map(four).collect()
}

/// Returns up to three bytes as four characters.
fn four(bytes: &[u8]) -> [char; 4] {
    let at = |n: usize| u32::from(*bytes.get(n).unwrap_or(&0));
    let word = at(0) << 16 | at(1) << 8 | at(2);
    [0, 1, 2, 3].map(|n| match n > bytes.len() {
        true => '=',
        false => DIGITS[(word >> (18 - 6 * n)) as usize & 63].into(),
    })
}
