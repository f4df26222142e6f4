//! Closing without a word of why.

use super::{sender::Sender, socket::WebSocket};

/// Closing without a code.
impl WebSocket {
    /// Starts the closing handshake with an empty Close frame: no code and no reason (RFC 6455 §5.5.1).
    ///
    /// For who passes on what another connection said: a peer sees code 1005 then (§7.1.5), as does the
    /// [`SessionReport`](crate::session::SessionReport). Otherwise as [`close`](Self::close).
    pub fn close_without_code(&self) {
        self.sending().close_without_code();
    }
}

/// Closing without a code.
impl Sender {
    /// Starts the closing handshake with an empty Close frame; as
    /// [`WebSocket::close_without_code`](crate::WebSocket::close_without_code).
    pub fn close_without_code(&self) {
        self.shared().close(None);
    }
}
