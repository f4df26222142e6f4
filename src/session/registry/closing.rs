//! What becomes of those that come once nobody is let in any more.

use std::time::Duration;

use crate::{handshake::Rejection, protocol::CloseFrame};

/// How a drain turns away what comes.
pub(super) struct Closing {
    /// What connections are closed with that open nevertheless.
    pub(super) frame: CloseFrame,
    /// When those come back whose handshakes are refused.
    pub(super) retry_after: Duration,
}

impl Closing {
    /// Why handshakes are refused.
    pub(super) fn rejection(&self) -> Rejection {
        let retry_after = self.retry_after;
        Rejection::Draining { retry_after }
    }
}
