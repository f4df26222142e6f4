//! The errors that a connection's handles return.

use std::{fmt, io};

use crate::protocol::{Deadline, Message, Outbound, ProtocolError, close::CloseCode};

/// The reason why a connection can no longer be used.
///
/// A clean end is not among them: receiving returns `None` then.
///
/// ```
/// use tower_websocket::{CloseCode, Deadline, Error, ProtocolError};
///
/// /// What an application logs after a handler has failed.
/// fn explain(error: &Error) -> String {
///     match error {
///         Error::Closed => "sent too late".to_owned(),
///         Error::Protocol(broken) => format!("the peer is at fault: {broken}"),
///         Error::Timeout(Deadline::PeerSilent) => "the peer has vanished".to_owned(),
///         Error::Timeout(deadline) => format!("too slow: {deadline:?}"),
///         Error::OverBudget => "the server was short of memory".to_owned(),
///         Error::Io(error) => format!("the transport failed: {error}"),
///         _ => error.to_string(),
///     }
/// }
///
/// let error = Error::from(ProtocolError::InvalidUtf8);
/// assert!(error.is_protocol() && !error.is_timeout());
/// assert_eq!(error.close_code(), Some(CloseCode::INVALID_PAYLOAD));
/// assert!(explain(&error).starts_with("the peer is at fault"));
/// assert_eq!(explain(&Error::Timeout(Deadline::PeerSilent)), "the peer has vanished");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The connection is closing or closed: nothing can be sent any longer.
    Closed,
    /// The peer broke the protocol or a limit, and the connection has failed.
    Protocol(ProtocolError),
    /// The transport failed, or ended without a closing handshake (1006 in RFC 6455 §7.1.5).
    Io(io::Error),
    /// A deadline passed.
    Timeout(Deadline),
    /// The [`MemoryBudget`](crate::MemoryBudget) was used up, and the connection was closed for it.
    ///
    /// It was among those that held most, or could not be read for 10 seconds. The code is 1013, if a Close
    /// frame could be sent.
    OverBudget,
}

impl Error {
    /// Reports whether the connection was closed before.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Reports whether the peer broke the protocol or a limit.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        matches!(self, Self::Protocol(_))
    }

    /// Reports whether a deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Reports whether the peer has just gone away: an everyday event, not a bug on either side.
    #[must_use]
    pub fn is_disconnect(&self) -> bool {
        match self {
            Self::Closed | Self::Timeout(_) => true,
            Self::Protocol(_) | Self::OverBudget => false,
            // hyper's kind is `Other` when an HTTP/2 stream was reset.
            Self::Io(error) => !matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            ),
        }
    }

    /// Returns the code with which this endpoint ends the connection for the error.
    ///
    /// - [`Protocol`](Self::Protocol): [`ProtocolError::close_code`], such as 1002, 1007, 1009.
    /// - [`Timeout`](Self::Timeout): 1001 for [`Deadline::Idle`] and [`Deadline::Lifetime`], 1008 for
    ///   [`Deadline::Frame`] and [`Deadline::FirstMessage`], 1011 for [`Deadline::PeerSilent`]; `None`
    ///   for [`Deadline::Write`] and [`Deadline::Close`], after which nothing is sent.
    /// - [`OverBudget`](Self::OverBudget): 1013.
    /// - [`Io`](Self::Io): `None`; RFC 6455 §7.1.5 calls that 1006, which is never sent.
    /// - [`Closed`](Self::Closed): `None`, as it does not say which end closed. The peer's code is that of
    ///   [`WebSocket::received_close`](crate::WebSocket::received_close).
    ///
    /// It is not known whether the Close frame has reached the peer.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Protocol(error) => Some(error.close_code()),
            Self::Timeout(deadline) => deadline.close_code(),
            Self::OverBudget => Some(CloseCode::TRY_AGAIN_LATER),
            Self::Io(_) | Self::Closed => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection is closed"),
            Self::Protocol(ProtocolError::CorruptDeflate) => f.write_str(
                "the peer broke the protocol (see `troubleshooting#1007-compressed-message-cannot-be-decompressed`)",
            ),
            Self::Protocol(_) => f.write_str("the peer broke the protocol"),
            Self::Io(_) => f.write_str("the transport failed"),
            Self::Timeout(expiry) => {
                write!(f, "the connection ended at a deadline: {}", expiry.reason())
            }
            Self::OverBudget => f.write_str("the connection held too much of the memory budget"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Protocol(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Closed | Self::Timeout(_) | Self::OverBudget => None,
        }
    }
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<io::Error> for Error {
    /// Returns the error itself if the [`io::Error`] was made of one, otherwise one of the transport.
    ///
    /// So `?` after copying from a [`MessageReader`](crate::session::MessageReader), or to a
    /// [`MessageWriter`](crate::session::MessageWriter), returns what happened to the connection.
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Io)
    }
}

impl From<Error> for io::Error {
    /// Returns the transport's error itself, or wraps this one: `BrokenPipe` for
    /// [`Closed`](Error::Closed), `InvalidData` for [`Protocol`](Error::Protocol), `TimedOut` for
    /// [`Timeout`](Error::Timeout), `OutOfMemory` for [`OverBudget`](Error::OverBudget).
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io(_) => io::ErrorKind::Other,
            Error::Closed => io::ErrorKind::BrokenPipe,
            Error::Protocol(_) => io::ErrorKind::InvalidData,
            Error::Timeout(_) => io::ErrorKind::TimedOut,
            Error::OverBudget => io::ErrorKind::OutOfMemory,
        };
        match error {
            Error::Io(error) => error,
            error => Self::new(kind, error),
        }
    }
}

/// A message that was not queued, returned to the caller.
///
/// ```
/// # #[cfg(feature = "layer")]
/// # {
/// use tower_websocket::{Sender, TrySendError};
///
/// /// Sends a position to a member, and skips it if the member is too slow.
/// fn update(member: &Sender, position: &str) -> bool {
///     match member.try_send(position) {
///         Ok(()) | Err(TrySendError::Full(_)) => true,
///         Err(TrySendError::Closed(_)) => false, // the member is gone
///     }
/// }
/// # }
/// # use tower_websocket::{Message, TrySendError};
/// # let error = TrySendError::Full(Message::text("here").into());
/// # assert!(error.is_full() && !error.is_closed());
/// # assert_eq!(error.into_message(), Message::text("here"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a message is queued unless one of these holds"
)]
pub enum TrySendError {
    /// More than [`Config::max_send_queue`](crate::Config::max_send_queue) bytes wait, or as many
    /// messages as [`Config::max_send_messages`](crate::Config::max_send_messages) allows.
    Full(Outbound),
    /// The connection is closing or closed.
    Closed(Outbound),
}

impl TrySendError {
    /// Reports whether the queue was full, so that sending may be tried again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Reports whether the connection is closing or closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Returns what was not sent, with its setting of compression.
    #[must_use]
    pub fn into_outbound(self) -> Outbound {
        match self {
            Self::Full(outbound) | Self::Closed(outbound) => outbound,
        }
    }

    /// Returns the message that was not sent.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.into_outbound().into_message()
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the send queue is full",
            Self::Closed(_) => "the connection is closed",
        })
    }
}

impl std::error::Error for TrySendError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_comes_back_out_of_an_io_error() {
        let error = ProtocolError::InvalidUtf8;
        for (error, kind) in [
            (Error::Closed, io::ErrorKind::BrokenPipe),
            (Error::Protocol(error), io::ErrorKind::InvalidData),
            (Error::Timeout(Deadline::Frame), io::ErrorKind::TimedOut),
            (
                Error::Io(io::ErrorKind::NotFound.into()),
                io::ErrorKind::NotFound,
            ),
        ] {
            let text = format!("{error:?}");
            let outside = io::Error::from(error);
            assert_eq!(outside.kind(), kind);
            assert_eq!(format!("{:?}", Error::from(outside)), text);
        }
    }

    #[test]
    fn error_has_the_code_that_its_connection_is_closed_with() {
        for (error, code) in [
            (Error::Closed, None),
            (Error::Io(io::ErrorKind::ConnectionReset.into()), None),
            (ProtocolError::ReservedBits.into(), Some(1002)),
            (ProtocolError::InvalidUtf8.into(), Some(1007)),
            (Error::Timeout(Deadline::PeerSilent), Some(1011)),
            (Error::Timeout(Deadline::Frame), Some(1008)),
            (Error::Timeout(Deadline::FirstMessage), Some(1008)),
            (Error::Timeout(Deadline::Idle), Some(1001)),
            (Error::Timeout(Deadline::Lifetime), Some(1001)),
            (Error::Timeout(Deadline::Write), None),
            (Error::Timeout(Deadline::Close), None),
            (Error::OverBudget, Some(1013)),
        ] {
            assert_eq!(error.close_code().map(u16::from), code, "{error:?}");
        }
    }
}
