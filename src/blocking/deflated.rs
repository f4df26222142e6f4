//! Compression on a blocking socket: without the feature `deflate` none is agreed on.

use crate::protocol::{Connection, DeflateParams};

/// Tells a connection what was agreed on.
pub(super) fn with(connection: Connection, params: Option<DeflateParams>) -> Connection {
    match params {
        Some(params) => connection.deflate(params),
        None => connection,
    }
}
