//! Which pages may open a connection (RFC 6455 §10.2).

use std::{fmt, sync::Arc};

use http::{HeaderValue, header::ORIGIN, request::Parts};

use super::{
    authority::{Authority, Origin},
    rejection::Rejection,
    tokens::Lines,
};

/// Decides which pages may open a connection, by the `Origin` that browsers send.
///
/// Browsers let any page of the web open a WebSocket to any server, with the user's cookies for that
/// server. This policy is the defence. A request without `Origin` does not come from a page and is allowed
/// by every policy; one with several `Origin` lines is refused by all but [`Any`](Self::Any). The
/// refusal is [`Rejection::OriginRefused`], 403.
///
/// ```
/// use tower_websocket::{Config, OriginPolicy};
///
/// let config = Config::default().origin(OriginPolicy::list([
///     "https://example.com",
///     "https://staging.example.com:8443",
/// ]));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// Allows pages of the host and port that the request is for.
    ///
    /// These are the authority of the request target (`:authority` on HTTP/2) or else `Host`
    /// (RFC 9112 §3.2.2). Hosts are compared without case, and a port that either side leaves out
    /// is the default of the page's scheme: without ports, a page over `http` matches a server over
    /// `https`. `null`, malformed origins, and schemes other than `http`, `https`, `ws`
    /// and `wss` are refused.
    ///
    /// Behind a proxy that rewrites `Host` this refuses every browser: have the proxy pass `Host` on,
    /// or use a [`list`](Self::list).
    #[default]
    SameHost,
    /// Allows every page: for services without cookies or other ambient authority.
    Any,
    /// Allows the pages of [`list`](Self::list).
    List(OriginList),
    /// Asks the function given to [`predicate`](Self::predicate).
    Predicate(OriginPredicate),
}

impl OriginPolicy {
    /// Allows the pages of these origins: scheme, host and port.
    ///
    /// Scheme and host are compared without case; a missing port is the scheme's default. `null`
    /// and malformed origins are refused. Other schemes may be listed, such as
    /// `chrome-extension://…`.
    ///
    /// # Panics
    ///
    /// Panics on everything that is not an origin: `null`, a bare host, a URL with a path, even if
    /// that is only `/`.
    #[must_use]
    pub fn list<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Self {
        let spelling = |origin: O| {
            let text = origin.as_ref();
            let origin = Origin::parse(text);
            assert!(
                origin.is_some(),
                "{text:?} is not an origin, such as https://example.com"
            );
            origin.map(|origin| origin.to_string().into())
        };
        Self::List(OriginList(
            origins.into_iter().filter_map(spelling).collect(),
        ))
    }

    /// Allows the pages for which `allows` returns `true`.
    ///
    /// `allows` gets the `Origin` line as it was sent, also `null` and malformed ones, and the head
    /// of the request. It is not called for requests without such a line, or with several.
    ///
    /// ```
    /// use tower_websocket::OriginPolicy;
    ///
    /// let policy = OriginPolicy::predicate(|origin, head| {
    ///     origin == "https://example.com" || head.uri.path().starts_with("/public/")
    /// });
    /// ```
    #[must_use]
    pub fn predicate(
        allows: impl Fn(&HeaderValue, &Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::Predicate(OriginPredicate(Arc::new(allows)))
    }

    /// Applies the policy to a request that reached the server as `target`.
    pub(super) fn check(&self, head: &Parts, target: &Authority<'_>) -> Result<(), Rejection> {
        let allowed = match Lines::of(&head.headers, &ORIGIN) {
            Lines::None => true,
            Lines::One(origin) => self.allows(origin, head, target),
            Lines::Several => matches!(self, Self::Any),
        };
        allowed.then_some(()).ok_or(Rejection::OriginRefused)
    }

    fn allows(&self, origin: &HeaderValue, head: &Parts, target: &Authority<'_>) -> bool {
        match self {
            Self::SameHost => parse(origin).is_some_and(|origin| origin.is_at(target)),
            Self::Any => true,
            Self::List(list) => parse(origin).is_some_and(|origin| list.has(origin)),
            Self::Predicate(OriginPredicate(allows)) => allows(origin, head),
        }
    }
}

/// The origins of [`OriginPolicy::list`].
#[derive(Clone, Debug)]
pub struct OriginList(Arc<[Box<str>]>);

impl OriginList {
    /// Iterates over the origins, as they are compared.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|origin| &**origin)
    }

    /// Says why this is no entry of a list, if that is so.
    #[cfg_attr(
        not(feature = "serde"),
        expect(dead_code, reason = "documents are checked")
    )]
    pub(crate) fn refuses(entry: &str) -> Option<&'static str> {
        Origin::parse(entry)
            .is_none()
            .then_some("it is not an origin, such as https://example.com")
    }

    fn has(&self, origin: Origin<'_>) -> bool {
        let spelling = origin.to_string();
        self.0.iter().any(|listed| **listed == *spelling)
    }
}

/// The function of [`OriginPolicy::predicate`].
#[derive(Clone)]
pub struct OriginPredicate(Arc<Allows>);

type Allows = dyn Fn(&HeaderValue, &Parts) -> bool + Send + Sync;

impl fmt::Debug for OriginPredicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OriginPredicate").finish_non_exhaustive()
    }
}

fn parse(origin: &HeaderValue) -> Option<Origin<'_>> {
    Origin::parse(origin.to_str().ok()?)
}

#[cfg(test)]
mod tests;
