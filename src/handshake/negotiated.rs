//! What an opening handshake has settled, on either side.

use http::Version;

use super::{client, deflate::Agreement, server};
use crate::protocol::{DeflateParams, Role};

/// The result of an opening handshake, as one of the two endpoints sees it.
///
/// It has the endpoint's role, the version of HTTP, the subprotocol and the compression. It is made from what either
/// side has [accepted](server::Accepted), for a session over a stream whose handshake the
/// application has done: `session::SessionBuilder::negotiated` takes it.
///
/// ```
/// use http::Request;
/// use tower_websocket::{Config, handshake::{Negotiated, server}, protocol::Role};
///
/// # let (head, ()) = Request::get("/chat")
/// #     .header("host", "server.example.com")
/// #     .header("upgrade", "websocket")
/// #     .header("connection", "Upgrade")
/// #     .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
/// #     .header("sec-websocket-protocol", "chat")
/// #     .header("sec-websocket-version", "13")
/// #     .body(())?
/// #     .into_parts();
/// let accepted = server::negotiate(&head, None, &Config::default().subprotocols(["chat"]))?;
/// let response = accepted.response();
/// let negotiated = Negotiated::from(accepted);
/// assert_eq!(negotiated.role(), Role::Server);
/// assert_eq!(negotiated.subprotocol(), Some("chat"));
/// assert_eq!((negotiated.version(), negotiated.deflate()), (http::Version::HTTP_11, None));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Negotiated {
    role: Role,
    version: Version,
    subprotocol: Option<Box<str>>,
    deflate: Option<Agreement>,
}

impl Negotiated {
    /// Returns which endpoint's view it is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the version of HTTP of the request.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the subprotocol that the server has chosen.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Returns what was agreed on for compressed messages; `None` if they are not compressed.
    #[must_use]
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.deflate.as_ref().map(Agreement::params)
    }

    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn into_parts(self) -> (Option<Box<str>>, Option<Agreement>) {
        (self.subprotocol, self.deflate)
    }
}

impl From<server::Accepted> for Negotiated {
    fn from(mut accepted: server::Accepted) -> Self {
        Self {
            role: Role::Server,
            version: accepted.version(),
            subprotocol: accepted.subprotocol().map(Into::into),
            deflate: accepted.take_deflate(),
        }
    }
}

impl From<client::Accepted> for Negotiated {
    fn from(mut accepted: client::Accepted) -> Self {
        Self {
            role: Role::Client,
            version: accepted.version(),
            subprotocol: accepted.subprotocol().map(Into::into),
            deflate: accepted.take_deflate(),
        }
    }
}
