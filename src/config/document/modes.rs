//! Compression as it is asked for.

use super::mode::Mode;
use crate::compression::Compression;

pub(super) fn make(mode: Mode) -> Result<Compression, String> {
    Ok(match mode {
        Mode::Shared => Compression::shared(),
        Mode::Dedicated => Compression::dedicated(),
    })
}
