//! Limits for each address.

mod key;
mod table;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use http::request::Parts;
use tokio::time::Instant;

use self::{
    key::Key,
    table::{Open, Rate, Table},
};
use super::peer_addr::peer_addr;
use crate::{
    handshake::Rejection,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

type FindAddress = Arc<dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync>;

/// A limit of the WebSockets that one address has open, and of the new ones that it asks for.
///
/// It is set with [`WebSocketLayer::per_address`](crate::WebSocketLayer::per_address), and with
/// `per_address` of the extractor. Pass the same one, or clones of it, to several layers for a limit of all of them
/// together. There is no limit until one is set.
///
/// ```
/// use std::time::Duration;
/// use tower_websocket::{WebSocket, WebSocketLayer, handler, service::PerAddress};
///
/// # async fn chat(_: WebSocket) {}
/// let limit = PerAddress::new()
///     .max_open(20)
///     .max_new(30, Duration::from_secs(60));
/// let layer = WebSocketLayer::new(handler(chat)).per_address(&limit);
/// ```
///
/// # Clones
///
/// Open connections of all clones count together, also those of a clone without a limit of them. New connections
/// count for each [`max_new`](Self::max_new) alone, together with clones that were made after it. So a server may
/// have one limit of open connections, and for each route a limit of new ones:
///
/// ```
/// # use std::time::Duration;
/// # use tower_websocket::service::PerAddress;
/// let limit = PerAddress::new().max_open(20);
/// let login = limit.clone().max_new(3, Duration::from_secs(3600));
/// let feed = limit.clone().max_new(100, Duration::from_secs(1));
/// ```
///
/// # What counts
///
/// An IPv4 address is one address, also if it is written as IPv6 (`::ffff:192.0.2.1`). In IPv6 a
/// whole /64 is one address, since a single host usually has one to itself. Many people may share an IPv4
/// address, behind the router of a school or of a mobile network: leave them room.
///
/// A handshake that breaks no rule counts as new, before the hook of
/// [`on_handshake`](crate::WebSocketLayer::on_handshake) runs. So a handshake that the hook refuses counts as well,
/// which also slows down guessing of passwords. A connection counts as open from then until its
/// transport is gone and its handler has returned.
///
/// # What is beyond
///
/// A handshake beyond a limit gets 429 with `Retry-After`, and [`Rejection::TooManyOpen`] or [`Rejection::TooManyNew`].
/// The status says nothing about the server: a load balancer should not send clients elsewhere for it, as it may for
/// a 503.
///
/// # Memory
///
/// An open connection takes 100 bytes at most. Each `max_new` remembers the last 57,000 addresses at least and twice as
/// many at most, in 5 MiB at most. If more addresses come in the time of `per`, the oldest are forgotten, and have all
/// their new connections again. Open connections are never forgotten. Nothing is searched: a handshake costs the same
/// however many addresses are remembered.
#[derive(Clone)]
pub struct PerAddress(Arc<Limit>);

#[derive(Clone)]
struct Limit {
    max_open: Option<usize>,
    new: Option<Arc<Table>>,
    find: Option<FindAddress>,
    shared: Arc<Shared>,
}

struct Shared {
    open: Open,
    /// One of the clones limits what is open, so that it has to be counted.
    counts: AtomicBool,
    /// What the times in the tables are counted from.
    start: Instant,
    /// It was said that an address was missing.
    told: AtomicBool,
}

impl PerAddress {
    /// Creates a limit that limits nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Limit {
            max_open: None,
            new: None,
            find: None,
            shared: Arc::new(Shared {
                open: Open::new(),
                counts: AtomicBool::new(false),
                start: Instant::now(),
                told: AtomicBool::new(false),
            }),
        }))
    }

    /// Limits how many connections of an address are open at a time.
    ///
    /// One more is refused with 429 and `Retry-After: 5`. Connections that were opened before any of the clones had a limit
    /// do not count. Default: no limit.
    #[must_use]
    pub fn max_open(mut self, connections: impl Into<Option<usize>>) -> Self {
        let limit = Arc::make_mut(&mut self.0);
        limit.max_open = connections.into();
        if limit.max_open.is_some() {
            limit.shared.counts.store(true, Relaxed);
        }
        self
    }

    /// Limits how many connections an address may ask for: `connections` at once, and as many again in each `per`.
    ///
    /// They come back evenly spread over that time (a token bucket). One more is refused with 429, and `Retry-After` is the
    /// number of seconds until there is one. It is not counted, so that a client that asks too often is not locked out for
    /// longer. Zero is taken as one. `per` is at most a day. Default: no limit.
    ///
    /// The count starts anew: clones that were made before count for themselves.
    #[must_use]
    pub fn max_new(mut self, connections: u32, per: Duration) -> Self {
        let table = Table::new(Rate::new(connections, per));
        Arc::make_mut(&mut self.0).new = Some(Arc::new(table));
        self
    }

    /// Sets the function that returns the address of a request.
    ///
    /// Behind a proxy all requests have the proxy's address. Believe a header only if the proxy sets it,
    /// and the request comes from the proxy: clients can send it, too. `X-Forwarded-For` is
    /// added to, so its last address is the proxy's word, and those before it the client's.
    ///
    /// A request without an address (`None`) is not limited; the first one is logged. Default: the address of
    /// [`PeerAddr`](super::PeerAddr), or of axum's `ConnectInfo<SocketAddr>` with the feature `axum`.
    ///
    /// ```
    /// use std::net::IpAddr;
    /// use http::request::Parts;
    /// use tower_websocket::service::{PeerAddr, PerAddress};
    ///
    /// fn client(head: &Parts) -> Option<IpAddr> {
    ///     let PeerAddr(peer) = head.extensions.get()?;
    ///     if !peer.ip().to_canonical().is_loopback() {
    ///         return Some(peer.ip()); // not our proxy
    ///     }
    ///     let told = head.headers.get_all("x-forwarded-for").iter().next_back();
    ///     let last = told.and_then(|list| list.to_str().ok()?.rsplit(',').next());
    ///     last.and_then(|last| last.trim().parse().ok()).or(Some(peer.ip()))
    /// }
    ///
    /// let limit = PerAddress::new().max_open(20).address(client);
    /// # let mut request = http::Request::new(());
    /// # request.headers_mut().insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
    /// # request.extensions_mut().insert(PeerAddr("[::ffff:127.0.0.1]:80".parse().unwrap()));
    /// # let client = client(&request.into_parts().0);
    /// # assert_eq!(client, Some("192.0.2.1".parse().unwrap()));
    /// ```
    #[must_use]
    pub fn address(
        mut self,
        find: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.0).find = Some(Arc::new(find));
        self
    }

    /// Counts a new connection of the address that asks for it.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub(crate) fn admit(&self, head: &Parts) -> Result<Option<AddressPermit>, Rejection> {
        let Limit {
            max_open,
            new,
            find,
            shared,
        } = &*self.0;
        let address = match find {
            Some(find) => find(head),
            None => peer_addr(&head.extensions).map(|peer| peer.ip()),
        };
        let Some(address) = address else {
            shared.tell_of_no_address();
            return Ok(None);
        };
        let key = Key::of(address);
        let permit = shared.open(key, *max_open)?;
        if let Some(new) = new {
            // One that is refused is not open.
            new.take(key, shared.start.elapsed())?;
        }
        Ok(permit)
    }
}

impl Default for PerAddress {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerAddress")
            .field("max_open", &self.0.max_open)
            .field("max_new", &self.0.new.as_ref().map(|new| new.rate()))
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Counts a connection as open, if that is limited.
    fn open(
        self: &Arc<Self>,
        key: Key,
        max_open: Option<usize>,
    ) -> Result<Option<AddressPermit>, Rejection> {
        if !self.counts.load(Relaxed) {
            return Ok(None);
        }
        self.open.admit(key, max_open)?;
        Ok(Some(AddressPermit {
            shared: self.clone(),
            key,
        }))
    }

    fn tell_of_no_address(&self) {
        if !self.told.swap(true, Relaxed) {
            tracing::warn!(
                "a request without an address is not limited: put PeerAddr among its extensions, serve axum's \
                 into_make_service_with_connect_info, or set PerAddress::address: see \
                 `deployment#what-every-proxy-has-to-do` (told once)"
            );
        }
    }
}

/// A connection that counts as open, until this is dropped.
pub(crate) struct AddressPermit {
    shared: Arc<Shared>,
    key: Key,
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        self.shared.open.release(self.key);
    }
}

impl fmt::Debug for AddressPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressPermit")
    }
}
