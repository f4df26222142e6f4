//! Heads of HTTP/1.1: read, taken apart and written.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    request, response,
};
use httparse::{EMPTY_HEADER, Error as ParseError, Header};

use super::error::{HeadError, InvalidHead, blocks};

/// What is read of a stream until the handshake is over.
#[derive(Debug)]
pub(super) struct Input {
    bytes: BytesMut,
    /// How much of `bytes` has no end of a head.
    scanned: usize,
    /// How much was taken as heads, in bytes.
    taken: usize,
    until: Option<Instant>,
}

impl Input {
    /// Begins to read, for `time` at most.
    pub(super) fn new(time: Duration) -> Self {
        Self {
            bytes: BytesMut::new(),
            scanned: 0,
            taken: 0,
            until: Instant::now().checked_add(time),
        }
    }

    /// Reads a head, up to its empty line. What came behind it stays.
    pub(super) fn head(&mut self, stream: &mut impl Read) -> Result<BytesMut, HeadError> {
        loop {
            self.skip_empty_lines();
            let end = self.end_of_head();
            if self.taken + end.unwrap_or(self.bytes.len()) > MAX_HEAD {
                return Err(InvalidHead::TooLarge.into());
            }
            if let Some(len) = end {
                self.scanned = 0;
                self.taken += len;
                return Ok(self.bytes.split_to(len));
            }
            self.fill(stream)?;
        }
    }

    /// Reads more.
    pub(super) fn fill(&mut self, stream: &mut impl Read) -> Result<(), HeadError> {
        let mut buffer = [0; READ];
        let read = loop {
            match stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                read => break read,
            }
        };
        let goes_on = read.as_ref().map_or_else(blocks, |_| true);
        let late = |until| goes_on && Instant::now() >= until;
        // Each byte may come within the stream's timeout, and all of them in hours.
        if self.until.is_some_and(late) {
            return Err(HeadError::Timeout);
        }
        let len = read.map_err(HeadError::Io)?;
        self.bytes.extend_from_slice(&buffer[..len]);
        Ok(())
    }

    /// Returns what has come and was not taken.
    pub(super) fn rest(&self) -> &BytesMut {
        &self.bytes
    }

    pub(super) fn into_rest(self) -> BytesMut {
        self.bytes
    }

    /// Passes over empty lines before a head (RFC 9112 §2.2), so that none ends it.
    fn skip_empty_lines(&mut self) {
        let is_line = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let len = self.bytes.iter().take_while(is_line).count();
        self.bytes.advance(len);
        self.taken += len;
    }

    /// Returns the length of the head, if all of it is there.
    fn end_of_head(&mut self) -> Option<usize> {
        let start = self.scanned.saturating_sub(2);
        let rest = &self.bytes[start..];
        let mut ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let len = ends.find_map(|(index, _)| match &rest[index + 1..] {
            [b'\n', ..] => Some(index + 2),
            [b'\r', b'\n', ..] => Some(index + 3),
            _ => None,
        });
        self.scanned = self.bytes.len();
        len.map(|len| start + len)
    }
}

/// Takes the head of a request apart.
pub(super) fn request(bytes: &[u8]) -> Result<request::Parts, InvalidHead> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    check(parsed.parse(bytes), bytes)?;
    let mut request = Request::new(());
    let method = parsed.method.unwrap_or_default().as_bytes();
    *request.method_mut() = Method::from_bytes(method).map_err(|_| InvalidHead::Malformed)?;
    let target = parsed.path.unwrap_or_default();
    *request.uri_mut() = Uri::try_from(target).map_err(|_| InvalidHead::Malformed)?;
    *request.version_mut() = version(parsed.version);
    *request.headers_mut() = headers(parsed.headers)?;
    Ok(request.into_parts().0)
}

/// Takes the head of a response apart.
pub(super) fn response(bytes: &[u8]) -> Result<response::Parts, InvalidHead> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    if !bytes.starts_with(b"HTTP/") {
        return Err(InvalidHead::Malformed);
    }
    let mut parsed = httparse::Response::new(&mut fields);
    check(parsed.parse(bytes), bytes)?;
    let mut response = Response::new(());
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default());
    *response.status_mut() = status.map_err(|_| InvalidHead::Malformed)?;
    *response.version_mut() = version(parsed.version);
    *response.headers_mut() = headers(parsed.headers)?;
    Ok(response.into_parts().0)
}

fn check(
    parsed: Result<httparse::Status<usize>, ParseError>,
    bytes: &[u8],
) -> Result<(), InvalidHead> {
    match parsed {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => Ok(()),
        Ok(_) => Err(InvalidHead::Malformed),
        Err(ParseError::TooManyHeaders) => Err(InvalidHead::TooLarge),
        Err(ParseError::Version) => Err(InvalidHead::Version),
        Err(_) => Err(InvalidHead::Malformed),
    }
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(1) {
        Version::HTTP_11
    } else {
        Version::HTTP_10
    }
}

fn headers(fields: &[Header<'_>]) -> Result<HeaderMap, InvalidHead> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.map_err(|_| InvalidHead::Malformed)?;
        let value = HeaderValue::from_bytes(field.value);
        headers.append(name, value.map_err(|_| InvalidHead::Malformed)?);
    }
    Ok(headers)
}

/// Writes the head of a request. Names are in title case, which some servers insist on.
pub(super) fn write_request(head: &request::Parts) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", head.method, head.uri).into_bytes();
    write_fields(&head.headers, &mut bytes);
    bytes
}

/// Writes a response, with the length of its body unless it accepts.
pub(super) fn write_response<B: AsRef<[u8]>>(response: &Response<B>) -> Vec<u8> {
    let (status, body) = (response.status(), response.body().as_ref());
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    let mut headers = response.headers().clone();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        headers.remove(http::header::TRANSFER_ENCODING);
        headers.insert(http::header::CONTENT_LENGTH, body.len().into());
        let close = HeaderValue::from_static("close");
        headers.entry(http::header::CONNECTION).or_insert(close);
    }
    write_fields(&headers, &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

fn write_fields(headers: &HeaderMap, bytes: &mut Vec<u8>) {
    for (name, value) in headers {
        let mut begins = true;
        bytes.extend(name.as_str().bytes().map(|byte| {
            let begun = std::mem::replace(&mut begins, byte == b'-');
            if begun {
                byte.to_ascii_uppercase()
            } else {
                byte
            }
        }));
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
}

/// How long a handshake may take.
pub(super) const MAX_TIME: Duration = Duration::from_secs(10);

/// How large the heads of a handshake may be, and a refusal's body.
pub(super) const MAX_HEAD: usize = 64 << 10;

/// How many fields a head may have.
const MAX_FIELDS: usize = 100;

/// How much is read at once.
const READ: usize = 4 << 10;
