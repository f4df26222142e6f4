//! The opening handshake, as questions about the heads of requests and responses.
//!
//! Nothing here reads a socket or a clock, or knows an HTTP implementation: a server has a
//! [`Parts`](http::request::Parts) and gets a [`Response`](http::Response). Both ways to open a
//! connection are covered: the `Upgrade` of HTTP/1.1 (RFC 6455 §4) and the Extended CONNECT of
//! HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220). A client makes a request with [`client::offer`] and
//! checks the response with [`Offer::check`](client::Offer::check). On a server:
//!
//! 1. [`server::is_handshake`] distinguishes a handshake from every other request.
//! 2. [`server::negotiate`] checks it against RFC and [`Config`](crate::Config), and returns an
//!    [`Accepted`](server::Accepted) or the [`Rejection`] that names the fault.
//! 3. [`Accepted::response`](server::Accepted::response) or [`Rejection::response`] is the answer.
//!
//! All parsing takes time in proportion to the length of the header fields, whatever they are.
//!
//! ```
//! use http::{Request, StatusCode};
//! use tower_websocket::{Config, handshake::server};
//!
//! fn answer(request: &Request<()>, config: &Config) -> StatusCode {
//!     let (head, ()) = request.clone().into_parts();
//!     match server::negotiate(&head, None, config) {
//!         Ok(opening) => opening.response().status(),
//!         Err(rejection) => rejection.response(head.version).status(),
//!     }
//! }
//!
//! let plain = Request::get("/chat").body(())?;
//! assert_eq!(answer(&plain, &Config::default()), StatusCode::UPGRADE_REQUIRED);
//! # Ok::<_, http::Error>(())
//! ```

mod authority;
pub mod client;
pub mod deflate;
pub mod extensions;
mod invalid_request;
pub mod key;
mod negotiated;
pub(crate) mod origin;
pub(crate) mod passed;
mod rejection;
pub mod server;
pub(crate) mod target;
pub(crate) mod tokens;

#[cfg(test)]
mod requests;

pub use self::negotiated::Negotiated;
pub(crate) use self::origin::OriginPolicy;
pub use self::origin::{OriginList, OriginPredicate};
#[cfg(feature = "layer")]
pub(crate) use self::rejection::RETRY_AFTER_REFUSAL;
pub use self::rejection::Rejection;
pub(crate) use self::tokens::is_token;
