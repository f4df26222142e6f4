//! What can go wrong with a stream of bytes that is no error of the connection.

use std::{error::Error, fmt, io};

use crate::protocol::CloseFrame;

/// The reasons for which a byte stream ends and for which the connection has no error.
///
/// It is inside of the [`io::Error`]:
///
/// ```
/// use std::io;
/// use tower_websocket::{CloseCode, session::ByteStreamError};
///
/// fn is_too_big(error: &io::Error) -> bool {
///     let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
///     match inside {
///         Some(ByteStreamError::Closed(frame)) => frame.code() == CloseCode::MESSAGE_TOO_BIG,
///         _ => false,
///     }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ByteStreamError {
    /// The peer has closed with a code that is not the end of a stream: neither 1000 nor 1001.
    Closed(CloseFrame),
    /// The peer has sent a text message.
    ///
    /// The connection was closed with code 1003.
    Text,
    /// This end has closed the connection, and not by shutting the stream down.
    ///
    /// A drain, a group or another handle has closed it. What was received and not read is gone. `None` is a Close frame
    /// without a code.
    ClosedHere(Option<CloseFrame>),
    /// The connection ended before the peer answered the Close: what was written last may not have arrived.
    Unanswered,
}

impl fmt::Display for ByteStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(frame) => {
                f.write_str("the peer closed")?;
                describe(frame, f)
            }
            Self::ClosedHere(frame) => {
                f.write_str("closed at this end")?;
                frame.as_ref().map_or(Ok(()), |frame| describe(frame, f))
            }
            Self::Text => f.write_str("text message in a stream of bytes"),
            Self::Unanswered => {
                f.write_str("the connection ended before the closing handshake was complete")
            }
        }
    }
}

fn describe(frame: &CloseFrame, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, " with code {}", frame.code().as_u16())?;
    match frame.reason() {
        "" => Ok(()),
        reason => write!(f, ": {}", reason.escape_debug()),
    }
}

impl Error for ByteStreamError {}

impl From<ByteStreamError> for io::Error {
    /// Wraps it: as `ConnectionAborted` for [`Closed`](ByteStreamError::Closed) and
    /// [`ClosedHere`](ByteStreamError::ClosedHere), `InvalidData` for
    /// [`Text`](ByteStreamError::Text), `UnexpectedEof` for [`Unanswered`](ByteStreamError::Unanswered).
    fn from(error: ByteStreamError) -> Self {
        let kind = match &error {
            ByteStreamError::Closed(_) | ByteStreamError::ClosedHere(_) => {
                io::ErrorKind::ConnectionAborted
            }
            ByteStreamError::Text => io::ErrorKind::InvalidData,
            ByteStreamError::Unanswered => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, error)
    }
}
