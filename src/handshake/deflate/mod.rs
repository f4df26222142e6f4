//! The negotiation of permessage-deflate (RFC 7692 §5 and §7.1), on both sides.
//!
//! A client sends [`offer`], a server answers the first offer it can [`accept`], and the client
//! checks the answer when it has to [`agree`]. Both end with an [`Agreement`]: the
//! [`DeflateParams`] that the connection needs, and the memory that it may use for them.
//!
//! What is agreed on depends on [`Compression`] in this way; the rest is the peer's choice:
//!
//! | setting | a server | a client |
//! |---|---|---|
//! | `shared` | rules context takeover out, both ways | the same |
//! | `max_window_bits` | never uses a larger one | the same |
//! | `peer_max_window_bits` | limits a client that can be limited | takes no other answer |
//! | `max_memory`, used up | rules context takeover out, both ways | does without it itself |
//!
//! The extension's name is compared without case. The names of its parameters have to be written as in RFC 7692,
//! which has no rule for another case: other implementations compare exactly, and a peer that spells them
//! differently may not know them in the answer. Quoted windows are invalid: a window is a decimal
//! integer (RFC 7692 §7.1.2).

mod terms;

pub use terms::InvalidParams;

use http::HeaderValue;

use self::terms::{Terms, is_deflate};
use super::extensions::Extension;
use crate::{
    compression::{Compression, budget::Reservation},
    protocol::{DeflateParams, MAX_WINDOW_BITS, Role},
};

/// Accepts the first offer of permessage-deflate that can be met; `None` if there is none.
///
/// `offers` are all extensions of the request; those of another name are skipped. An offer is declined, and
/// the next one looked at, if one of its parameters is unknown, repeated, or has an invalid value
/// (RFC 7692 §7). Every valid offer can be met:
///
/// - The server's window is the smaller one of what is asked for and set. The answer names it if
///   the offer does or it is less than 32 KiB.
/// - The client's window is limited if the offer says that it can be. The answer names it unless it
///   is 32 KiB. A limit that the client put into the offer is kept (RFC 7692 §7.1.2.2).
/// - There is no context takeover in a direction for which the offer or the settings rule it out.
///   If no memory is left for the windows, there is none in either direction.
///
/// ```
/// # #[cfg(feature = "deflate")]
/// # {
/// use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};
/// use tower_websocket::{Compression, handshake::{deflate, extensions}};
///
/// let mut headers = HeaderMap::new();
/// let offers = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
/// headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(offers));
///
/// let offers = extensions::parse(&headers)?;
/// let agreement = deflate::accept(&offers, &Compression::dedicated()).expect("a valid offer");
/// assert_eq!(agreement.header_value(), "permessage-deflate; server_max_window_bits=10");
/// assert_eq!(agreement.params().server_max_window_bits, 10);
/// # }
/// # Ok::<_, tower_websocket::handshake::extensions::Malformed>(())
/// ```
#[must_use]
pub fn accept(offers: &[Extension<'_>], settings: &Compression) -> Option<Agreement> {
    let mut offers = offers.iter().filter(|offer| is_deflate(offer));
    let offer = offers.find_map(|offer| Terms::read(offer).ok())?;
    Some(Agreement::of_server(&offer, settings))
}

/// Writes a client's offer, for `Sec-WebSocket-Extensions` of its request.
///
/// It always allows the server to limit the client's window (RFC 7692 §7.1.2.2), and asks for what
/// is set.
#[must_use]
pub fn offer(settings: &Compression) -> HeaderValue {
    Terms::of_offer(settings).header_value()
}

/// Checks a server's answer to [`offer`]; `None` when it agreed to no extension.
///
/// `answer` are all extensions of the response. `settings` are those of the offer; `None` if
/// nothing was offered. If no memory is left for the windows, the client does without
/// context takeover, which the server need not know. It is too late to decline the server's own context
/// takeover, so its window is remembered all the same.
///
/// ```
/// # #[cfg(feature = "deflate")]
/// # {
/// use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};
/// use tower_websocket::{Compression, handshake::{deflate, extensions}};
///
/// let settings = Compression::dedicated();
/// assert_eq!(deflate::offer(&settings), "permessage-deflate; client_max_window_bits");
///
/// let mut headers = HeaderMap::new();
/// let answer = "permessage-deflate; client_max_window_bits=12";
/// headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(answer));
///
/// let answer = extensions::parse(&headers)?;
/// let agreement = deflate::agree(&answer, Some(&settings))?.expect("an extension");
/// assert_eq!(agreement.params().client_max_window_bits, 12);
///
/// assert_eq!(
///     deflate::agree(&answer, None).unwrap_err(),
///     deflate::InvalidParams::NotOffered,
/// );
/// # }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The client has to fail the connection (RFC 6455 §4.1, RFC 7692 §7).
pub fn agree(
    answer: &[Extension<'_>],
    settings: Option<&Compression>,
) -> Result<Option<Agreement>, InvalidParams> {
    let answer = match answer {
        [] => return Ok(None),
        [answer] => answer,
        [_, _, ..] => return Err(InvalidParams::SeveralExtensions),
    };
    let settings = settings.filter(|_| is_deflate(answer));
    let settings = settings.ok_or(InvalidParams::NotOffered)?;
    let answer = Terms::read(answer)?;
    answer.check(&Terms::of_offer(settings))?;
    Ok(Some(Agreement::of_client(answer, settings)))
}

/// What client and server agreed on.
///
/// Dropping it returns the connection's share of [`max_memory`](Compression::max_memory).
#[derive(Debug)]
pub struct Agreement {
    role: Role,
    params: DeflateParams,
    answer: Terms,
    reservation: Option<Reservation>,
}

impl Agreement {
    fn of_server(offer: &Terms, settings: &Compression) -> Self {
        let ours = settings.max_window_bits;
        let client_window = offer.client_max_window_bits.map(|hint| {
            hint.unwrap_or(MAX_WINDOW_BITS)
                .min(settings.peer_max_window_bits)
        });
        let mut params = DeflateParams {
            server_no_context_takeover: offer.server_no_context_takeover
                || !settings.context_takeover,
            client_no_context_takeover: offer.client_no_context_takeover
                || !settings.context_takeover,
            server_max_window_bits: offer.server_max_window_bits.unwrap_or(ours).min(ours),
            // A client that does not offer it must not be limited (RFC 7692 §7.1.2.2).
            client_max_window_bits: client_window.unwrap_or(MAX_WINDOW_BITS),
        };
        let reservation = reserve(&params, settings);
        if reservation.is_none() {
            params.server_no_context_takeover = true;
            params.client_no_context_takeover = true;
        }
        Self {
            role: Role::Server,
            answer: Terms::of_answer(&params, offer),
            params,
            reservation,
        }
    }

    fn of_client(answer: Terms, settings: &Compression) -> Self {
        let ours = settings.max_window_bits;
        let limit = answer.client_max_window_bits.flatten().unwrap_or(ours);
        let mut params = DeflateParams {
            server_no_context_takeover: answer.server_no_context_takeover,
            client_no_context_takeover: answer.client_no_context_takeover
                || !settings.context_takeover,
            server_max_window_bits: answer.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS),
            client_max_window_bits: limit.min(ours),
        };
        let mut reservation = reserve(&params, settings);
        if reservation.is_none() {
            params.client_no_context_takeover = true;
            reservation = reserve(&params, settings);
        }
        Self {
            role: Role::Client,
            params,
            answer,
            reservation,
        }
    }

    /// Returns whose view it is: the server's from [`accept`], the client's from [`agree`].
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the parameters that the connection needs.
    #[must_use]
    pub fn params(&self) -> DeflateParams {
        self.params
    }

    /// Writes the server's answer, for `Sec-WebSocket-Extensions` of its response.
    ///
    /// It has no text of the client's.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        self.answer.header_value()
    }

    /// Takes the memory out, to be given back when the connection ends.
    #[cfg_attr(
        not(any(feature = "layer", all(test, feature = "deflate"))),
        expect(dead_code, reason = "sessions do")
    )]
    pub(crate) fn into_parts(self) -> (DeflateParams, Option<Reservation>) {
        (self.params, self.reservation)
    }
}

/// Takes memory for the windows that outlive a message; `None` also when there are none.
fn reserve(params: &DeflateParams, settings: &Compression) -> Option<Reservation> {
    let windows = [Role::Server, Role::Client]
        .map(|role| params.direction(role))
        .into_iter()
        .filter(|direction| direction.context_takeover)
        .map(|direction| direction.memory());
    let bytes = windows.sum();
    (bytes > 0)
        .then(|| settings.budget.reserve(bytes))
        .flatten()
}

#[cfg(all(test, feature = "deflate"))]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
