//! Which cryptography TLS is done with.

use std::sync::Arc;

#[cfg(any(feature = "client", feature = "nats", feature = "redis"))]
use tokio_rustls::rustls::Error;
use tokio_rustls::rustls::crypto::CryptoProvider;

/// Returns the cryptography that the process has chosen, or ring.
///
/// # Errors
///
/// Nobody has chosen, and ring is left out.
#[cfg(any(feature = "client", feature = "nats", feature = "redis"))]
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, Error> {
    needed(chosen())
}

#[cfg(any(feature = "client", feature = "nats", feature = "redis"))]
fn needed(chosen: Option<Arc<CryptoProvider>>) -> Result<Arc<CryptoProvider>, Error> {
    chosen.ok_or_else(|| Error::General(NONE.to_owned()))
}

/// Returns the cryptography that the process has chosen, or ring, if it is not left out.
pub(crate) fn chosen() -> Option<Arc<CryptoProvider>> {
    let chosen = CryptoProvider::get_default().cloned();
    chosen.or_else(|| built_in().map(Arc::new))
}

#[cfg(all(
    feature = "ring",
    any(feature = "client", feature = "nats", feature = "redis")
))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "without the feature there is none"
)]
fn built_in() -> Option<CryptoProvider> {
    Some(rustls::crypto::ring::default_provider())
}

#[cfg(not(all(
    feature = "ring",
    any(feature = "client", feature = "nats", feature = "redis")
)))]
fn built_in() -> Option<CryptoProvider> {
    None
}

#[cfg(any(feature = "client", feature = "nats", feature = "redis"))]
const NONE: &str = "no cryptography for TLS: enable the feature `ring` of tower-websocket, or call rustls' \
     `CryptoProvider::install_default` first, as for aws-lc-rs: see `troubleshooting#rustls-panics-no-provider-or-two`";

#[cfg(all(test, any(feature = "client", feature = "nats", feature = "redis")))]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    #[test]
    fn lack_of_cryptography_is_an_error_that_names_what_helps() {
        let said = needed(None).map(drop).unwrap_err().to_string();
        assert!(
            said.contains("feature `ring`") && said.contains("install_default"),
            "{said}"
        );
    }
}
