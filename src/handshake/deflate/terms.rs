//! The parameters of permessage-deflate as they are written (RFC 7692 §7.1).

use std::{error, fmt, mem};

use http::HeaderValue;

use crate::{
    compression::Compression,
    handshake::extensions::{Extension, Param, Value},
    protocol::{DeflateParams, MAX_WINDOW_BITS, MIN_WINDOW_BITS},
};

/// The parameters of one offer, or of an answer, as they are written.
#[derive(Debug, Default)]
pub(super) struct Terms {
    pub(super) server_no_context_takeover: bool,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: Option<u8>,
    /// May be there without a value in an offer.
    pub(super) client_max_window_bits: Option<Option<u8>>,
}

impl Terms {
    pub(super) fn of_offer(settings: &Compression) -> Self {
        let less = |bits| (bits < MAX_WINDOW_BITS).then_some(bits);
        Self {
            server_no_context_takeover: !settings.context_takeover,
            client_no_context_takeover: !settings.context_takeover,
            server_max_window_bits: less(settings.peer_max_window_bits),
            client_max_window_bits: Some(less(settings.max_window_bits)),
        }
    }

    /// Writes what a server answers.
    ///
    /// It may limit its own window unasked, and must repeat a limit that was asked for (RFC 7692
    /// §7.1.2.1).
    pub(super) fn of_answer(params: &DeflateParams, offer: &Self) -> Self {
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
    pub(super) fn read(extension: &Extension<'_>) -> Result<Self, InvalidParams> {
        let mut terms = Self::default();
        for param in &extension.params {
            terms.set(param)?;
        }
        Ok(terms)
    }

    fn set(&mut self, param: &Param<'_>) -> Result<(), InvalidParams> {
        let name = PARAMS.into_iter().find(|&name| name == param.name);
        let name = name.ok_or(InvalidParams::UnknownParameter)?;
        let value = match &param.value {
            Some(value) => Some(window_bits(value).ok_or(InvalidParams::InvalidValue(name))?),
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
            _ => return Err(InvalidParams::InvalidValue(name)),
        };
        if is_repeated {
            return Err(InvalidParams::RepeatedParameter(name));
        }
        Ok(())
    }

    /// Checks an answer against the offer it is for.
    pub(super) fn check(&self, offer: &Self) -> Result<(), InvalidParams> {
        if self.client_max_window_bits == Some(None) {
            return Err(InvalidParams::InvalidValue(CLIENT_MAX_WINDOW_BITS));
        }
        if offer.server_no_context_takeover && !self.server_no_context_takeover {
            return Err(InvalidParams::MissingParameter(SERVER_NO_CONTEXT_TAKEOVER));
        }
        match (self.server_max_window_bits, offer.server_max_window_bits) {
            (None, Some(_)) => Err(InvalidParams::MissingParameter(SERVER_MAX_WINDOW_BITS)),
            (Some(bits), Some(limit)) if bits > limit => {
                Err(InvalidParams::WindowTooLarge { bits, limit })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn header_value(&self) -> HeaderValue {
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

pub(super) fn is_deflate(extension: &Extension<'_>) -> bool {
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

/// A server's answer that does not fit the client's offer.
///
/// ```
/// # #[cfg(feature = "deflate")]
/// # {
/// use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};
/// use tower_websocket::{Compression, handshake::{deflate::{self, InvalidParams}, extensions}};
///
/// let settings = Compression::shared();
/// let check = |answer| {
///     let value = HeaderValue::from_static(answer);
///     let headers = HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, value)]);
///     let answer = extensions::parse(&headers).expect("a list of extensions");
///     deflate::agree(&answer, Some(&settings)).map(drop).unwrap_err()
/// };
/// assert_eq!(check("x-unknown"), InvalidParams::NotOffered);
/// assert_eq!(check("permessage-deflate; color=red"), InvalidParams::UnknownParameter);
/// assert_eq!(
///     check("permessage-deflate; server_max_window_bits"),
///     InvalidParams::InvalidValue("server_max_window_bits"),
/// );
/// assert_eq!(
///     check("permessage-deflate"),
///     InvalidParams::MissingParameter("server_no_context_takeover"),
/// );
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidParams {
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
    /// A missing parameter that the offer asked for (RFC 7692 §7.1.1.1, §7.1.2.1).
    MissingParameter(&'static str),
    /// A window of the server that is larger than what was offered (RFC 7692 §7.1.2.1).
    WindowTooLarge {
        /// The base-2 logarithm of the answered size.
        bits: u8,
        /// The base-2 logarithm of the offered size.
        limit: u8,
    },
}

impl fmt::Display for InvalidParams {
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

impl error::Error for InvalidParams {}

/// As registered (RFC 7692 §9.1).
pub(super) const NAME: &str = "permessage-deflate";

pub(super) const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
pub(super) const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
pub(super) const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
pub(super) const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

pub(super) const PARAMS: [&str; 4] = [
    SERVER_NO_CONTEXT_TAKEOVER,
    CLIENT_NO_CONTEXT_TAKEOVER,
    SERVER_MAX_WINDOW_BITS,
    CLIENT_MAX_WINDOW_BITS,
];
