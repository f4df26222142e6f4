//! `handshake::client`: requests with any target and headers, and any answer to them.
//!
//! - A request that is made is one that a server of this crate accepts, and its target and host are
//!   printable ASCII without user, password or fragment.
//! - An answer that is accepted has the accept key that tungstenite makes, a subprotocol that was
//!   offered, and an extension that was.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, response};
use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    Compression, Config, OriginPolicy,
    handshake::{client, server},
};
use tungstenite::handshake::derive_accept_key;

#[derive(Arbitrary, Debug)]
struct Input {
    http2: bool,
    uri: Vec<Text>,
    host: Option<Text>,
    names: bool,
    compression: bool,
    /// Begins with an answer that is right, to be spoiled.
    valid: bool,
    old: bool,
    status: Option<u16>,
    missing: Vec<u8>,
    headers: Vec<(u8, Text)>,
}

#[derive(Arbitrary, Debug)]
enum Text {
    Word(#[arbitrary(with = |u: &mut Unstructured| u.choose(WORDS).copied())] &'static str),
    Bytes(Vec<u8>),
}

fuzz_target!(|input: Input| {
    let uri: Vec<u8> = input
        .uri
        .iter()
        .flat_map(|text| text.bytes().to_vec())
        .collect();
    let Ok(uri) = Uri::try_from(uri) else { return };
    let (mut head, ()) = Request::new(()).into_parts();
    head.uri = uri;
    if input.http2 {
        head.version = Version::HTTP_2;
    }
    if let Some(host) = &input.host {
        let Ok(host) = HeaderValue::from_bytes(host.bytes()) else {
            return;
        };
        head.headers.insert("host", host);
    }
    let mut config = Config::default().compression(input.compression.then(Compression::dedicated));
    if input.names {
        config = config.subprotocols(["superchat", "chat"]);
    }
    let Ok(offer) = client::offer(&mut head, &config) else {
        return;
    };
    let protocol = input.http2.then_some("websocket");
    let config = config.origin(OriginPolicy::Any);
    let opening = server::negotiate(&head, protocol, &config).expect("a request of ours");
    let target = head.uri.to_string();
    assert!(
        target.bytes().all(|byte| byte.is_ascii_graphic()),
        "{target}"
    );
    assert!(!target.contains('#'), "{target}");
    let host = head.headers.get("host").map(HeaderValue::as_bytes);
    let host = host.or(head.uri.authority().map(|name| name.as_str().as_bytes()));
    let host = host.expect("a host");
    if input.host.is_none() {
        assert!(!host.is_empty() && !host.contains(&b'@'), "{host:?}");
    }
    let (right, ()) = opening.response().into_parts();
    assert!(offer.is_accepted(right.status));
    offer.check(&right).expect("an answer of ours");

    let key = head.headers.get("sec-websocket-key");
    let accept = key.map(|key| derive_accept_key(key.as_bytes()));
    if let Some(answer) = input.answer(right)
        && offer.is_accepted(answer.status)
        && let Ok(accepted) = offer.check(&answer)
    {
        if let Some(accept) = accept {
            assert_eq!(answer.status, StatusCode::SWITCHING_PROTOCOLS);
            let lines: Vec<_> = answer
                .headers
                .get_all("sec-websocket-accept")
                .iter()
                .collect();
            assert_eq!(lines, [accept.as_str()]);
        }
        let line = answer.headers.get("sec-websocket-protocol");
        assert_eq!(
            accepted.subprotocol().map(str::as_bytes),
            line.map(HeaderValue::as_bytes)
        );
        assert!(
            accepted
                .subprotocol()
                .is_none_or(|name| { input.names && ["superchat", "chat"].contains(&name) })
        );
        assert!(input.compression || accepted.deflate().is_none());
    }
});

impl Input {
    fn answer(&self, right: response::Parts) -> Option<response::Parts> {
        let (mut answer, ()) = Response::new(()).into_parts();
        if self.valid {
            answer = right;
        }
        if let Some(status) = self.status {
            answer.status = StatusCode::from_u16(status).ok()?;
        }
        if self.old {
            answer.version = Version::HTTP_10;
        }
        for n in &self.missing {
            answer.headers.remove(name(*n));
        }
        for (n, value) in &self.headers {
            answer
                .headers
                .append(name(*n), HeaderValue::from_bytes(value.bytes()).ok()?);
        }
        Some(answer)
    }
}

fn name(n: u8) -> HeaderName {
    HeaderName::from_static(NAMES[usize::from(n) % NAMES.len()])
}

impl Text {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Word(word) => word.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

const NAMES: &[&str] = &[
    "connection",
    "upgrade",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "x-other",
];

const WORDS: &[&str] = &[
    "ws://",
    "wss://",
    "https://",
    "HTTP://",
    "example.com",
    "user:password@",
    "[::1]",
    "[fe80::1%25eth0]",
    "127.0.0.1",
    ":80",
    ":443",
    ":65536",
    ":",
    "/chat",
    "?q=\u{e4}",
    "/\u{20ac}",
    "*",
    "websocket",
    "Upgrade",
    "chat",
    "superchat",
    "chat, superchat",
    "permessage-deflate",
    "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; client_max_window_bits=16",
    ",",
];
