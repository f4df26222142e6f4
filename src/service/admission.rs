//! The answer that accepts a handshake, if there is still a place for its connection.

use bytes::Bytes;
use http::Response;

use super::{
    hook::{Handshake, add_headers},
    refusal::refuse,
};
use crate::session::{Connections, Place};

/// Takes a place among the layer's connections, and makes the answer; or refuses, since a drain may have begun after
/// the handshake was checked.
#[expect(clippy::result_large_err, reason = "either of them is the answer")]
pub(super) fn admit(
    handshake: &mut Handshake,
) -> Result<(Option<Place>, Response<()>), Response<Bytes>> {
    let connections = handshake.connections.as_ref();
    let place = connections.map(Connections::accept).transpose();
    let place = place.map_err(|rejection| refuse(connections, &rejection, handshake.version))?;
    let mut response = handshake.opening.take_response();
    add_headers(&mut response, &mut handshake.response_headers);
    Ok((place, response))
}
