//! The ways to compress, by name.

use serde::{Deserialize, Serialize};

/// One of the two ways to compress.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    Shared,
    Dedicated,
}
