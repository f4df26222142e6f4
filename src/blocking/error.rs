//! Why there is no connection, on either side.

use std::{error, fmt, io};

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::{
    error::Error,
    handshake::{
        Rejection,
        client::{InvalidRequest, InvalidResponse},
    },
};

/// Reports whether a call on a [`WebSocket`](super::WebSocket) failed only because the stream was not ready in time.
///
/// Nothing was lost then, and the same call can be made again. [`send`](super::WebSocket::send) has consumed its
/// message: repeat it with a clone, which copies no payload.
///
/// That is so for the kinds `WouldBlock` and `TimedOut` of the stream's errors. A deadline of
/// [`Config`](crate::Config) is [`Error::Timeout`], which ends the connection.
///
/// ```
/// use std::io;
/// use tower_websocket::{Error, blocking};
///
/// assert!(blocking::may_repeat(&Error::Io(io::ErrorKind::WouldBlock.into())));
/// assert!(!blocking::may_repeat(&Error::Closed));
/// ```
#[must_use]
pub fn may_repeat(error: &Error) -> bool {
    matches!(error, Error::Io(error) if blocks(error))
}

/// Reports whether a stream is only not ready.
pub(super) fn blocks(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// A head of HTTP/1.1 that cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidHead {
    /// It is not HTTP/1.1, such as TLS or HTTP/2 to a port that does not expect it.
    Malformed,
    /// It is longer than 64 KiB, or has more than 100 header fields.
    TooLarge,
    /// A version of HTTP other than 1.0 and 1.1.
    Version,
}

impl fmt::Display for InvalidHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the head is no HTTP/1.1",
            Self::TooLarge => "the head is longer than 64 KiB, or has more than 100 header fields",
            Self::Version => "the head has a version other than HTTP/1.1",
        })
    }
}

impl error::Error for InvalidHead {}

/// The reason why a client got no connection.
///
/// The cause is in `source()`.
///
/// ```no_run
/// use std::net::TcpStream;
/// use tower_websocket::{Config, blocking::{self, ConnectError}};
///
/// let stream = TcpStream::connect("127.0.0.1:8080")?;
/// match blocking::connect(stream, "ws://127.0.0.1:8080/chat", &Config::default()) {
///     Ok(socket) => println!("{:?}", socket.subprotocol()),
///     Err(ConnectError::Rejected(response)) => println!("refused: {}", response.status()),
///     Err(ConnectError::Head(error)) => println!("no web server: {error}"),
///     Err(error) => println!("{error}"),
/// }
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The request cannot become a handshake.
    Request(InvalidRequest),
    /// The URI is malformed.
    Uri(http::Error),
    /// The stream failed or ended before the response, or its timeout passed.
    Io(io::Error),
    /// The response was not complete within 10 seconds.
    Timeout,
    /// The answer is no HTTP/1.1.
    Head(InvalidHead),
    /// The server answered with a status that does not accept: any but 101.
    ///
    /// This includes a page with 200, and redirections, which are not followed.
    ///
    /// The body is truncated to 64 KiB and to what came in time. A body in chunks is left out.
    Rejected(Box<Response<Bytes>>),
    /// The server accepted something that was not asked for.
    Response(InvalidResponse),
}

impl ConnectError {
    /// Returns the response that refused, if there is one.
    #[must_use]
    pub fn response(&self) -> Option<&Response<Bytes>> {
        match self {
            Self::Rejected(response) => Some(response),
            _ => None,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request(_) => "the request cannot become a handshake",
            Self::Uri(_) => "the URI is malformed",
            Self::Io(_) => "the stream failed before the handshake was answered",
            Self::Timeout => "the handshake was not answered in time",
            Self::Head(_) => "the server's answer cannot be read",
            Self::Response(_) => "the server's answer is not one to what was asked",
            Self::Rejected(response) => {
                return write!(f, "the handshake was answered with {}", response.status());
            }
        })
    }
}

impl error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Request(error) => Some(error),
            Self::Uri(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Head(error) => Some(error),
            Self::Response(error) => Some(error),
            Self::Timeout | Self::Rejected(_) => None,
        }
    }
}

impl From<InvalidRequest> for ConnectError {
    fn from(error: InvalidRequest) -> Self {
        Self::Request(error)
    }
}

impl From<http::Error> for ConnectError {
    fn from(error: http::Error) -> Self {
        Self::Uri(error)
    }
}

impl From<InvalidResponse> for ConnectError {
    fn from(error: InvalidResponse) -> Self {
        Self::Response(error)
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<HeadError> for ConnectError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Io(error) => Self::Io(error),
            HeadError::Timeout => Self::Timeout,
            HeadError::Invalid(error) => Self::Head(error),
        }
    }
}

/// The reason why a server has no connection.
///
/// The cause is in `source()`.
///
/// ```no_run
/// use std::net::TcpListener;
/// use tower_websocket::{Config, blocking::{self, AcceptError}};
///
/// let (stream, peer) = TcpListener::bind("127.0.0.1:8080")?.accept()?;
/// match blocking::accept(stream, &Config::default()) {
///     Ok(mut socket) => socket.send("Welcome")?,
///     Err(AcceptError::Rejected(rejection)) => println!("{peer} was refused: {}", rejection.name()),
///     Err(AcceptError::Timeout | AcceptError::Io(_)) => {} // such as a port scan
///     Err(error) => println!("{peer}: {error}"),
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The stream failed or ended before the handshake was over, or its timeout passed.
    Io(io::Error),
    /// The request's head was not complete within 10 seconds.
    Timeout,
    /// The request is not HTTP/1.1; the response was 400, 431 or 505.
    Head(InvalidHead),
    /// The request opens no WebSocket; the client got the rejection's response.
    Rejected(Rejection),
    /// [`Handshake::accept_with`](super::Handshake::accept_with) responded with this status, which opens no WebSocket.
    Status(StatusCode),
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io(_) => "the stream failed before the handshake was over",
            Self::Timeout => "the request did not come in time",
            Self::Head(_) => "the request cannot be read",
            Self::Rejected(_) => "the handshake was refused",
            Self::Status(status) => {
                return write!(f, "the handshake was answered with {status}");
            }
        })
    }
}

impl error::Error for AcceptError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Head(error) => Some(error),
            Self::Rejected(error) => Some(error),
            Self::Timeout | Self::Status(_) => None,
        }
    }
}

impl From<io::Error> for AcceptError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<HeadError> for AcceptError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Io(error) => Self::Io(error),
            HeadError::Timeout => Self::Timeout,
            HeadError::Invalid(error) => Self::Head(error),
        }
    }
}

/// Why there is no head.
#[derive(Debug)]
pub(super) enum HeadError {
    Io(io::Error),
    Timeout,
    Invalid(InvalidHead),
}

impl From<InvalidHead> for HeadError {
    fn from(error: InvalidHead) -> Self {
        Self::Invalid(error)
    }
}
