//! In the place of `deflated`, without the feature `deflate`: no compression is ever agreed on.

use crate::protocol::{Connection, DeflateParams};

pub(super) fn with(connection: Connection, _: Option<DeflateParams>) -> Connection {
    connection
}
