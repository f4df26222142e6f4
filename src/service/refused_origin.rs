//! Tells the log which pages are refused by their `Origin`: browsers do not tell the page.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use http::{
    HeaderMap,
    header::{HOST, ORIGIN},
    request::Parts,
};

use crate::{handshake::Rejection, lock::Lock};

/// Logs a refusal at WARN if it is one by its origin, and this origin was not told of lately.
pub(crate) fn tell(rejection: &Rejection, head: &Parts) {
    static TOLD: LazyLock<Lock<Told>> = LazyLock::new(Lock::default);
    if *rejection != Rejection::OriginRefused {
        return;
    }
    let origin = field(&head.headers);
    let what = TOLD.lock().note(Instant::now(), origin);
    match what {
        Tell::Nothing => {}
        Tell::Origin => tracing::warn!(
            origin = %escaped(origin),
            host = %escaped(host(head)),
            "a page was refused a websocket, and browsers do not show it why: if it is yours, allow its \
             origin by Config::origin, such as with OriginPolicy::same_host_or; if host is not what browsers \
             ask for, have the proxy pass Host on: see `troubleshooting#403` (an origin is told of once a minute)"
        ),
        Tell::More => tracing::warn!(
            "more pages are refused a websocket by their origin than are told of in a minute: {MOST}"
        ),
    }
}

/// Returns the `Origin` line, or the first of several, which are refused as such.
fn field(headers: &HeaderMap) -> &[u8] {
    let origin = headers.get(ORIGIN);
    cut(origin.map_or(b"", |origin| origin.as_bytes()))
}

fn host(head: &Parts) -> &[u8] {
    let authority = head.uri.authority();
    let host = || head.headers.get(HOST).map(|host| host.as_bytes());
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    cut(authority.or_else(host).unwrap_or_default())
}

/// Of what a client sends, a log gets no more than a line can hold.
fn cut(text: &[u8]) -> &[u8] {
    text.get(..LONGEST).unwrap_or(text)
}

/// Writes it in ASCII, so that it can neither end a line of the log nor look like more of it.
fn escaped(text: &[u8]) -> impl std::fmt::Display {
    text.escape_ascii()
}

/// The origins that were told of in a minute, which begins with the first of them.
#[derive(Debug, Default)]
struct Told {
    since: Option<Instant>,
    origins: Vec<Box<[u8]>>,
    /// Whether it was said that there are more of them.
    more: bool,
}

/// What is to be logged of a refusal.
#[derive(Debug, Eq, PartialEq)]
enum Tell {
    Nothing,
    Origin,
    More,
}

impl Told {
    fn note(&mut self, now: Instant, origin: &[u8]) -> Tell {
        let is_over = |since| now.saturating_duration_since(since) >= MINUTE;
        if self.since.is_none_or(is_over) {
            *self = Self {
                since: Some(now),
                ..Self::default()
            };
        }
        if self.origins.iter().any(|told| **told == *origin) {
            return Tell::Nothing;
        }
        if self.origins.len() < MOST {
            self.origins.push(origin.into());
            return Tell::Origin;
        }
        if self.more {
            return Tell::Nothing;
        }
        self.more = true;
        Tell::More
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// How many origins are told of in a minute.
const MOST: usize = 100;

/// How many bytes of an origin are kept and told.
const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_told_of_once_a_minute() {
        let (mut told, start) = (Told::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(told.note(start, b"https://a"), Tell::Origin);
        assert_eq!(told.note(at(1), b"https://b"), Tell::Origin);
        for _ in 0..1000 {
            assert_eq!(told.note(at(59), b"https://a"), Tell::Nothing);
            assert_eq!(told.note(at(59), b"https://b"), Tell::Nothing);
        }
        assert_eq!(told.note(at(60), b"https://a"), Tell::Origin);
        assert_eq!(told.note(at(61), b"https://a"), Tell::Nothing);
        assert_eq!(told.note(at(61), b"https://b"), Tell::Origin);
        // Clocks may differ by a little from thread to thread.
        assert_eq!(told.note(start, b"https://b"), Tell::Nothing);
    }

    #[test]
    fn flood_of_origins_is_a_hundred_lines_a_minute_and_one_more() {
        let (mut told, start) = (Told::default(), Instant::now());
        for minute in 0..3 {
            let now = start + MINUTE * minute;
            let flood = (0..100_000).map(|n| format!("https://{n}.evil.example"));
            let lines: Vec<_> = flood
                .map(|origin| told.note(now, origin.as_bytes()))
                .filter(|what| *what != Tell::Nothing)
                .collect();
            assert_eq!(lines.len(), MOST + 1);
            assert_eq!(lines.last(), Some(&Tell::More));
            assert_eq!(told.origins.len(), MOST);
        }
    }

    #[test]
    fn origin_is_cut_and_escaped() {
        let mut headers = HeaderMap::new();
        assert_eq!(field(&headers), b"");
        let long = format!("https://\t\u{e9}\"{}", "a".repeat(60_000));
        let value = http::HeaderValue::from_bytes(long.as_bytes());
        headers.insert(ORIGIN, value.expect("a header may have these"));
        let line = escaped(field(&headers)).to_string();
        assert!(line.starts_with(r#"https://\t\xc3\xa9\"aaa"#), "{line}");
        assert_eq!(field(&headers).len(), LONGEST);
    }
}
