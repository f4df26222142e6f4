//! `Sec-WebSocket-Extensions`: the full grammar of RFC 6455 §9.1.

use std::{borrow::Cow, error, fmt, iter::Peekable};

use http::{HeaderMap, header::SEC_WEBSOCKET_EXTENSIONS};

use super::tokens::is_tchar;

/// Reads all `Sec-WebSocket-Extensions` lines, in the order they were sent.
///
/// An extension that is named twice is in the result twice: alternatives of one offer. Empty
/// elements of the list, and a field with nothing else in it, are tolerated (RFC 9110 §5.6.1.2).
///
/// ```
/// use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};
/// use tower_websocket::handshake::extensions;
///
/// let mut headers = HeaderMap::new();
/// let offer = "permessage-deflate; client_max_window_bits; server_max_window_bits=10";
/// headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(offer));
///
/// let extensions = extensions::parse(&headers)?;
/// assert_eq!(extensions[0].name, "permessage-deflate");
/// assert_eq!(extensions[0].params[1].value.as_ref().unwrap().text, "10");
/// # Ok::<_, extensions::Malformed>(())
/// ```
///
/// # Errors
///
/// Any error makes the whole list invalid: RFC 6455 §9.1 asks to fail the connection, not to decline
/// the offer.
pub fn parse(headers: &HeaderMap) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut extensions = Vec::new();
    for line in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        let line = line.to_str().map_err(|_| Malformed)?;
        Lexer::new(line, line.bytes()).list(&mut extensions)?;
    }
    Ok(extensions)
}

/// An extension, as it was offered or accepted.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};
/// use tower_websocket::handshake::extensions::{self, Extension, Param};
///
/// let value = HeaderValue::from_static("permessage-deflate; server_max_window_bits=\"10\", x-other");
/// let headers = HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, value)]);
/// let all = extensions::parse(&headers)?;
/// let [Extension { name, params, .. }, other] = &all[..] else { panic!("two extensions") };
/// assert_eq!((*name, other.name), ("permessage-deflate", "x-other"));
/// let [Param { name, value, .. }] = &params[..] else { panic!("one parameter") };
/// let value = value.as_ref().expect("a value");
/// assert_eq!((*name, &value.text[..], value.quoted), ("server_max_window_bits", "10", true));
/// # Ok::<_, extensions::Malformed>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Extension<'a> {
    /// Its registered name, a token in the case it was sent.
    pub name: &'a str,
    /// Its parameters, in the order they were sent; repeated ones are all there.
    pub params: Vec<Param<'a>>,
}

/// A parameter of an [`Extension`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Param<'a> {
    /// Its name, a token in the case it was sent.
    pub name: &'a str,
    /// The text behind the `=`; `None` if there is none.
    pub value: Option<Value<'a>>,
}

/// The value of a [`Param`], always a token.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Value<'a> {
    /// The value, without quotes and escapes.
    pub text: Cow<'a, str>,
    /// Whether it was sent as a quoted string.
    pub quoted: bool,
}

/// A `Sec-WebSocket-Extensions` field that does not follow RFC 6455 §9.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed list of extensions")
    }
}

impl error::Error for Malformed {}

/// Reads one line.
///
/// `bytes` are those of `line`. They come from an iterator that cannot be rewound, so each is
/// looked at a fixed number of times, whatever the line says.
struct Lexer<'a, B: Iterator<Item = u8>> {
    line: &'a str,
    bytes: Peekable<B>,
    at: usize,
}

impl<'a, B: Iterator<Item = u8>> Lexer<'a, B> {
    fn new(line: &'a str, bytes: B) -> Self {
        Self {
            line,
            bytes: bytes.peekable(),
            at: 0,
        }
    }

    /// Reads `[ extension ] *( OWS "," OWS [ extension ] )`.
    fn list(mut self, extensions: &mut Vec<Extension<'a>>) -> Result<(), Malformed> {
        loop {
            self.skip_space();
            match self.bytes.peek() {
                None => return Ok(()),
                Some(b',') => {}
                Some(_) => extensions.push(self.extension()?),
            }
            if !self.eat(b',') {
                // What an extension leaves behind is a comma or the end.
                return self.bytes.peek().is_none().then_some(()).ok_or(Malformed);
            }
        }
    }

    /// Reads `token *( OWS ";" OWS param ) OWS`.
    fn extension(&mut self) -> Result<Extension<'a>, Malformed> {
        let name = self.token()?;
        let mut params = Vec::new();
        while self.eat_separator(b';') {
            params.push(self.param()?);
        }
        Ok(Extension { name, params })
    }

    /// Reads `token [ OWS "=" OWS ( token / quoted-string ) ] OWS`.
    fn param(&mut self) -> Result<Param<'a>, Malformed> {
        let name = self.token()?;
        let value = if self.eat_separator(b'=') {
            Some(self.value()?)
        } else {
            None
        };
        Ok(Param { name, value })
    }

    fn value(&mut self) -> Result<Value<'a>, Malformed> {
        let quoted = self.eat(b'"');
        let text = if quoted {
            self.quoted()?.into()
        } else {
            self.token()?.into()
        };
        Ok(Value { text, quoted })
    }

    /// Reads up to the closing quote; what is left without escapes must be a token.
    fn quoted(&mut self) -> Result<String, Malformed> {
        let mut text = String::new();
        loop {
            let byte = match self.bump().ok_or(Malformed)? {
                b'"' => break,
                b'\\' => self.bump().ok_or(Malformed)?,
                byte => byte,
            };
            if !is_tchar(byte) {
                return Err(Malformed);
            }
            text.push(byte.into());
        }
        (!text.is_empty()).then_some(text).ok_or(Malformed)
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        while self.bytes.next_if(|&byte| is_tchar(byte)).is_some() {
            self.at += 1;
        }
        let token = &self.line[start..self.at];
        (!token.is_empty()).then_some(token).ok_or(Malformed)
    }

    /// Skips white space, then `byte` with the white space behind it, if it is there.
    fn eat_separator(&mut self, byte: u8) -> bool {
        self.skip_space();
        let eaten = self.eat(byte);
        if eaten {
            self.skip_space();
        }
        eaten
    }

    fn skip_space(&mut self) {
        while self.eat(b' ') || self.eat(b'\t') {}
    }

    fn eat(&mut self, byte: u8) -> bool {
        // Not `next_if_eq`: Rust 1.95 loses the step when it optimises (`.ci/run` tests that, too).
        let eaten = self.bytes.peek() == Some(&byte);
        if eaten {
            self.bytes.next();
            self.at += 1;
        }
        eaten
    }

    fn bump(&mut self) -> Option<u8> {
        self.at += 1;
        self.bytes.next()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
