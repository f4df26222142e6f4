//! What members of a group get.

use crate::protocol::{CloseFrame, PreparedMessage};

/// What members get.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A message.
    Message(PreparedMessage),
    /// A Close frame: they leave, too.
    Close(CloseFrame),
}
