//! What counts a connection for as long as it lasts.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::request::Parts;
use pin_project_lite::pin_project;

use super::per_address::{AddressPermit, PerAddress};
use crate::handshake::Rejection;

/// A connection's share of the limits that were set; given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    address: Option<AddressPermit>,
}

impl Permits {
    /// Takes what the connection of a request needs.
    ///
    /// # Errors
    ///
    /// Its address has too many.
    pub(crate) fn take(head: &Parts, limit: Option<&PerAddress>) -> Result<Self, Rejection> {
        let address = limit.map_or(Ok(None), |limit| limit.admit(head))?;
        Ok(Self { address })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.address.is_none()
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
