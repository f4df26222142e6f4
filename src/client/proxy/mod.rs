//! Proxies on the way to a server.

mod environment;
mod http_connect;
mod socks;
mod uri;

pub use uri::InvalidProxy;
pub(super) use uri::Proxy;

use std::sync::Arc;

use tokio::time::Instant;

use self::{environment::Environment, uri::Kind};
use super::{connector::BoxStream, proxy_error::ProxyError, request::Server, tls};
use crate::trust::Trust;

/// Which proxy leads to a server.
#[derive(Clone, Debug, Default)]
pub(super) enum Proxies {
    #[default]
    None,
    One(Arc<Proxy>),
    Environment(Arc<Environment>),
}

impl Proxies {
    /// Takes a proxy for all servers.
    pub(super) fn one(uri: &str) -> Result<Self, InvalidProxy> {
        Ok(Self::One(Arc::new(Proxy::parse(uri)?)))
    }

    /// Takes those that the environment names now.
    pub(super) fn environment() -> Result<Self, InvalidProxy> {
        let environment = Environment::read(std::env::var_os)?;
        Ok(Self::Environment(Arc::new(environment)))
    }

    /// Returns the proxy for a server, if it is not reached without.
    pub(super) fn of(&self, server: &Server) -> Option<&Proxy> {
        match self {
            Self::None => None,
            Self::One(proxy) => Some(proxy),
            Self::Environment(environment) => environment.proxy(server),
        }
    }
}

/// Asks a proxy, over a stream that leads to it, for one that leads to a server.
pub(super) async fn tunnel(
    proxy: &Proxy,
    stream: BoxStream,
    server: &Server,
    trust: &Trust,
    until: Option<Instant>,
) -> Result<BoxStream, ProxyError> {
    match &proxy.kind {
        Kind::Http { tls, credentials } => {
            let stream = match tls {
                true => secure(proxy, stream, trust).await?,
                false => stream,
            };
            http_connect::tunnel(stream, server, credentials.as_ref(), until).await
        }
        Kind::Socks {
            local_names,
            credentials,
        } => socks::tunnel(stream, server, *local_names, credentials.as_ref()).await,
    }
}

async fn secure(proxy: &Proxy, stream: BoxStream, trust: &Trust) -> Result<BoxStream, ProxyError> {
    let connecting = tls::connect_to_proxy(trust, stream, &proxy.host);
    let stream = connecting.await.map_err(ProxyError::Tls)?;
    Ok(Box::new(stream))
}
