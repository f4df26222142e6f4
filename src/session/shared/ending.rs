//! What is known of the end, once it has begun.

use crate::{error::Error, protocol::CloseFrame, session::report::EndedBy};

/// How a connection ends.
#[derive(Default)]
pub(super) struct Ending {
    /// Set once nothing more is delivered.
    pub(super) end: Option<End>,
    /// Who sent the first Close frame, and what it said.
    pub(super) first_close: Option<(EndedBy, Option<CloseFrame>)>,
    /// The peer's Close frame, where it had a code.
    pub(super) peer_close: Option<CloseFrame>,
    /// A whole `WebSocket` was dropped by a panic.
    pub(super) panicked: bool,
    /// The transport is gone.
    pub(super) over: bool,
    /// Nothing is waited for any more.
    pub(super) aborted: bool,
}

/// How receiving ends.
pub(super) enum End {
    Clean,
    /// The error is taken by the first who receives it.
    Failed(Option<Error>),
}
