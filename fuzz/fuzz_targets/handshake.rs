//! `server::negotiate`, on any request head.
//!
//! - It is total. A rejection is answered with 4xx or 5xx.
//! - An opening is answered with 101 on HTTP/1.1 and 200 after it, with the accept key that
//!   tungstenite makes of the one key sent, a subprotocol that both sides name, and an extension
//!   that is nothing but permessage-deflate, only where compression is on.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, request::Parts};
use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    Compression, Config, OriginPolicy,
    handshake::{extensions, server},
};
use tungstenite::handshake::derive_accept_key;

#[derive(Arbitrary, Debug)]
struct Input {
    /// Begins with a head that is right, to be spoiled.
    valid: bool,
    version: u8,
    method: Option<u8>,
    uri: Option<String>,
    protocol: Option<Text>,
    headers: Vec<(u8, Text)>,
    /// Headers that are taken away.
    missing: Vec<u8>,
    any_origin: bool,
    require_subprotocol: bool,
    compression: bool,
}

#[derive(Arbitrary, Debug)]
enum Text {
    Word(#[arbitrary(with = |u: &mut Unstructured| u.choose(VALUES).copied())] &'static str),
    Words(
        #[arbitrary(with = |u: &mut Unstructured| u.choose(VALUES).copied())] &'static str,
        Vec<u8>,
    ),
    Bytes(Vec<u8>),
}

fuzz_target!(|input: Input| {
    let Some(head) = input.head() else { return };
    let protocol = input.protocol.as_ref().map(Text::bytes);
    let protocol = protocol.as_deref().map(String::from_utf8_lossy);
    let config = Config::default()
        .subprotocols(PROTOCOLS)
        .require_subprotocol(input.require_subprotocol)
        .origin(if input.any_origin {
            OriginPolicy::Any
        } else {
            OriginPolicy::SameHost
        })
        .compression(input.compression.then(Compression::dedicated));
    match server::negotiate(&head, protocol.as_deref(), &config) {
        Ok(opening) => {
            assert!(server::is_handshake(&head, protocol.as_deref()));
            check_answer(&input, &head, &opening.response());
        }
        Err(rejection) => {
            let response = rejection.response(head.version);
            let status = response.status();
            assert!(status.is_client_error() || status.is_server_error());
            assert_eq!(status, rejection.status(head.version));
            let is_http1 = head.version < Version::HTTP_2;
            assert!(is_http1 || !response.headers().contains_key("connection"));
        }
    }
});

fn check_answer(input: &Input, head: &Parts, response: &http::Response<()>) {
    let answer = |name: &str| response.headers().get(name).map(HeaderValue::as_bytes);
    let is_http1 = head.version < Version::HTTP_2;
    assert_eq!(response.status().as_u16(), if is_http1 { 101 } else { 200 });
    if is_http1 {
        assert_eq!(
            (head.version, &head.method),
            (Version::HTTP_11, &Method::GET)
        );
        assert_eq!(answer("upgrade"), Some(&b"websocket"[..]));
    } else {
        assert_eq!(head.method, Method::CONNECT);
        assert!(answer("upgrade").or(answer("connection")).is_none());
    }
    let keys: Vec<_> = head.headers.get_all("sec-websocket-key").iter().collect();
    match answer("sec-websocket-accept") {
        Some(accept) => {
            assert_eq!(keys.len(), 1);
            assert_eq!(accept, derive_accept_key(keys[0].as_bytes()).as_bytes());
        }
        None => assert!(!is_http1),
    }
    match answer("sec-websocket-protocol") {
        Some(chosen) => {
            assert!(PROTOCOLS.iter().any(|name| name.as_bytes() == chosen));
            let lines = head.headers.get_all("sec-websocket-protocol");
            let mut offers = lines
                .iter()
                .flat_map(|line| line.as_bytes().split(|&b| b == b','));
            assert!(offers.any(|offer| offer.trim_ascii() == chosen));
        }
        None => assert!(!input.require_subprotocol),
    }
    if answer("sec-websocket-extensions").is_some() {
        assert!(input.compression);
        let parsed = extensions::parse(response.headers()).expect("an answer of ours");
        assert_eq!(parsed.len(), 1);
        assert_eq!(parsed[0].name, "permessage-deflate");
    }
}

impl Input {
    fn head(&self) -> Option<Parts> {
        let version = match self.version % 8 {
            0 => Version::HTTP_09,
            1 => Version::HTTP_10,
            2 | 3 => Version::HTTP_2,
            4 => Version::HTTP_3,
            _ => Version::HTTP_11,
        };
        let is_http1 = version < Version::HTTP_2;
        let method = match self.method {
            None if is_http1 => Method::GET,
            None => Method::CONNECT,
            Some(n) => [Method::GET, Method::POST, Method::HEAD, Method::CONNECT]
                [usize::from(n) % 4]
                .clone(),
        };
        let usual = if is_http1 {
            "/chat"
        } else {
            "https://example.com/chat"
        };
        let uri: Uri = self.uri.as_deref().unwrap_or(usual).parse().ok()?;
        let (mut head, ()) = Request::new(()).into_parts();
        (head.version, head.method, head.uri) = (version, method, uri);
        if self.valid {
            for (name, value) in VALID {
                head.headers.insert(*name, HeaderValue::from_static(value));
            }
            if !is_http1 {
                head.headers.remove("connection");
                head.headers.remove("upgrade");
            }
        }
        for n in &self.missing {
            head.headers.remove(name(*n));
        }
        for (n, value) in &self.headers {
            let value = HeaderValue::from_bytes(&value.bytes()).ok()?;
            head.headers.append(name(*n), value);
        }
        Some(head)
    }
}

fn name(n: u8) -> HeaderName {
    HeaderName::from_static(NAMES[usize::from(n) % NAMES.len()])
}

impl Text {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Word(word) => word.as_bytes().to_vec(),
            Self::Words(word, bytes) => [word.as_bytes(), bytes].concat(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

const PROTOCOLS: [&str; 2] = ["superchat", "chat"];

const VALID: &[(&str, &str)] = &[
    ("host", "example.com"),
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
];

const NAMES: &[&str] = &[
    "host",
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "origin",
    "content-length",
    "transfer-encoding",
    "x-other",
];

const VALUES: &[&str] = &[
    "websocket",
    "WebSocket",
    "Upgrade",
    "keep-alive, Upgrade",
    "h2c, websocket",
    "13",
    "8, 13",
    "0",
    "chunked",
    "dGhlIHNhbXBsZSBub25jZQ==",
    "dGhlIHNhbXBsZSBub25jZQ",
    "AAAAAAAAAAAAAAAAAAAAAA==",
    "example.com",
    "example.com:80",
    "[::1]:8080",
    "http://example.com",
    "https://example.com:443",
    "https://evil.example",
    "null",
    "chat",
    "chat, superchat",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_max_window_bits=8",
    ",",
];
