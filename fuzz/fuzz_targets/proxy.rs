//! The header of the PROXY protocol, on any bytes.
//!
//! - What is read is what a naive reading of HAProxy's `doc/proxy-protocol.txt` (§2.1, §2.2) makes of the same bytes, or
//!   neither makes anything of them.
//! - Nothing behind the header is taken.
//! - Byte by byte it is the same, and so is what is wrong.
//!
//! The reader is private to `serve`, whose TLS is not built for this: its sources are taken as they are.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    serve::check(input);
    // What no random bytes begin with.
    for signature in [
        &b"PROXY TCP4 "[..],
        b"PROXY TCP6 ",
        b"\r\n\r\n\0\r\nQUIT\n\x21",
    ] {
        serve::check(&[signature, input].concat());
    }
});

#[path = "../../src/serve"]
mod serve {
    use std::{
        io,
        net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use tokio::io::{AsyncRead, ReadBuf};

    #[path = "proxy/mod.rs"]
    mod proxy;

    use proxy::{Announced, ProxyError};

    pub(crate) fn check(input: &[u8]) {
        let (whole, left) = read(input, usize::MAX);
        let (cut, left_of_cut) = read(input, 1);
        assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
        assert_eq!(left, left_of_cut);
        let read = whole.ok().map(|announced| (announced, input.len() - left));
        assert_eq!(read, naive(input));
    }

    /// Reads a header, and tells how many bytes are left.
    fn read(input: &[u8], most: usize) -> (Result<Announced, ProxyError>, usize) {
        let mut stream = Pieces { left: input, most };
        let announced = {
            let reading = pin!(proxy::read_header(&mut stream));
            match reading.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(announced) => announced,
                Poll::Pending => panic!("it waits for nothing"),
            }
        };
        (announced, stream.left.len())
    }

    /// Bytes that come a few at a time.
    struct Pieces<'a> {
        left: &'a [u8],
        most: usize,
    }

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let len = self.left.len().min(self.most).min(buffer.remaining());
            let (now, later) = self.left.split_at(len);
            buffer.put_slice(now);
            self.left = later;
            Poll::Ready(Ok(()))
        }
    }

    /// What the header at the front says, and how long it is.
    fn naive(input: &[u8]) -> Option<(Announced, usize)> {
        if input.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
            binary(input)
        } else {
            line(input)
        }
    }

    /// Version 1: a line of 107 bytes at most, with its end.
    fn line(input: &[u8]) -> Option<(Announced, usize)> {
        let end = (0..=105).find(|&at| input.get(at..at + 2) == Some(b"\r\n"))?;
        let words: Vec<&str> = str::from_utf8(&input[..end]).ok()?.split(' ').collect();
        let announced = match words[..] {
            ["PROXY", "UNKNOWN", ..] => Announced::Nothing,
            ["PROXY", "TCP4", client, server, from, to] => {
                let _: Ipv4Addr = server.parse().ok()?;
                let client: Ipv4Addr = client.parse().ok()?;
                port(to)?;
                Announced::Client(SocketAddr::new(client.into(), port(from)?))
            }
            ["PROXY", "TCP6", client, server, from, to] => {
                let _: Ipv6Addr = server.parse().ok()?;
                let client: Ipv6Addr = client.parse().ok()?;
                port(to)?;
                Announced::Client(SocketAddr::new(client.into(), port(from)?))
            }
            _ => return None,
        };
        Some((announced, end + 2))
    }

    fn port(word: &str) -> Option<u16> {
        let port: u16 = word.parse().ok()?;
        (port.to_string() == word).then_some(port)
    }

    /// Version 2: 12 bytes of signature, 4 that tell what follows, and what follows.
    fn binary(input: &[u8]) -> Option<(Announced, usize)> {
        let len = usize::from(u16::from_be_bytes(input.get(14..16)?.try_into().ok()?));
        let rest = input.get(16..16 + len)?;
        let announced = match (input[12], input[13]) {
            (0x20, _) | (0x21, 0x00) => Announced::Nothing,
            (0x21, 0x11 | 0x12) => {
                let address: [u8; 4] = rest.get(..12)?[..4].try_into().ok()?;
                client(address.into(), &rest[8..10])
            }
            (0x21, 0x21 | 0x22) => {
                let address: [u8; 16] = rest.get(..36)?[..16].try_into().ok()?;
                client(address.into(), &rest[32..34])
            }
            (0x21, 0x31 | 0x32) if len >= 216 => Announced::Elsewhere,
            _ => return None,
        };
        Some((announced, 16 + len))
    }

    fn client(address: IpAddr, port: &[u8]) -> Announced {
        let port = u16::from(port[0]) << 8 | u16::from(port[1]);
        Announced::Client(SocketAddr::new(address, port))
    }
}
