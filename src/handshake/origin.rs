//! Which pages may open a connection (RFC 6455 §10.2).

mod list;

pub use list::OriginList;

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
/// Browsers hide that response from the page and its developer. So a layer or an extractor logs each
/// refused origin at WARN, with the host that the request was for: once a minute for the same origin,
/// and at most 100 of them a minute in the whole program.
///
/// | the page | the policy |
/// | --- | --- |
/// | is served by the same host and port | [`SameHost`](Self::SameHost), the default |
/// | may also be on another host | [`same_host_or`](Self::same_host_or) |
/// | is on another host, and the server has no pages of its own | [`list`](Self::list) |
/// | comes from a development server on another port of the same machine | [`SameHostOrLocalhost`](Self::SameHostOrLocalhost) |
/// | is in an app, a browser extension or a file | [`same_host_or`](Self::same_host_or) with what it sends |
/// | is on any subdomain, or known to a database | [`predicate`](Self::predicate) |
///
/// ```
/// use tower_websocket::{Config, OriginPolicy};
///
/// let config = Config::default().origin(OriginPolicy::same_host_or([
///     "https://example.com",
///     "https://staging.example.com:8443",
///     "capacitor://localhost",
/// ]));
/// ```
///
/// A handshake shows what a policy does:
///
/// ```
/// use http::Request;
/// use tower_websocket::{Config, OriginPolicy, handshake::{Rejection, server}};
///
/// let check = |policy: OriginPolicy, origin: &str| {
///     let (head, ()) = Request::get("/chat")
///         .header("host", "example.com")
///         .header("origin", origin)
///         .header("upgrade", "websocket")
///         .header("connection", "Upgrade")
///         .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
///         .header("sec-websocket-version", "13")
///         .body(())
///         .expect("valid headers")
///         .into_parts();
///     server::negotiate(&head, None, &Config::default().origin(policy)).map(drop)
/// };
/// assert_eq!(check(OriginPolicy::SameHost, "https://example.com"), Ok(()));
/// assert_eq!(check(OriginPolicy::SameHost, "https://evil.example"), Err(Rejection::OriginRefused));
/// let pages = OriginPolicy::list(["https://app.example"]);
/// assert_eq!(check(pages, "https://app.example"), Ok(()));
/// assert_eq!(check(OriginPolicy::Any, "https://evil.example"), Ok(()));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// Allows pages of the host and port that the request is for.
    ///
    /// These are the authority of the request target (`:authority` on HTTP/2) or else `Host`
    /// (RFC 9112 §3.2.2). Hosts are compared without case. A port that either side leaves out
    /// is the default of the page's scheme: without ports, a page over `http` matches a server over
    /// `https`. `null`, malformed origins, and schemes other than `http`, `https`, `ws`
    /// and `wss` are refused.
    ///
    /// Behind a proxy that rewrites `Host` this refuses every browser: configure the proxy to pass `Host` on,
    /// or use a [`list`](Self::list).
    #[default]
    SameHost,
    /// Allows the pages of [`same_host_or`](Self::same_host_or).
    SameHostOr(OriginList),
    /// Allows what [`SameHost`](Self::SameHost) does, and pages of this machine if the request is for it.
    ///
    /// It is for development servers: such a page may come from any port. Both have to be `localhost`, a name below it, an
    /// address of `127.0.0.0/8`, or `[::1]`. So a page
    /// at `http://localhost:5173` may connect to `127.0.0.1:8080`. A server that is reached by another
    /// name allows no more than with `SameHost`, so this may stay in production. It must not if a
    /// proxy puts `localhost` into `Host`: a page of a visitor's own machine has the visitor's
    /// cookies then. Pages that are opened by the machine's address in the network are not allowed:
    /// name them in [`same_host_or`](Self::same_host_or).
    SameHostOrLocalhost,
    /// Allows every page: for services without cookies or other ambient authority.
    Any,
    /// Allows the pages of [`list`](Self::list).
    List(OriginList),
    /// Asks the function of [`predicate`](Self::predicate).
    Predicate(OriginPredicate),
}

impl OriginPolicy {
    /// Allows the pages of these origins, and no others: not even those of the server itself.
    ///
    /// An origin is scheme, host and port, as browsers send it. Scheme and host are compared without
    /// case; a missing port is the scheme's default. A single `/` behind it does not matter.
    ///
    /// Any other entry allows the same text, byte for byte: what apps and devices send, such as
    /// `file://`, `null`, or an address with a path. Spaces around an entry are dropped. Only browsers can be
    /// trusted to send a true `Origin`. Every page in a sandboxed frame, of any site, sends `null`: listing it
    /// allows them all.
    ///
    /// ```
    /// use tower_websocket::OriginPolicy;
    ///
    /// let policy = OriginPolicy::list(["https://example.com", "chrome-extension://abcdef", "file://"]);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics on entries that would never match: on an empty one, on control characters, and on `*`,
    /// which is no wildcard here. For all pages use [`Any`](Self::Any), and for those of
    /// all subdomains [`predicate`](Self::predicate).
    #[must_use]
    pub fn list<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Self {
        Self::List(OriginList::new(origins))
    }

    /// Allows what [`SameHost`](Self::SameHost) does, and the pages of these origins, as
    /// [`list`](Self::list) reads them.
    ///
    /// # Panics
    ///
    /// Panics on entries on which [`list`](Self::list) does.
    #[must_use]
    pub fn same_host_or<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Self {
        Self::SameHostOr(OriginList::new(origins))
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
        let same_host = || parse(origin).is_some_and(|origin| origin.is_at(target));
        match self {
            Self::SameHost => same_host(),
            Self::SameHostOr(list) => same_host() || list.has(origin),
            Self::SameHostOrLocalhost => same_host() || are_local(origin, target),
            Self::Any => true,
            Self::List(list) => list.has(origin),
            Self::Predicate(OriginPredicate(allows)) => allows(origin, head),
        }
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

/// Reports whether both the page and the server it asks for are on the browser's own machine.
fn are_local(origin: &HeaderValue, target: &Authority<'_>) -> bool {
    target.is_loopback() && parse(origin).is_some_and(|origin| origin.is_loopback())
}

#[cfg(test)]
mod tests;
