//! What counts a connection for as long as it lasts.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::request::Parts;
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;

use super::per_address::{AddressPermit, PerAddress};
use crate::handshake::Rejection;

/// A connection's share of the limits that were set; given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    address: Option<AddressPermit>,
    server: Option<ServerPermit>,
}

impl Permits {
    /// Takes what the connection of a request needs.
    ///
    /// # Errors
    ///
    /// Its address has too many.
    pub(crate) fn take(head: &mut Parts, limit: Option<&PerAddress>) -> Result<Self, Rejection> {
        let server = head.extensions.remove();
        let address = limit.map_or(Ok(None), |limit| limit.admit(head))?;
        Ok(Self { address, server })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.address.is_none() && self.server.is_none()
    }
}

/// A place among the connections of a server, which it puts among the extensions of their requests.
#[derive(Clone)]
pub(crate) struct ServerPermit(
    #[expect(dead_code, reason = "its drop counts")] Arc<OwnedSemaphorePermit>,
);

impl ServerPermit {
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "`serve` does"))]
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(permit))
    }
}

impl fmt::Debug for ServerPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerPermit")
    }
}

pin_project! {
    /// The task of a connection that is counted.
    pub(super) struct Counted<F> {
        #[pin]
        task: F,
        permits: Permits,
    }
}

impl<F> Counted<F> {
    pub(super) fn new(task: F, permits: Permits) -> Self {
        Self { task, permits }
    }
}

impl<F: Future<Output = ()>> Future for Counted<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().task.poll(cx)
    }
}
