//! The client's side of the handshake.

use std::io::{Read, Write};

use bytes::Bytes;
use http::{
    Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    response::Parts,
};

use super::{
    error::ConnectError,
    head::{self, Input, MAX_HEAD, MAX_TIME},
    socket::WebSocket,
};
use crate::{config::Config, handshake::client, protocol::Role};

/// Opens a WebSocket over a stream that has carried nothing yet.
///
/// The URI names what is requested; the stream leads to the server. For `wss` the stream
/// has to have TLS: see [TLS](super#tls). [`request`] sends headers of your own.
///
/// ```no_run
/// use std::net::TcpStream;
/// use tower_websocket::{Config, blocking};
///
/// let stream = TcpStream::connect("127.0.0.1:8080")?;
/// let mut socket = blocking::connect(stream, "ws://127.0.0.1:8080/chat", &Config::default())?;
/// socket.send("Hello")?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of [`request`].
pub fn connect<S, U>(stream: S, uri: U, config: &Config) -> Result<WebSocket<S>, ConnectError>
where
    S: Read + Write,
    U: TryInto<Uri, Error: Into<http::Error>>,
{
    let asked = Request::get(uri).body(())?;
    Ok(request(stream, asked, config)?.into_body())
}

/// Opens a WebSocket with a request that has headers of its own, and returns the whole response.
///
/// The request becomes a handshake as [`handshake::client::offer`](client::offer) says: subprotocols and
/// compression are offered as `config` has them.
///
/// ```no_run
/// use std::net::TcpStream;
/// use http::Request;
/// use tower_websocket::{Config, blocking};
///
/// let stream = TcpStream::connect("127.0.0.1:8080")?;
/// let request = Request::get("ws://127.0.0.1:8080/chat")
///     .header("authorization", "Bearer 1234")
///     .body(())?;
/// let response = blocking::request(stream, request, &Config::default())?;
/// println!("{:?}", response.headers().get("server"));
/// let mut socket = response.into_body();
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The request cannot become a handshake, the stream failed, or the server did not accept; the stream is
/// dropped then.
pub fn request<S: Read + Write>(
    mut stream: S,
    request: Request<()>,
    config: &Config,
) -> Result<Response<WebSocket<S>>, ConnectError> {
    let (mut head, ()) = request.into_parts();
    head.version = Version::HTTP_11;
    let offer = client::offer(&mut head, config)?;
    stream.write_all(&head::write_request(&head))?;
    stream.flush()?;
    let mut input = Input::new(MAX_TIME);
    let head = answer(&mut input, &mut stream)?;
    if !offer.is_accepted(head.status) {
        let body = refusal(&head, &mut input, &mut stream);
        let response = Response::from_parts(head, body);
        return Err(ConnectError::Rejected(Box::new(response)));
    }
    let mut accepted = offer.check(&head)?;
    let (read, params) = (input.rest(), accepted.deflate());
    let socket = WebSocket::new(stream, Role::Client, config, read, params);
    let agreement = accepted.take_deflate();
    let socket = socket.keep(accepted.subprotocol(), agreement);
    Ok(Response::from_parts(head, socket))
}

/// Reads the head of the answer, behind those that only announce it (RFC 9110 §15.2).
fn answer(input: &mut Input, stream: &mut impl Read) -> Result<Parts, ConnectError> {
    loop {
        let bytes = input.head(stream)?;
        let head = head::response(&bytes).map_err(ConnectError::Head)?;
        let is_interim = head.status.is_informational();
        if !is_interim || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(head);
        }
    }
}

/// Reads a refusal's body, as far as it is of interest and comes in time.
fn refusal(head: &Parts, input: &mut Input, stream: &mut impl Read) -> Bytes {
    // Such a response has no body, whatever its headers say (RFC 9112 §6.3).
    let has_none = head.status.is_informational()
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    if has_none || head.headers.contains_key(TRANSFER_ENCODING) {
        return Bytes::new();
    }
    let len = head.headers.get(CONTENT_LENGTH);
    let len = len.and_then(|len| len.to_str().ok()?.parse().ok());
    let len = len.unwrap_or(MAX_HEAD).min(MAX_HEAD);
    // The refusal counts, not how its body ends.
    while input.rest().len() < len && input.fill(stream).is_ok() {}
    let rest = input.rest();
    Bytes::copy_from_slice(&rest[..len.min(rest.len())])
}
