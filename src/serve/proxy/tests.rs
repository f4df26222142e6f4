use std::io;

use super::*;
use Announced::{Client, Elsewhere, Nothing};

fn address(text: &str) -> Announced {
    Client(text.parse().unwrap())
}

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = v2::SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
    header.extend(addresses);
    header
}

/// 192.0.2.7:56324 to 198.51.100.1:443.
const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

/// A name of the server (PP2_TYPE_AUTHORITY), and nothing (PP2_TYPE_NOOP).
const VALUES: &[u8] = b"\x02\x00\x0bexample.com\x04\x00\x02\0\0";

/// [2001:db8::7]:56324 to [2001:db8::1]:443.
fn v6() -> Vec<u8> {
    let mut addresses = Vec::new();
    for last in [7, 1] {
        addresses.extend([0x20, 0x01, 0x0d, 0xb8]);
        addresses.extend([0; 11]);
        addresses.push(last);
    }
    addresses.extend([0xdc, 0x04, 0x01, 0xbb]);
    addresses
}

fn valid() -> Vec<(Vec<u8>, Announced)> {
    let v4 = address("192.0.2.7:56324");
    let v6_client = address("[2001:db8::7]:56324");
    let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                   ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    vec![
        // The examples of §2.1.
        (
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(),
            address("255.255.255.255:65535"),
        ),
        (
            b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
              ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
                .to_vec(),
            address("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), Nothing),
        (longest.as_bytes().to_vec(), Nothing),
        (
            b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".to_vec(),
            address("192.168.0.1:56324"),
        ),
        (
            b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n".to_vec(),
            address("0.0.0.0:0"),
        ),
        (b"PROXY TCP6 :: ::1 1 2\r\n".to_vec(), address("[::]:1")),
        (v2(0x21, 0x11, V4), v4),
        (v2(0x21, 0x12, V4), v4),
        (v2(0x21, 0x11, &[V4, VALUES].concat()), v4),
        (v2(0x21, 0x11, &[V4, &[0; 60_000]].concat()), v4),
        (v2(0x21, 0x21, &v6()), v6_client),
        (v2(0x21, 0x22, &[&v6(), VALUES].concat()), v6_client),
        (v2(0x21, 0x31, &[b'a'; 216]), Elsewhere),
        (v2(0x21, 0x32, &[&[0; 216], VALUES].concat()), Elsewhere),
        (v2(0x21, 0x00, b""), Nothing),
        (v2(0x21, 0x00, VALUES), Nothing),
        (v2(0x20, 0x00, b""), Nothing),
        (v2(0x20, 0x11, V4), Nothing),
        (v2(0x20, 0x11, b"\0"), Nothing),
        (v2(0x20, 0xff, V4), Nothing),
    ]
}

/// Bytes that come one by one, in two pieces, or at once.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    let edges = (0..len.min(300)).chain(len.saturating_sub(3)..len);
    edges.chain([usize::MAX])
}

/// Reads a header off the front of a stream whose first piece ends at `cut`.
async fn read(bytes: &[u8], cut: usize) -> (Result<Announced, ProxyError>, Vec<u8>) {
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    let mut stream = in_two(first, second);
    let announced = read_header(&mut stream).await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    (announced, rest)
}

fn in_two<'a>(first: &'a [u8], second: &'a [u8]) -> impl AsyncRead + Unpin + 'a {
    first.chain(second)
}

#[tokio::test]
async fn header_is_read_at_every_cut_and_nothing_behind_it() {
    for (header, expected) in valid() {
        let bytes = [&header, &b"GET / HTTP/1.1\r\n"[..]].concat();
        for cut in cuts(header.len() + 1) {
            let (announced, rest) = read(&bytes, cut).await;
            assert_eq!(announced.unwrap(), expected, "{header:?} cut at {cut}");
            assert_eq!(rest, b"GET / HTTP/1.1\r\n", "{header:?} cut at {cut}");
        }
    }
}

#[tokio::test]
async fn header_that_ends_early_is_an_end() {
    for (header, _) in valid() {
        for end in cuts(header.len()).filter(|&end| end < header.len()) {
            match read(&header[..end], usize::MAX).await.0 {
                Err(ProxyError::Io(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof)
                }
                other => panic!("{header:?} up to {end}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_header_is_missing() {
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on",
        b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXYTCP4 192.0.2.7 192.0.2.1 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\r\n\x21\x11\0\0",
    ] {
        let (announced, _) = read(bytes, usize::MAX).await;
        assert!(
            matches!(announced, Err(ProxyError::Missing)),
            "{bytes:?}: {announced:?}"
        );
    }
}

#[tokio::test]
async fn malformed_line_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n            ",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \r\n",
        "PROXY TCP4 192.0.2.7  192.0.2.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 65536 2\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 -1 2\r\n",
        "PROXY TCP4 192.0.2.700 192.0.2.1 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n                       ",
        "PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
        "PROXY TCP6 2001:db8::7%eth0 2001:db8::1 1 2\r\n",
        "PROXY TCP5 192.0.2.7 192.0.2.1 1 2\r\n",
        "PROXY tcp4 192.0.2.7 192.0.2.1 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY  TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
        // Longer than any line may be, and without an end.
        &format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)),
        &"PROXY ".repeat(100),
    ] {
        let (announced, _) = read(line.as_bytes(), usize::MAX).await;
        assert!(
            matches!(announced, Err(ProxyError::Malformed)),
            "{line:?}: {announced:?}"
        );
    }
    let bytes = b"PROXY UNKNOWN \xff\xff\r\n";
    let (announced, _) = read(bytes, usize::MAX).await;
    assert!(
        matches!(announced, Err(ProxyError::Malformed)),
        "{announced:?}"
    );
}

#[tokio::test]
async fn malformed_binary_header_is_refused() {
    for header in [
        v2(0x11, 0x11, V4),
        v2(0x31, 0x11, V4),
        v2(0x22, 0x11, V4),
        v2(0x21, 0x01, V4),
        v2(0x21, 0x10, V4),
        v2(0x21, 0x13, V4),
        v2(0x21, 0x41, V4),
        v2(0x21, 0x11, &V4[..11]),
        v2(0x21, 0x21, &v6()[..35]),
        v2(0x21, 0x31, &[0; 215]),
    ] {
        let (announced, _) = read(&header, usize::MAX).await;
        assert!(
            matches!(announced, Err(ProxyError::Malformed)),
            "{header:?}: {announced:?}"
        );
    }
}

#[test]
fn any_bytes_are_a_header_or_none_and_ask_for_no_more_than_there_is_room_for() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let headers = valid();
    for round in 0..20_000 {
        let mut bytes = headers[round % headers.len()].0.clone();
        bytes.truncate(LONGEST);
        for _ in 0..round % 4 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = random as usize % bytes.len();
            bytes[at] = (random >> 32) as u8;
        }
        let mut len = 0;
        while let Ok(Step::More(more)) = decode(&bytes[..len]) {
            assert!(
                more > 0 && len + more <= LONGEST,
                "{bytes:?} at {len}: {more}"
            );
            len += more;
            if len > bytes.len() {
                break;
            }
        }
    }
}
