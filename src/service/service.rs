//! The service that a layer makes, and its two questions to each request.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use tower::{BoxError, Layer, Service};

use super::{
    accepting::Accepting, axum_head, body::ResponseBody, extended_connect, future::ResponseFuture,
    hook::Handshake, layer::WebSocketLayer, on_upgrade::Upgrade, permits::Permits, refusal::refuse,
    refused_origin, registries::registry, upgrading::Opening,
};
use crate::{
    handshake::{Rejection, server},
    session::{WebSocket, params::PathParams},
};

/// The service made by [`WebSocketLayer`].
#[derive(Clone, Debug)]
pub struct WebSocketService<S, H> {
    pub(super) inner: S,
    pub(super) layer: WebSocketLayer<H>,
}

impl<S, H: Clone> Layer<S> for WebSocketLayer<H> {
    type Service = WebSocketService<S, H>;

    fn layer(&self, inner: S) -> Self::Service {
        WebSocketService {
            inner,
            layer: self.clone(),
        }
    }
}

impl<S, H, ReqBody, ResBody> Service<Request<ReqBody>> for WebSocketService<S, H>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    H: Service<Request<WebSocket>, Response = ()> + Clone + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send + 'static,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, H>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        if !self.layer.is_handshake(&mut head) {
            return ResponseFuture::inner(self.inner.call(Request::from_parts(head, body)));
        }
        match self.layer.accept(head) {
            Ok(accepting) => ResponseFuture::accepting(accepting),
            Err(refusal) => ResponseFuture::refusal(refusal),
        }
    }
}

impl<H: Clone> WebSocketLayer<H> {
    fn is_handshake(&self, head: &mut Parts) -> bool {
        server::is_handshake(head, extended_connect::protocol(head))
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.admits(head))
    }

    /// Checks the handshake; what follows may have to wait.
    fn accept(&self, mut head: Parts) -> Result<Accepting<H>, Box<Response<Bytes>>> {
        let version = head.version;
        let layer = self.connections.as_ref();
        let registry = registry(&mut head, layer);
        let connections = registry.as_ref().map_or(layer, Option::as_ref);
        let refuse = |rejection: Rejection| Box::new(refuse(connections, &rejection, version));
        if let Err(rejection) = &registry {
            return Err(refuse(rejection.clone()));
        }
        if self.setup.config.memory_budget.is_nearly_used_up() {
            return Err(refuse(Rejection::OverBudget));
        }
        let opening = server::settle_handshake(&head, &self.setup.config)
            .inspect_err(|rejection| refused_origin::tell(rejection, &head))
            .map_err(refuse)?;
        let upgrade = Upgrade::take(&mut head).ok_or_else(|| refuse(Rejection::NotUpgradable))?;
        name_params(&mut head);
        let permits = Permits::take(&mut head, self.per_address.as_ref()).map_err(refuse)?;
        let mut handshake = Handshake::new(head, opening, self.setup.clone(), connections.cloned());
        handshake.permits = permits;
        handshake.keeps_info = self.keeps_info;
        handshake.on_open = self.on_open.clone();
        let opening = Box::new(Opening {
            handshake,
            route: self.route.clone(),
            upgrade,
        });
        Ok(Accepting::new(opening, self.hook.clone()))
    }
}

/// Has the route service find the parameters of a route of axum's as those of the layer's own paths.
fn name_params(head: &mut Parts) {
    if head.extensions.get::<PathParams>().is_none()
        && let Some(params) = axum_head::path_params(head)
    {
        head.extensions.insert(params);
    }
}
