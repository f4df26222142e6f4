//! `Sec-WebSocket-Extensions`, on any header lines.
//!
//! - Parsing is total; what it reads are tokens, and written out plainly they are read the same.
//! - An answer has nothing in it but the extension, its parameters and windows from 8 to 15, and
//!   says what was agreed on.
//! - A client of this crate agrees to every answer that a server of this crate gives to its offer,
//!   and neither end compresses for more than the other remembers.
#![no_main]

use std::fmt::Write;

use arbitrary::{Arbitrary, Unstructured};
use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};
use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    Compression,
    handshake::{
        deflate,
        extensions::{self, Extension},
    },
    protocol::DeflateParams,
};

#[derive(Arbitrary, Debug)]
struct Input {
    lines: Vec<Vec<Element>>,
    server: Settings,
    client: Settings,
}

#[derive(Arbitrary, Debug)]
enum Element {
    Word(#[arbitrary(with = |u: &mut Unstructured| u.choose(WORDS).copied())] &'static str),
    Bytes(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Settings {
    dedicated: bool,
    #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(9..=15))]
    window_bits: u8,
    #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(9..=15))]
    peer_window_bits: u8,
    max_memory: Option<u16>,
}

fuzz_target!(|input: Input| {
    let (server, client) = (input.server.compression(), input.client.compression());
    if let Ok(parsed) = extensions::parse(&input.headers()) {
        read_again(&parsed);
        if let Some(agreement) = deflate::accept(&parsed, &server) {
            answer(&agreement.header_value(), agreement.params());
        }
        if let Ok(Some(agreement)) = deflate::agree(&parsed, Some(&client)) {
            check_windows(agreement.params());
        }
        assert_eq!(deflate::agree(&parsed, None).is_ok(), parsed.is_empty());
    }
    both_ends(&server, &client);
});

fn read_again(parsed: &[Extension<'_>]) {
    let mut text = String::new();
    for extension in parsed {
        write!(text, "{},", extension.name).expect("a string");
        text.pop();
        for param in &extension.params {
            write!(text, ";{}", param.name).expect("a string");
            if let Some(value) = &param.value {
                let quote = if value.quoted { "\"" } else { "" };
                write!(text, "={quote}{}{quote}", value.text).expect("a string");
            }
        }
        text.push(',');
    }
    assert!(!text.contains(|c: char| c.is_whitespace() || c.is_control()));
    let headers = headers(HeaderValue::try_from(text).expect("tokens"));
    assert_eq!(extensions::parse(&headers).as_deref(), Ok(parsed));
}

fn answer(value: &HeaderValue, params: DeflateParams) {
    check_windows(params);
    let headers = headers(value.clone());
    let parsed = extensions::parse(&headers).expect("an answer of ours");
    let [extension] = &parsed[..] else {
        panic!("{value:?}");
    };
    assert_eq!(extension.name, "permessage-deflate");
    let mut said = DeflateParams::default();
    for param in &extension.params {
        let bits = param.value.as_ref().map(|value| value.text.parse::<u8>());
        match (param.name, bits) {
            ("server_no_context_takeover", None) => said.server_no_context_takeover = true,
            ("client_no_context_takeover", None) => said.client_no_context_takeover = true,
            ("server_max_window_bits", Some(Ok(bits))) => said.server_max_window_bits = bits,
            ("client_max_window_bits", Some(Ok(bits))) => said.client_max_window_bits = bits,
            _ => panic!("{value:?}"),
        }
    }
    assert_eq!(said, params);
}

fn check_windows(params: DeflateParams) {
    assert!((8..=15).contains(&params.server_max_window_bits));
    assert!((8..=15).contains(&params.client_max_window_bits));
}

fn both_ends(server: &Compression, client: &Compression) {
    let offer = headers(deflate::offer(client));
    let offer = extensions::parse(&offer).expect("an offer of ours");
    let of_server = deflate::accept(&offer, server).expect("a valid offer");
    let answer = headers(of_server.header_value());
    let answer = extensions::parse(&answer).expect("an answer of ours");
    let of_client = deflate::agree(&answer, Some(client)).expect("a valid answer");
    let (server, client) = (
        of_server.params(),
        of_client.expect("one extension").params(),
    );
    assert!(server.server_max_window_bits <= client.server_max_window_bits);
    assert!(client.client_max_window_bits <= server.client_max_window_bits);
    assert!(server.server_no_context_takeover || !client.server_no_context_takeover);
    assert!(client.client_no_context_takeover || !server.client_no_context_takeover);
}

fn headers(value: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, value)])
}

impl Input {
    fn headers(&self) -> HeaderMap {
        let lines = self.lines.iter().filter_map(|line| {
            let line: Vec<u8> = line
                .iter()
                .flat_map(|element| element.bytes().to_vec())
                .collect();
            Some((
                SEC_WEBSOCKET_EXTENSIONS,
                HeaderValue::from_bytes(&line).ok()?,
            ))
        });
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(name, line);
        }
        headers
    }
}

impl Element {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Word(word) => word.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Settings {
    fn compression(&self) -> Compression {
        let compression = if self.dedicated {
            Compression::dedicated()
        } else {
            Compression::shared()
        };
        compression
            .max_window_bits(self.window_bits)
            .peer_max_window_bits(self.peer_window_bits)
            .max_memory(self.max_memory.map(usize::from))
    }
}

const WORDS: &[&str] = &[
    "permessage-deflate",
    "Permessage-Deflate",
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
    "; server_no_context_takeover",
    "; client_no_context_takeover",
    "; server_max_window_bits=10",
    "; client_max_window_bits",
    "; client_max_window_bits=8",
    "permessage-deflate; client_max_window_bits, permessage-deflate",
    ";",
    ",",
    "=",
    "\"",
    "\\",
    " ",
    "\t",
    "8",
    "15",
    "16",
    "08",
    "\"9\"",
];
