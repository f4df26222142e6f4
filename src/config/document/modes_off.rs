//! Compression without the feature `deflate`: who asks for it is told so.

use super::mode::Mode;
use crate::compression::Compression;

pub(super) fn make(_: Mode) -> Result<Compression, String> {
    Err("compression: it needs the feature `deflate` of tower-websocket".to_owned())
}
