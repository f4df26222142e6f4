//! What is most likely wrong, for whoever reads an error.

use std::{error, io};

use bytes::Bytes;
use http::{Response, StatusCode, header::LOCATION};
use tokio_rustls::rustls::{CertificateError, Error, OtherError};

use super::phase::Phase;
use crate::handshake::client::InvalidRequest;

/// Returns what a request most likely lacks.
pub(super) fn request(error: InvalidRequest) -> Option<&'static str> {
    let lacks_scheme = matches!(error, InvalidRequest::Scheme | InvalidRequest::MissingHost);
    lacks_scheme.then_some("missing ws:// or wss://?")
}

/// Returns why no TCP connection was made, most likely.
pub(super) fn connect(error: &io::Error) -> Option<&'static str> {
    let refused = error.kind() == io::ErrorKind::ConnectionRefused;
    refused.then_some("is it running, and is the port right?")
}

/// Returns why a TLS handshake failed, most likely.
pub(super) fn tls(error: &io::Error) -> Option<&'static str> {
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    match inner {
        Some(Error::InvalidMessage(_)) => Some(NO_TLS),
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Some(
            "who signed the certificate is not trusted; \
             `Client::add_root_pem` adds an authority of one's own",
        ),
        Some(Error::InvalidCertificate(CertificateError::Other(error))) if is_authority(error) => {
            Some(AUTHORITY)
        }
        // Servers without TLS also just hang up.
        None if is_end(error) => Some(NO_TLS),
        _ => None,
    }
}

/// Reports whether a server has the certificate of an authority. Its verifier is no dependency of ours, and so is not
/// its error.
fn is_authority(error: &OtherError) -> bool {
    error.0.to_string() == "CaUsedAsEndEntity"
}

/// Returns why there was no answer, most likely.
pub(super) fn io(error: &io::Error) -> Option<&'static str> {
    let inner = error.get_ref()?;
    if let Some(error) = inner.downcast_ref::<hyper::Error>() {
        let malformed = error.is_parse() && !error.is_parse_too_large();
        return malformed
            .then_some("what comes is no HTTP/1.1; does the server want TLS here, as in wss://?");
    }
    let error = inner.downcast_ref::<h2::Error>()?;
    is_no_http2(error).then_some(
        "what comes is no HTTP/2; does the server speak it here, or want TLS, as in wss://?",
    )
}

/// Reports whether this side has found that what comes is no HTTP/2.
fn is_no_http2(error: &h2::Error) -> bool {
    let malformed = [h2::Reason::PROTOCOL_ERROR, h2::Reason::FRAME_SIZE_ERROR];
    error.is_go_away()
        && !error.is_remote()
        && error
            .reason()
            .is_some_and(|reason| malformed.contains(&reason))
}

/// Returns what a phase most likely waited for in vain.
pub(super) fn timeout(phase: Phase) -> Option<&'static str> {
    (phase == Phase::Tls).then_some(NO_TLS)
}

/// Returns what an answer that does not accept most likely means.
pub(super) fn rejected(response: &Response<Bytes>) -> Option<String> {
    let hint = match response.status() {
        status if status.is_redirection() => {
            let location = response.headers().get(LOCATION)?;
            return Some(format!("it is at {location:?} now"));
        }
        StatusCode::UNAUTHORIZED => "are the credentials right?",
        StatusCode::FORBIDDEN => "are origin and credentials allowed?",
        StatusCode::NOT_FOUND => "is the path right?",
        status if is_plain(status) => {
            "is there a WebSocket at this path, and does every proxy before it pass `Upgrade` on?"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Reports whether this is how a server answers that takes a handshake for a request like any other.
fn is_plain(status: StatusCode) -> bool {
    status.is_success()
        || [
            StatusCode::BAD_REQUEST,
            StatusCode::METHOD_NOT_ALLOWED,
            StatusCode::UPGRADE_REQUIRED,
        ]
        .contains(&status)
}

/// Reports whether the peer has just ended the stream.
pub(super) fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Reports whether there is no way to the server, and not only none at present. What the system says may be about one
/// address of several.
pub(super) fn is_no_way(error: &io::Error) -> bool {
    let is_final = matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    );
    is_final && !is_of_system(error)
}

fn is_of_system(error: &(dyn error::Error + 'static)) -> bool {
    let Some(io) = error.downcast_ref::<io::Error>() else {
        return error.source().is_some_and(is_of_system);
    };
    // The error within one of I/O is not its source.
    io.raw_os_error().is_some() || io.get_ref().is_some_and(|error| is_of_system(error))
}

/// Reports whether a TLS handshake was broken off: what the system says is about the connection below.
pub(super) fn is_broken_off(error: &io::Error) -> bool {
    is_end(error) || error.raw_os_error().is_some()
}

/// Reports whether another answer than this one may come later.
pub(super) fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 421 | 425 | 429)
}

const AUTHORITY: &str = "the certificate is an authority's (CA:TRUE), not a server's; for one that is signed by \
     itself: `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`";

pub(super) const NO_TLS: &str = "does the server speak TLS here? ws:// does without";
