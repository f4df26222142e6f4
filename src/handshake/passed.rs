//! Extensions that are negotiated by others: a gateway passes offer and answer on.

use http::{HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS, request};

use super::{deflate::InvalidParams, extensions};

/// What a client offers, among the extensions of a request to its upstream: it is sent as it is, and the answer may
/// have any of it.
#[derive(Clone, Debug)]
pub(crate) struct PassedExtensions(pub(crate) Vec<HeaderValue>);

/// Writes what is passed among the headers of a request.
pub(super) fn write(head: &mut request::Parts) {
    if let Some(PassedExtensions(lines)) = head.extensions.get() {
        head.headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        for line in lines {
            head.headers.append(SEC_WEBSOCKET_EXTENSIONS, line.clone());
        }
    }
}

/// Returns the names of a request's extensions, where they are passed.
pub(super) fn names(head: &request::Parts) -> Option<Box<[Box<str>]>> {
    head.extensions.get::<PassedExtensions>()?;
    // Malformed ones were refused before.
    let offered = extensions::parse(&head.headers).unwrap_or_default();
    Some(offered.iter().map(|offer| offer.name.into()).collect())
}

/// Checks that an answer has nothing that was not offered. Its parameters are for the client to judge.
pub(super) fn check(
    answered: &[extensions::Extension<'_>],
    names: &[Box<str>],
) -> Result<(), InvalidParams> {
    let is_offered = |name: &str| names.iter().any(|offer| **offer == *name);
    if answered.iter().all(|answer| is_offered(answer.name)) {
        Ok(())
    } else {
        Err(InvalidParams::NotOffered)
    }
}
