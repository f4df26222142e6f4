//! Origins that are named one by one.

use std::sync::Arc;

use http::HeaderValue;

use super::parse;
use crate::handshake::authority::Origin;

/// The origins of [`OriginPolicy::list`](super::OriginPolicy::list) and `OriginPolicy::same_host_or`.
///
/// Entries that are origins have the one spelling that all equal ones share. The others are there
/// as they were passed, and those that end with a slash in both ways. See also
/// [`OriginPolicy::same_host_or`](super::OriginPolicy::same_host_or).
///
/// ```
/// use tower_websocket::OriginPolicy;
///
/// let OriginPolicy::List(list) = OriginPolicy::list(["HTTPS://Example.com", "null"]) else { panic!() };
/// assert_eq!(list.iter().collect::<Vec<_>>(), ["https://example.com:443", "null"]);
/// ```
#[derive(Clone, Debug)]
pub struct OriginList(Arc<[Box<str>]>);

impl OriginList {
    /// Reads the entries; panics on those that nothing would match.
    pub(super) fn new<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Self {
        let mut entries = Vec::new();
        for origin in origins {
            let text = origin.as_ref().trim();
            if let Some(why) = Self::refuses(text) {
                panic!("{text:?} allows no page: {why}");
            }
            let origin = Origin::parse(text.strip_suffix('/').unwrap_or(text));
            let spelling = origin.map(|origin| origin.to_string());
            let as_given = (spelling.is_none() || text.ends_with('/')).then(|| text.to_owned());
            for entry in [as_given, spelling].into_iter().flatten() {
                let entry = entry.into_boxed_str();
                if !entries.contains(&entry) {
                    entries.push(entry);
                }
            }
        }
        Self(entries.into())
    }

    /// Iterates over the entries, as they are compared.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|origin| &**origin)
    }

    /// Says why no `Origin` line would ever match an entry, if that is so.
    pub(crate) fn refuses(entry: &str) -> Option<&'static str> {
        let entry = entry.trim();
        if entry.is_empty() {
            Some("it is empty")
        } else if entry.chars().any(char::is_control) {
            Some("it has control characters, which no header has")
        } else if entry.contains('*') {
            Some("* stands for nothing here: see OriginPolicy::Any, or OriginPolicy::predicate")
        } else {
            None
        }
    }

    pub(super) fn has(&self, origin: &HeaderValue) -> bool {
        let spelling = parse(origin).map(|origin| origin.to_string());
        let is_listed = |listed: &str| {
            spelling.as_deref() == Some(listed) || origin.as_bytes() == listed.as_bytes()
        };
        self.0.iter().any(|listed| is_listed(listed))
    }
}
