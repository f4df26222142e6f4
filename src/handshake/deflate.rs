//! The negotiation of permessage-deflate (RFC 7692 §5 and §7.1), on both sides.
//!
//! A client sends [`offer`], a server answers the first offer it can [`accept`], and the client
//! checks the answer when it has to [`agree`]. Both end with an [`Agreement`]: the
//! [`DeflateParams`] that the connection is to be told, and the memory that it may use for them.
//!
//! What is agreed on depends on [`Compression`] in this way; the rest is the peer's choice:
//!
//! | setting | a server | a client |
//! |---|---|---|
//! | `shared` | rules context takeover out, both ways | the same |
//! | `max_window_bits` | never uses a larger window | the same |
//! | `peer_max_window_bits` | limits a client that can be limited | takes no other answer |
//! | `max_memory`, used up | rules context takeover out, both ways | does without it itself |
//!
//! The extension's name is taken in any case, those of its parameters as RFC 7692 writes them: it
//! has no rule for another case, other implementations compare exactly, and a peer that spells them
//! differently may not know them in the answer. Quoted windows are invalid: a window is a decimal
//! integer (RFC 7692 §7.1.2).

use std::{error, fmt, mem};

use http::HeaderValue;

use super::extensions::{Extension, Param, Value};
use crate::{
    Compression,
    compression::Reservation,
    protocol::{DeflateParams, MAX_WINDOW_BITS, MIN_WINDOW_BITS, Role},
};

/// Accepts the first offer of permessage-deflate that can be met; `None` when there is none.
///
/// `offers` are all extensions of the request; others are passed over. An offer is declined, and
/// the next one looked at, when one of its parameters is unknown, repeated, or has a value that it
/// may not have (RFC 7692 §7). Every valid offer can be met:
///
/// - The server's window is the smaller one of what is asked for and set. The answer names it if
///   the offer does or it is less than 32 KiB.
/// - The client's window is limited if the offer says that it can be. The answer names it unless it
///   is 32 KiB. A limit that the client put into the offer is kept (RFC 7692 §7.1.2.2).
/// - There is no context takeover in a direction for which the offer or the settings rule it out.
///   When there is no memory left for the windows, there is none in either direction.
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
/// It lets the server limit the client's window in any case (RFC 7692 §7.1.2.2), and asks for what
/// is set.
#[must_use]
pub fn offer(settings: &Compression) -> HeaderValue {
    Terms::of_offer(settings).header_value()
}

/// Checks a server's answer to [`offer`]; `None` when it agreed to no extension.
///
/// `answer` are all extensions of the response, `settings` are those of the offer, `None` if
/// nothing was offered. When there is no memory left for the windows the client does without
/// context takeover, which the server need not know. A server's own context takeover cannot be
/// declined any more, so its window is remembered all the same.
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
///     deflate::InvalidAnswer::NotOffered,
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
) -> Result<Option<Agreement>, InvalidAnswer> {
    let answer = match answer {
        [] => return Ok(None),
        [answer] => answer,
        [_, _, ..] => return Err(InvalidAnswer::SeveralExtensions),
    };
    let settings = settings.filter(|_| is_deflate(answer));
    let settings = settings.ok_or(InvalidAnswer::NotOffered)?;
    let answer = Terms::read(answer)?;
    answer.check(&Terms::of_offer(settings))?;
    Ok(Some(Agreement::of_client(answer, settings)))
}

/// What client and server agreed on.
///
/// Dropping it gives the connection's share of [`max_memory`](Compression::max_memory) back.
#[derive(Debug)]
pub struct Agreement {
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
            params,
            answer,
            reservation,
        }
    }

    /// Returns what the connection has to be told.
    #[must_use]
    pub fn params(&self) -> DeflateParams {
        self.params
    }

    /// Writes the server's answer, for `Sec-WebSocket-Extensions` of its response.
    ///
    /// Nothing of the client's text is in it.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        self.answer.header_value()
    }

    /// Takes the memory out, to be given back when the connection ends.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn into_parts(self) -> (DeflateParams, Option<Reservation>) {
        (self.params, self.reservation)
    }
}

/// A server's answer that does not fit the client's offer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidAnswer {
    /// More extensions than the one that can have been offered.
    SeveralExtensions,
    /// An extension that was not offered (RFC 6455 §4.1).
    NotOffered,
    /// A parameter that permessage-deflate does not have (RFC 7692 §7).
    UnknownParameter,
    /// A parameter that is there twice (RFC 7692 §7).
    RepeatedParameter(&'static str),
    /// A parameter with a value it may not have, or without the one it has to have (RFC 7692 §7).
    InvalidValue(&'static str),
    /// No parameter where the offer asked for it (RFC 7692 §7.1.1.1, §7.1.2.1).
    MissingParameter(&'static str),
    /// A window of the server that is larger than what was offered (RFC 7692 §7.1.2.1).
    WindowTooLarge {
        /// The base-2 logarithm of the answered size.
        bits: u8,
        /// The base-2 logarithm of the offered size.
        limit: u8,
    },
}

impl fmt::Display for InvalidAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeveralExtensions => f.write_str("more extensions than were offered"),
            Self::NotOffered => f.write_str("extension that was not offered"),
            Self::UnknownParameter => write!(f, "unknown parameter of {NAME}"),
            Self::RepeatedParameter(name) => write!(f, "parameter {name} is repeated"),
            Self::InvalidValue(name) => write!(f, "invalid value of parameter {name}"),
            Self::MissingParameter(name) => write!(f, "parameter {name} is missing"),
            Self::WindowTooLarge { bits, limit } => {
                write!(
                    f,
                    "{SERVER_MAX_WINDOW_BITS} is {bits}, at most {limit} was offered"
                )
            }
        }
    }
}

impl error::Error for InvalidAnswer {}

/// The parameters of one offer, or of an answer, as they are written.
#[derive(Debug, Default)]
struct Terms {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// May be there without a value in an offer.
    client_max_window_bits: Option<Option<u8>>,
}

impl Terms {
    fn of_offer(settings: &Compression) -> Self {
        let less = |bits| (bits < MAX_WINDOW_BITS).then_some(bits);
        Self {
            server_no_context_takeover: !settings.context_takeover,
            client_no_context_takeover: !settings.context_takeover,
            server_max_window_bits: less(settings.peer_max_window_bits),
            client_max_window_bits: Some(less(settings.max_window_bits)),
        }
    }

    /// A server may limit its own window unasked, and must repeat a limit that was asked for
    /// (RFC 7692 §7.1.2.1).
    fn of_answer(params: &DeflateParams, offer: &Self) -> Self {
        let server = Some(params.server_max_window_bits);
        let client = Some(params.client_max_window_bits);
        let less = |&bits: &u8| bits < MAX_WINDOW_BITS;
        Self {
            server_no_context_takeover: params.server_no_context_takeover,
            client_no_context_takeover: params.client_no_context_takeover,
            server_max_window_bits: server
                .filter(|bits| less(bits) || offer.server_max_window_bits.is_some()),
            client_max_window_bits: client.filter(less).map(Some),
        }
    }

    /// Reads what holds for offers and answers alike.
    fn read(extension: &Extension<'_>) -> Result<Self, InvalidAnswer> {
        let mut terms = Self::default();
        for param in &extension.params {
            terms.set(param)?;
        }
        Ok(terms)
    }

    fn set(&mut self, param: &Param<'_>) -> Result<(), InvalidAnswer> {
        let name = PARAMS.into_iter().find(|&name| name == param.name);
        let name = name.ok_or(InvalidAnswer::UnknownParameter)?;
        let value = match &param.value {
            Some(value) => Some(window_bits(value).ok_or(InvalidAnswer::InvalidValue(name))?),
            None => None,
        };
        let is_repeated = match (name, value) {
            (SERVER_NO_CONTEXT_TAKEOVER, None) => {
                mem::replace(&mut self.server_no_context_takeover, true)
            }
            (CLIENT_NO_CONTEXT_TAKEOVER, None) => {
                mem::replace(&mut self.client_no_context_takeover, true)
            }
            (SERVER_MAX_WINDOW_BITS, Some(bits)) => {
                self.server_max_window_bits.replace(bits).is_some()
            }
            (CLIENT_MAX_WINDOW_BITS, bits) => self.client_max_window_bits.replace(bits).is_some(),
            _ => return Err(InvalidAnswer::InvalidValue(name)),
        };
        if is_repeated {
            return Err(InvalidAnswer::RepeatedParameter(name));
        }
        Ok(())
    }

    /// Checks an answer against the offer it is for.
    fn check(&self, offer: &Self) -> Result<(), InvalidAnswer> {
        if self.client_max_window_bits == Some(None) {
            return Err(InvalidAnswer::InvalidValue(CLIENT_MAX_WINDOW_BITS));
        }
        if offer.server_no_context_takeover && !self.server_no_context_takeover {
            return Err(InvalidAnswer::MissingParameter(SERVER_NO_CONTEXT_TAKEOVER));
        }
        match (self.server_max_window_bits, offer.server_max_window_bits) {
            (None, Some(_)) => Err(InvalidAnswer::MissingParameter(SERVER_MAX_WINDOW_BITS)),
            (Some(bits), Some(limit)) if bits > limit => {
                Err(InvalidAnswer::WindowTooLarge { bits, limit })
            }
            _ => Ok(()),
        }
    }

    fn header_value(&self) -> HeaderValue {
        let text = self.to_string();
        HeaderValue::try_from(text).expect("names and numbers are visible ASCII")
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            write!(f, "; {SERVER_NO_CONTEXT_TAKEOVER}")?;
        }
        if self.client_no_context_takeover {
            write!(f, "; {CLIENT_NO_CONTEXT_TAKEOVER}")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; {SERVER_MAX_WINDOW_BITS}={bits}")?;
        }
        match self.client_max_window_bits {
            Some(Some(bits)) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}={bits}"),
            Some(None) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}"),
            None => Ok(()),
        }
    }
}

fn is_deflate(extension: &Extension<'_>) -> bool {
    extension.name.eq_ignore_ascii_case(NAME)
}

/// Reads a decimal integer without leading zeros (RFC 7692 §7.1.2.1).
fn window_bits(value: &Value<'_>) -> Option<u8> {
    // `parse` would take a sign and zeros.
    if value.quoted || !value.text.starts_with(|first| matches!(first, '1'..='9')) {
        return None;
    }
    let bits = value.text.parse().ok()?;
    (MIN_WINDOW_BITS..=MAX_WINDOW_BITS)
        .contains(&bits)
        .then_some(bits)
}

/// Takes memory for the windows that outlive a message; `None` also when there are none.
fn reserve(params: &DeflateParams, settings: &Compression) -> Option<Reservation> {
    let windows = [Role::Server, Role::Client]
        .map(|role| params.direction(role))
        .into_iter()
        .filter(|direction| direction.context_takeover)
        .map(|direction| direction.window());
    let bytes = windows.sum();
    (bytes > 0)
        .then(|| settings.budget.reserve(bytes))
        .flatten()
}

/// As registered (RFC 7692 §9.1).
const NAME: &str = "permessage-deflate";

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

const PARAMS: [&str; 4] = [
    SERVER_NO_CONTEXT_TAKEOVER,
    CLIENT_NO_CONTEXT_TAKEOVER,
    SERVER_MAX_WINDOW_BITS,
    CLIENT_MAX_WINDOW_BITS,
];

#[cfg(all(test, feature = "deflate"))]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
