//! Redis and Valkey.

use std::{fmt, pin::Pin, sync::Arc};

use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use self::{
    connect::Access,
    lane::Lane,
    sentinel::Sentinels,
    shards::Shards,
    streams::Bookmarks,
    url::{Login, PORT, RedisUrl, SENTINEL_PORT, Server},
};
use super::{
    backplane::{BackplaneError, Promises},
    engine::Backplane,
    line::Line,
};
use crate::trust::Trust;

pub use self::url::RedisUrlError;

/// Redis or Valkey as the engine of a cluster.
///
/// It needs version 6.0 or later, a Redis cluster 7.0.
///
/// ```no_run
/// use tower_websocket::{Groups, cluster::{Cluster, Redis}};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::new("rediss://10.0.0.1/")?.credentials("chat", "s3cret");
/// let cluster = Cluster::start("shop", redis);
/// let rooms: Groups = Groups::builder().cluster(&cluster, "rooms").build();
/// # Ok(())
/// # }
/// ```
///
/// # URLs
///
/// `redis://user:password@host:6379/`, or `rediss://` for TLS; `valkey://` and `valkeys://` mean the same.
/// User, password and port may be missing; a user without a password logs in with an empty one. Characters other than
/// letters and digits are percent-encoded in them.
/// Only [`streams`](Self::streams) use the number of a database: channels belong to none.
///
/// # What it needs
///
/// Each node has two connections. A user with the fewest rights needs `&shop:*` (with the name of the
/// cluster), `-@all +publish +subscribe +unsubscribe +ping +hello`, and no key. Leave the settings
/// `client-output-buffer-limit pubsub` and `timeout` of the server as they are.
///
/// # TLS
///
/// It uses the process's default `CryptoProvider` of rustls, or ring if there is none and the feature `ring` is enabled,
/// as it is by default. An application that also builds its own rustls configurations should take `tokio-rustls` with
/// `default-features = false` and `ring`, or call `CryptoProvider::install_default`: with two providers
/// compiled in and none chosen, rustls' own builders panic.
pub struct Redis {
    servers: Servers,
    access: Access,
}

/// Where the servers are.
#[derive(Debug)]
enum Servers {
    One(Server),
    Sentinel(Sentinels),
    Cluster(Vec<Server>),
    Streams(Server, Bookmarks),
}

impl Redis {
    /// Creates an engine from the URL of a server.
    ///
    /// Nothing is connected to yet.
    ///
    /// ```
    /// use tower_websocket::cluster::{Redis, RedisUrlError};
    ///
    /// assert!(Redis::new("redis://127.0.0.1/").is_ok());
    /// assert!(matches!(Redis::new("http://127.0.0.1/"), Err(RedisUrlError::Scheme)));
    /// ```
    ///
    /// # Errors
    ///
    /// The URL is wrong.
    pub fn new(url: &str) -> Result<Self, RedisUrlError> {
        let RedisUrl { server, login, .. } = RedisUrl::parse(url, PORT)?;
        Ok(Self::of(Servers::One(server), login))
    }

    /// Creates an engine from the URLs of Sentinels, and the name of the master that they watch.
    ///
    /// For each connection the Sentinels are asked one after the other where the master is. Without a port
    /// theirs is 26379. User and password in a URL are for that Sentinel; those of the first are for the
    /// master as well, unless there are [credentials](Self::credentials). With `rediss://` both use TLS. Nothing is connected
    /// to yet.
    ///
    /// # Errors
    ///
    /// A URL is wrong, or there is none.
    pub fn sentinel<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        master: &str,
    ) -> Result<Self, RedisUrlError> {
        let (urls, login) = parsed(urls, SENTINEL_PORT)?;
        let sentinels = Sentinels::new(urls, master.into());
        Ok(Self::of(Servers::Sentinel(sentinels), login))
    }

    /// Creates an engine from the URLs of some servers of a Redis cluster, version 7.0 or later.
    ///
    /// Any of them says where the others are, whose user, password and TLS are those of the first URL.
    /// Each topic is on the master that has the slot of its channel, which is followed when it moves. Nothing is
    /// connected to yet.
    ///
    /// A message for a master that cannot be connected to is refused at once. It is not kept for 5 seconds, as with
    /// one server, since messages for the other masters would wait behind it.
    /// [`Delivery::remote`](crate::groups::Delivery::remote) is `Queued` all the same;
    /// [`broadcast_confirmed`](crate::Groups::broadcast_confirmed) returns the refusal, and receivers notice
    /// the gap.
    ///
    /// The channel of a topic has the tag of its partition in front: `{1084}shop:1:rooms:lobby`. A topic's
    /// partition is the highest byte of the 32-bit FNV-1a of its bytes, and the tag of partition *p* is
    /// the least number whose slot lies in the middle half of the slots 64 *p* to 64 *p* + 63. A user
    /// needs `+spublish +ssubscribe +sunsubscribe +cluster|shards` beside `+ping +hello`, and `&{*}shop:*`.
    ///
    /// # Errors
    ///
    /// A URL is wrong, or there is none.
    pub fn cluster<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
    ) -> Result<Self, RedisUrlError> {
        let (urls, login) = parsed(urls, PORT)?;
        let seeds = urls.into_iter().map(|url| url.server).collect();
        let mut redis = Self::of(Servers::Cluster(seeds), login);
        redis.access.limit = standing::MAKE;
        Ok(redis)
    }

    /// Creates an engine from the URL of a server whose streams carry the envelopes.
    ///
    /// What a node misses while it has no connection is still there if it is back within a minute, unless
    /// that is more than the server keeps: about 10,000 envelopes in each of 16 streams, `shop:1:{0}` to
    /// `shop:1:{15}`. All envelopes of a group are in the same stream. The price: every node reads everything that is
    /// published, also to groups without a member here, and the server spends more on each envelope. Nothing is connected to
    /// yet.
    ///
    /// A node catches up in pieces of about 1 MiB; the first is of up to 32 envelopes of each stream, however
    /// large they are. While half of [`max_inbound`](super::ClusterBuilder::max_inbound) waits for delivery
    /// it leaves the rest on the server, 4 seconds at most. After that, envelopes for which there is no room are dropped, as
    /// without streams.
    ///
    /// A user needs `~shop:*` and `+xadd +xread +xrevrange` beside `+ping +hello`, and
    /// `+select` for a database other than 0.
    ///
    /// # Errors
    ///
    /// The URL is wrong.
    pub fn streams(url: &str) -> Result<Self, RedisUrlError> {
        let RedisUrl {
            server,
            login,
            database,
        } = RedisUrl::parse(url, PORT)?;
        let mut redis = Self::of(Servers::Streams(server, Bookmarks::default()), login);
        redis.access.database = database;
        Ok(redis)
    }

    /// Sets user and password for the servers.
    ///
    /// An empty user is the server's default one. Default: those of the first URL.
    #[must_use]
    pub fn credentials(mut self, user: &str, password: &str) -> Self {
        self.access.login = Login {
            user: Some(user).filter(|user| !user.is_empty()).map(Into::into),
            password: Some(password.into()),
        };
        self
    }

    fn of(servers: Servers, login: Login) -> Self {
        let access = Access {
            login,
            ..Access::default()
        };
        Self { servers, access }
    }

    /// Trusts servers with certificates from these roots.
    ///
    /// Default: those that the platform trusts, which are read once in a process.
    #[must_use]
    pub fn roots(mut self, roots: impl Into<Arc<RootCertStore>>) -> Self {
        self.access.trust = Trust::roots(roots);
        self
    }

    /// Sets the TLS configuration, for client certificates and more.
    ///
    /// Its `alpn_protocols` are removed.
    #[must_use]
    pub fn tls(mut self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.access.trust = Trust::Given(config.into());
        self
    }

    async fn serve(&self, line: &mut Line) -> Result<(), BackplaneError> {
        let access = &self.access;
        let lane = match &self.servers {
            Servers::Streams(server, bookmarks) => {
                Lane::connect_streams(access, server, line, bookmarks).await?
            }
            Servers::Cluster(seeds) => {
                let shards = Shards::connect(access, seeds, line).await?;
                return shards.serve(line).await;
            }
            Servers::One(server) => Lane::connect(access, server, line).await?,
            Servers::Sentinel(sentinels) => {
                let master = sentinels.master(&access.trust).await?;
                let lane = Lane::connect(access, &master, line).await;
                lane.inspect_err(|_| sentinels.doubt())?
            }
        };
        lane.serve(line).await
    }
}

/// Reads URLs, of which there is one at least; the login is that of the first.
fn parsed<U: AsRef<str>>(
    urls: impl IntoIterator<Item = U>,
    port: u16,
) -> Result<(Vec<RedisUrl>, Login), RedisUrlError> {
    let urls = urls.into_iter();
    let urls = urls.map(|url| RedisUrl::parse(url.as_ref(), port));
    let urls = urls.collect::<Result<Vec<_>, _>>()?;
    let login = urls.first().ok_or(RedisUrlError::Missing)?.login.clone();
    Ok((urls, login))
}

impl Backplane for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn promises(&self) -> Promises {
        Promises {
            ordered: true,
            echoes: true,
            confirms: true,
            retains: matches!(self.servers, Servers::Streams(..)),
            max_envelope: MAX_ENVELOPE,
        }
    }

    fn run<'a>(
        &'a self,
        line: &'a mut Line,
    ) -> Pin<Box<dyn Future<Output = Result<(), BackplaneError>> + Send + 'a>> {
        Box::pin(self.serve(line))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut redis = f.debug_struct("Redis");
        redis
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// Half of what a server keeps for a slow subscriber before it cuts it off: 32 MiB.
const MAX_ENVELOPE: usize = 16 << 20;

mod breath;
mod connect;
mod entries;
mod fault;
mod holds;
mod in_order;
mod lane;
mod master;
mod partitions;
mod publisher;
mod sentinel;
mod shards;
mod spelling;
mod standing;
mod streams;
mod subscriber;
mod table;
#[cfg(test)]
mod tests;
mod url;
