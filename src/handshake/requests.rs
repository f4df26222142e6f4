//! Request heads for the tests of this module.

use http::{HeaderName, HeaderValue, Request, Version, request::Parts};

/// Lines to put in place of those of a header field; none removes it.
pub(super) type Change<'a> = (&'a str, &'a [&'a [u8]]);

/// The key of RFC 6455 §1.3, and its answer.
pub(super) const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Makes a handshake over HTTP/1.1 with nothing optional in it.
pub(super) fn h1() -> Parts {
    let head = head(Request::get("/chat").version(Version::HTTP_11));
    let handshake: [Change<'_>; 5] = [
        ("host", &[b"server.example.com"]),
        ("upgrade", &[b"websocket"]),
        ("connection", &[b"Upgrade"]),
        ("sec-websocket-key", &[KEY]),
        ("sec-websocket-version", &[b"13"]),
    ];
    with(head, &handshake)
}

/// Makes a handshake over HTTP/2 with nothing optional in it, `:protocol` aside.
pub(super) fn h2() -> Parts {
    let uri = "https://server.example.com/chat";
    let head = head(Request::connect(uri).version(Version::HTTP_2));
    with(head, &[("sec-websocket-version", &[b"13"])])
}

pub(super) fn with(mut head: Parts, changes: &[Change<'_>]) -> Parts {
    for (name, lines) in changes {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        head.headers.remove(&name);
        for line in *lines {
            let line = HeaderValue::from_bytes(line).expect("a header value");
            head.headers.append(&name, line);
        }
    }
    head
}

fn head(request: http::request::Builder) -> Parts {
    request.body(()).expect("a request").into_parts().0
}
