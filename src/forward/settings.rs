//! What a gateway was told, and how it gets to its upstream.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Request, Response, Uri, request::Parts};

use super::{
    failure::{self, Failure},
    pool::{Pool, Ticket},
};
use crate::{client::Client, session::Opened};

/// What a [`Forward`] was told.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) uri: Uri,
    /// Those of every request to the upstream.
    pub(super) own_headers: HeaderMap,
    pub(super) client: Client,
    pub(super) headers: Vec<HeaderName>,
    pub(super) response_headers: Vec<HeaderName>,
    pub(super) x_forwarded_for: bool,
    pub(super) forwarded: bool,
    pub(super) preserve_host: bool,
    pub(super) on_request: Option<RequestHook>,
    pub(super) pool: Option<Arc<Pool>>,
    /// Extensions are negotiated end to end, and bytes passed unread.
    pub(super) end_to_end: bool,
    /// By which this gateway knows itself in `Via`.
    pub(super) pseudonym: Box<str>,
}

pub(super) type RequestHook = Arc<dyn Fn(&Parts, &mut Request<()>) + Send + Sync>;

impl Settings {
    /// Connects to the upstream, or takes a connection that is there.
    pub(super) async fn open(
        &self,
        request: Request<()>,
    ) -> Result<(Response<Opened>, Option<Ticket>), Failure> {
        let authority = request.uri().authority();
        match &self.pool {
            Some(pool) if authority == self.uri.authority() => {
                let (response, ticket) = pool.request(&self.client, &self.uri, request).await?;
                Ok((response, Some(ticket)))
            }
            _ => {
                let response = self.client.open(request).await;
                Ok((response.map_err(failure::of)?, None))
            }
        }
    }

    /// Forgets connections that were made with other settings.
    pub(super) fn renew_pool(&mut self) {
        self.pool = self.pool.take().map(|pool| Arc::new(pool.renewed()));
    }
}
