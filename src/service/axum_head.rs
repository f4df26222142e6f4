//! What axum puts into a request.

use std::{
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, connect_info::MockConnectInfo};
use http::{Extensions, request::Parts};

use crate::session::params::PathParams;

/// Returns the address that a server of axum knows, or that a test has made up.
pub(super) fn connect_info(extensions: &Extensions) -> Option<SocketAddr> {
    let known = extensions.get::<ConnectInfo<SocketAddr>>();
    let mocked = || extensions.get::<MockConnectInfo<SocketAddr>>();
    known
        .map(|ConnectInfo(address)| *address)
        .or_else(|| mocked().map(|MockConnectInfo(address)| *address))
}

/// Returns the parameters of the route, where it has any.
pub(super) fn path_params(head: &mut Parts) -> Option<PathParams> {
    let extracting = pin!(RawPathParams::from_request_parts(head, &()));
    // It waits for nothing.
    let extracted = extracting.poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Ok(params)) = extracted else {
        return None;
    };
    let mut params = params.iter().peekable();
    params.peek()?;
    Some(
        params
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    )
}
