//! Connections of HTTP/2 to the upstream, each with many sockets.

use std::sync::Arc;

use http::{
    Request, Response, Uri,
    header::HOST,
    uri::{Authority, Parts},
};
use tokio::{sync::Mutex, time::Instant};

use super::failure::{self, Failure};
use crate::{
    client::{Client, ConnectError, Http2Connection},
    session::Opened,
};

/// The connections to one upstream.
pub(super) struct Pool {
    max_sockets: usize,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    open: Vec<Pooled>,
    /// When the last attempt to make one has failed, and whether for lack of time.
    failed: Option<(Instant, bool)>,
}

struct Pooled {
    connection: Http2Connection,
    /// Held by the pool, and once for each socket.
    sockets: Ticket,
}

/// The place of one socket on a connection.
pub(super) type Ticket = Arc<()>;

impl Pooled {
    fn sockets(&self) -> usize {
        Arc::strong_count(&self.sockets) - 1
    }
}

impl Pool {
    pub(super) fn new(max_sockets: usize) -> Self {
        Self {
            max_sockets,
            connections: Mutex::default(),
        }
    }

    /// Makes one with the same settings and no connections.
    pub(super) fn renewed(&self) -> Self {
        Self::new(self.max_sockets)
    }

    /// Opens a socket on a connection that has room for it.
    pub(super) async fn request(
        &self,
        client: &Client,
        upstream: &Uri,
        mut request: Request<()>,
    ) -> Result<(Response<Opened>, Ticket), Failure> {
        if let Some(host) = request.headers_mut().remove(HOST)
            && let Ok(authority) = Authority::try_from(host.as_bytes())
        {
            let mut parts = Parts::from(request.uri().clone());
            parts.authority = Some(authority);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        let (connection, ticket) = self.connection(client, upstream).await?;
        match connection.open(request.clone()).await {
            Ok(response) => Ok((response, ticket)),
            // It has ended meanwhile, which says nothing of the upstream.
            Err(ConnectError::Io(_)) if connection.is_closed() => {
                let (connection, ticket) = self.connection(client, upstream).await?;
                let response = connection.open(request).await;
                Ok((response.map_err(failure::of)?, ticket))
            }
            Err(error) => Err(failure::of(error)),
        }
    }

    /// Finds a connection with room for a socket, or makes one.
    ///
    /// Others wait meanwhile, to share it, and share its failure.
    async fn connection(
        &self,
        client: &Client,
        upstream: &Uri,
    ) -> Result<(Http2Connection, Ticket), Failure> {
        let asked = Instant::now();
        let mut connections = self.connections.lock().await;
        connections.tidy();
        let has_room = |pooled: &&Pooled| {
            pooled.sockets() < self.max_sockets.min(pooled.connection.max_sockets())
        };
        if let Some(pooled) = connections.open.iter().find(has_room) {
            return Ok((pooled.connection.clone(), pooled.sockets.clone()));
        }
        match connections.failed {
            Some((when, true)) if when >= asked => return Err(Failure::TimedOut),
            Some((when, false)) if when >= asked => return Err(Failure::Unreached),
            _ => {}
        }
        let connection = match client.connect_http2(upstream.clone()).await {
            Ok(connection) => connection,
            Err(error) => {
                connections.failed = Some((Instant::now(), error.is_timeout()));
                return Err(failure::of(error));
            }
        };
        let sockets = Ticket::default();
        connections.open.push(Pooled {
            connection: connection.clone(),
            sockets: sockets.clone(),
        });
        Ok((connection, sockets))
    }
}

impl Connections {
    /// Forgets connections that take no more sockets, and all but one that have none.
    fn tidy(&mut self) {
        let mut idle = 0;
        self.open.retain(|pooled| {
            idle += usize::from(pooled.sockets() == 0);
            !pooled.connection.is_closed() && (pooled.sockets() > 0 || idle <= 1)
        });
    }
}
