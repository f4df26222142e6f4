//! What a server does not permit.

use std::time::{Duration, Instant};

/// What a server did not permit, by the subject if it says one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal<'a> {
    Publish(&'a str),
    Subscribe(&'a str),
    /// There are as many subscriptions on the connection as there may be (`max_subscriptions`): one that was
    /// asked for is not made, and nothing says which.
    TooMany,
}

impl<'a> Refusal<'a> {
    /// Reads what the server said: `Permissions Violation for Publish to "shop.1.rooms.lobby"`.
    pub(super) fn read(said: &'a str) -> Option<Self> {
        if said.eq_ignore_ascii_case(TOO_MANY) {
            return Some(Self::TooMany);
        }
        let (what, rest) = said
            .strip_prefix("Permissions Violation for ")?
            .split_once(" to \"")?;
        let (subject, _) = rest.split_once('"')?;
        match what {
            "Publish" => Some(Self::Publish(subject)),
            "Subscription" => Some(Self::Subscribe(subject)),
            _ => None,
        }
    }
}

/// How many subscriptions were refused within a second.
#[derive(Debug, Default)]
pub(super) struct Burst {
    since: Option<Instant>,
    len: u64,
}

impl Burst {
    /// Counts one more, and returns how many there are.
    pub(super) fn count(&mut self, now: Instant) -> u64 {
        let is_new = |since: Instant| now.saturating_duration_since(since) > SECOND;
        if self.since.is_none_or(is_new) {
            (self.since, self.len) = (Some(now), 0);
        }
        self.len += 1;
        self.len
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// What a server says then.
const TOO_MANY: &str = "maximum subscriptions exceeded";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_within_a_second_is_counted() {
        let mut burst = Burst::default();
        let start = Instant::now();
        for (after, len) in [(0, 1), (999, 2), (1000, 3), (1001, 1), (2001, 2), (9000, 1)] {
            assert_eq!(burst.count(start + Duration::from_millis(after)), len);
        }
    }

    #[test]
    fn refusal_names_the_subject() {
        for (said, refusal) in [
            (
                r#"Permissions Violation for Publish to "a.b""#,
                Some(Refusal::Publish("a.b")),
            ),
            (
                r#"Permissions Violation for Subscription to "a.b""#,
                Some(Refusal::Subscribe("a.b")),
            ),
            // When rights are taken away from a connection that is there.
            (
                r#"Permissions Violation for Subscription to "a.b" (sid "2")"#,
                Some(Refusal::Subscribe("a.b")),
            ),
            ("maximum subscriptions exceeded", Some(Refusal::TooMany)),
            ("Maximum Subscriptions Exceeded", Some(Refusal::TooMany)),
            ("maximum connections exceeded", None),
            ("User Authentication Expired", None),
            ("Permissions Violation for Subscription", None),
            (r#"Permissions Violation for Subscription to "a"#, None),
            (
                r#"Permissions Violation for Publish with Reply of "a""#,
                None,
            ),
        ] {
            assert_eq!(Refusal::read(said), refusal, "{said}");
        }
    }
}
