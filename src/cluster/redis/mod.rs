//! Redis and Valkey.

use std::{fmt, pin::Pin, sync::Arc};

use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use self::{
    connect::Access,
    lane::Lane,
    sentinel::Sentinels,
    url::{Login, PORT, RedisUrl, SENTINEL_PORT, Server},
};
use super::{
    backplane::{BackplaneError, Promises},
    engine::Backplane,
    line::Line,
};
use crate::trust::Trust;

pub use self::url::RedisUrlError;

/// Redis or Valkey as the engine of a cluster. Needs version 6.0 or later.
///
/// # URLs
///
/// `redis://user:password@host:6379/`, or `rediss://` for TLS; `valkey://` and `valkeys://` mean the same.
/// User, password and port may be missing; other than letters and digits are percent-encoded in them.
/// The number of a database is ignored: channels belong to none.
///
/// # What it needs
///
/// Two connections for each node. A user of whom the least is known: `&shop:*` (with the name of the
/// cluster), `-@all +publish +subscribe +unsubscribe +ping +hello`, and no key. The settings
/// `client-output-buffer-limit pubsub` and `timeout` of the server are best left as they are.
///
/// # TLS
///
/// It uses the process's default `CryptoProvider` of rustls, or ring if there is none. An application that
/// also builds its own rustls configurations should take `tokio-rustls` with
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
}

impl Redis {
    /// Takes the URL of a server. Nothing is connected to yet.
    ///
    /// # Errors
    ///
    /// A URL that is wrong.
    pub fn new(url: &str) -> Result<Self, RedisUrlError> {
        let RedisUrl { server, login, .. } = RedisUrl::parse(url, PORT)?;
        Ok(Self::of(Servers::One(server), login))
    }

    /// Takes the URLs of Sentinels, and the name of the master that they watch. Nothing is connected to
    /// yet.
    ///
    /// For each connection the Sentinels are asked one after the other where the master is. Without a port
    /// theirs is 26379. User and password in a URL are for that Sentinel; those of the first are for the
    /// master, too, unless there are [credentials](Self::credentials). With `rediss://` both use TLS.
    ///
    /// # Errors
    ///
    /// A URL that is wrong, or none at all.
    pub fn sentinel<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        master: &str,
    ) -> Result<Self, RedisUrlError> {
        let urls = urls.into_iter();
        let urls = urls.map(|url| RedisUrl::parse(url.as_ref(), SENTINEL_PORT));
        let urls = urls.collect::<Result<Vec<_>, _>>()?;
        let first = urls.first().ok_or(RedisUrlError::Missing)?;
        let login = first.login.clone();
        let sentinels = Sentinels::new(urls, master.into());
        Ok(Self::of(Servers::Sentinel(sentinels), login))
    }

    /// Sets user and password for the servers. Default: those of the first URL. An empty user is the
    /// server's default one.
    #[must_use]
    pub fn credentials(mut self, user: &str, password: &str) -> Self {
        self.access.login = Login {
            user: Some(user).filter(|user| !user.is_empty()).map(Into::into),
            password: Some(password.into()),
        };
        self
    }

    fn of(servers: Servers, login: Login) -> Self {
        let trust = Trust::default();
        Self {
            servers,
            access: Access { login, trust },
        }
    }

    /// Trusts servers with certificates from these roots. Default: those the platform trusts, which are
    /// read once in a process.
    #[must_use]
    pub fn roots(mut self, roots: impl Into<Arc<RootCertStore>>) -> Self {
        self.access.trust = Trust::roots(roots);
        self
    }

    /// Sets the TLS configuration, for client certificates and more. Its `alpn_protocols` are replaced by
    /// none.
    #[must_use]
    pub fn tls(mut self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.access.trust = Trust::Given(config.into());
        self
    }

    async fn serve(&self, line: &mut Line) -> Result<(), BackplaneError> {
        let access = &self.access;
        let lane = match &self.servers {
            Servers::One(server) => Lane::connect(access, server, line).await?,
            Servers::Sentinel(sentinels) => {
                let master = sentinels.master(&access.trust).await?;
                Lane::connect(access, &master, line).await?
            }
        };
        lane.serve(line).await
    }
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
            retains: false,
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

mod connect;
mod fault;
mod in_order;
mod lane;
mod publisher;
mod sentinel;
mod subscriber;
#[cfg(test)]
mod tests;
mod url;
