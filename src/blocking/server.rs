//! The server's side of the handshake.

use std::io::{self, Read, Write};

use bytes::{Bytes, BytesMut};
use http::{
    Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE},
    request::Parts,
};

use super::{
    error::{AcceptError, HeadError, InvalidHead},
    head::{self, Input, MAX_TIME},
    socket::WebSocket,
};
use crate::{
    config::Config,
    handshake::server::{self, Accepted},
    protocol::Role,
};

/// Answers a handshake, whatever its path.
///
/// It is checked as [`handshake::server::negotiate`](server::negotiate) says, against the origin,
/// subprotocols and compression of `config`. Use [`Handshake`] to look at the request first.
///
/// ```no_run
/// use std::net::TcpListener;
/// use tower_websocket::{Config, blocking};
///
/// let listener = TcpListener::bind("127.0.0.1:8080")?;
/// let (stream, _) = listener.accept()?;
/// let mut socket = blocking::accept(stream, &Config::default())?;
/// while let Some(message) = socket.recv()? {
///     socket.send(message)?;
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// There is no request, or it was refused; the stream is dropped then.
pub fn accept<S: Read + Write>(stream: S, config: &Config) -> Result<WebSocket<S>, AcceptError> {
    Handshake::read(stream)?.accept(config)
}

/// A request that has arrived, and has no response yet.
///
/// Dropping it drops the stream, without a response.
///
/// ```no_run
/// use std::net::TcpListener;
/// use http::{Response, StatusCode};
/// use tower_websocket::{Config, blocking::Handshake};
///
/// let (stream, _) = TcpListener::bind("127.0.0.1:8080")?.accept()?;
/// let handshake = Handshake::read(stream)?;
/// if handshake.head().uri.path() != "/chat" {
///     let mut response = Response::new("there is only /chat here");
///     *response.status_mut() = StatusCode::NOT_FOUND;
///     handshake.refuse(&response)?;
///     return Ok(());
/// }
/// let mut socket = handshake.accept(&Config::default().subprotocols(["chat.v1"]))?;
/// socket.send("Welcome")?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Handshake<S> {
    stream: S,
    head: Parts,
    rest: BytesMut,
}

impl<S: Read + Write> Handshake<S> {
    /// Reads the head of a request.
    ///
    /// # Errors
    ///
    /// The stream failed or ended, the head did not arrive in time, or is too large or malformed. In the last two cases
    /// the client gets a response. The stream is dropped.
    pub fn read(mut stream: S) -> Result<Self, AcceptError> {
        let mut input = Input::new(MAX_TIME);
        let read = input.head(&mut stream);
        match read.and_then(|bytes| Ok(head::request(&bytes)?)) {
            Ok(head) => Ok(Self {
                stream,
                head,
                rest: input.into_rest(),
            }),
            Err(error) => {
                if let HeadError::Invalid(invalid) = &error {
                    // The request is refused whether that arrives or not.
                    let _told = write(&mut stream, &response_to(*invalid));
                }
                Err(error.into())
            }
        }
    }

    /// Returns the head of the request.
    #[must_use]
    pub fn head(&self) -> &Parts {
        &self.head
    }

    /// Accepts the request if it is a handshake that `config` allows; otherwise it is refused.
    ///
    /// # Errors
    ///
    /// It was refused, or the stream failed; the stream is dropped then.
    pub fn accept(self, config: &Config) -> Result<WebSocket<S>, AcceptError> {
        self.accept_with(config, |accepted| accepted.response())
    }

    /// Accepts the request as [`accept`](Self::accept) does, with a response that `respond` makes.
    ///
    /// `respond` is called once all checks are passed. It may choose a [subprotocol](Accepted::select_subprotocol),
    /// decline compression, and add headers to
    /// [`Accepted::response`], whose headers have to stay. A status other than 101 refuses: the response is
    /// sent, without the headers that accept.
    ///
    /// ```no_run
    /// use std::net::TcpListener;
    /// use http::HeaderValue;
    /// use tower_websocket::{Config, blocking::Handshake};
    ///
    /// let (stream, _) = TcpListener::bind("127.0.0.1:8080")?.accept()?;
    /// let socket = Handshake::read(stream)?.accept_with(&Config::default(), |accepted| {
    ///     accepted.select_subprotocol("chat.v1");
    ///     let mut response = accepted.response();
    ///     response.headers_mut().insert("server", HeaderValue::from_static("chat"));
    ///     response
    /// })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept), and [`AcceptError::Status`] if `respond` refuses.
    pub fn accept_with(
        mut self,
        config: &Config,
        respond: impl FnOnce(&mut Accepted) -> Response<()>,
    ) -> Result<WebSocket<S>, AcceptError> {
        let mut accepted = match server::negotiate(&self.head, None, config) {
            Ok(accepted) => accepted,
            Err(rejection) => {
                write(&mut self.stream, &rejection.response(self.head.version))?;
                return Err(AcceptError::Rejected(rejection));
            }
        };
        let mut response = respond(&mut accepted).map(|()| Bytes::new());
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
                response.headers_mut().remove(name);
            }
            self.refuse(&response)?;
            return Err(AcceptError::Status(status));
        }
        write(&mut self.stream, &response)?;
        let (read, params) = (&self.rest, accepted.deflate());
        let socket = WebSocket::new(self.stream, Role::Server, config, read, params);
        let agreement = accepted.take_deflate();
        Ok(socket.keep(accepted.subprotocol(), agreement))
    }

    /// Sends another response, also to a plain request, and drops the stream.
    ///
    /// `Content-Length` is that of the body. `Connection: close` is added unless there is a `Connection`.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn refuse<B: AsRef<[u8]>>(mut self, response: &Response<B>) -> io::Result<()> {
        write(&mut self.stream, response)
    }

    /// Returns the stream, the request's head, and what was read behind it, without a response.
    #[must_use]
    pub fn into_parts(self) -> (S, Parts, Bytes) {
        (self.stream, self.head, self.rest.freeze())
    }
}

fn response_to(invalid: InvalidHead) -> Response<String> {
    let mut response = Response::new(invalid.to_string());
    *response.status_mut() = match invalid {
        InvalidHead::Malformed => StatusCode::BAD_REQUEST,
        InvalidHead::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        InvalidHead::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    };
    response
}

fn write<B: AsRef<[u8]>>(stream: &mut impl Write, response: &Response<B>) -> io::Result<()> {
    stream.write_all(&head::write_response(response))?;
    stream.flush()
}
