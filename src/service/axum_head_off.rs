//! The place of what axum puts into a request in a build without the feature `axum`.

use std::net::SocketAddr;

use http::{Extensions, request::Parts};

use crate::session::params::PathParams;

/// Knows no address: its type is axum's.
pub(super) fn connect_info(_: &Extensions) -> Option<SocketAddr> {
    None
}

/// Knows no parameters: their type is axum's.
pub(super) fn path_params(_: &mut Parts) -> Option<PathParams> {
    None
}
