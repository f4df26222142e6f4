//! How far coming back is.

use std::{fmt, future::Future, pin::Pin};

use http::Response;
use tokio::{sync::oneshot, time::Sleep};

use crate::{
    client::error::ConnectError,
    session::{SessionReport, WebSocket},
};

/// A connection in the making.
pub(super) type Connecting =
    Pin<Box<dyn Future<Output = Result<Response<WebSocket>, ConnectError>> + Send>>;

/// Brings the report of a session, once that is over.
pub(super) type Ended = oneshot::Receiver<SessionReport>;

pub(super) enum Stage {
    /// The request was none.
    Unusable(ConnectError),
    /// The next try may begin.
    Due,
    Connecting(Connecting, Ended),
    /// The application has a socket.
    Open(Ended),
    Pausing(Pin<Box<Sleep>>),
    Over,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unusable(_) => "Unusable",
            Self::Due => "Due",
            Self::Connecting(..) => "Connecting",
            Self::Open(_) => "Open",
            Self::Pausing(_) => "Pausing",
            Self::Over => "Over",
        })
    }
}
