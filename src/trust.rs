//! Which certificates are trusted where this side connects.

use std::{io, sync::Arc};

use rustls_platform_verifier::{BuilderVerifierExt, Verifier};
use tokio::{sync::OnceCell, task::spawn_blocking};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, Error, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::provider::provider;

/// Which certificates are trusted.
#[derive(Clone, Debug, Default)]
pub(crate) enum Trust {
    /// Those that the platform trusts.
    #[default]
    Platform,
    /// Those that the platform trusts, and some more.
    More(Arc<More>),
    /// Those of a store, and the settings made of it once, when the first connection wants them: until then the
    /// process may choose its cryptography.
    Roots(Arc<RootCertStore>, Arc<OnceCell<Arc<ClientConfig>>>),
    /// Those of a configuration that was given.
    Given(Arc<ClientConfig>),
}

/// Roots beside those of the platform.
#[derive(Debug)]
pub(crate) struct More {
    roots: Vec<CertificateDer<'static>>,
    /// Made once, when the first connection wants it.
    config: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    pub(crate) fn roots(roots: impl Into<Arc<RootCertStore>>) -> Self {
        Self::Roots(roots.into(), Arc::default())
    }

    /// Trusts the certificates of a PEM text, too. An error leaves everything as it was.
    #[cfg_attr(
        not(any(feature = "client", test)),
        expect(dead_code, reason = "engines take a store of roots")
    )]
    pub(crate) fn add_pem(&mut self, pem: &[u8]) -> io::Result<()> {
        let added = certificates(pem)?;
        *self = match self {
            Self::Platform => Self::more(added),
            Self::More(more) => Self::more([&more.roots[..], &added].concat()),
            Self::Roots(roots, _) => {
                let mut roots = RootCertStore::clone(roots);
                add(&mut roots, added)?;
                Self::roots(roots)
            }
            Self::Given(_) => {
                let reason = "the TLS configuration has roots of its own: add this one to them";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
        };
        Ok(())
    }

    fn more(roots: Vec<CertificateDer<'static>>) -> Self {
        Self::More(Arc::new(More {
            roots,
            config: OnceCell::new(),
        }))
    }

    /// Returns what makes TLS of a stream; it announces these protocols and no others.
    #[cfg_attr(
        not(any(feature = "client", feature = "redis")),
        expect(dead_code, reason = "NATS' client makes its own")
    )]
    pub(crate) async fn connector(&self, protocols: Vec<Vec<u8>>) -> io::Result<TlsConnector> {
        self.config(protocols).await.map(TlsConnector::from)
    }

    /// Returns the settings, which announce these protocols and no others.
    pub(crate) async fn config(&self, protocols: Vec<Vec<u8>>) -> io::Result<Arc<ClientConfig>> {
        let config = match self {
            Self::Platform => PLATFORM.get_or_try_init(|| platform(Vec::new())).await?,
            Self::More(more) => {
                let roots = || platform(more.roots.clone());
                more.config.get_or_try_init(roots).await?
            }
            Self::Roots(roots, config) => {
                let made = async || trusting(roots).map_err(io::Error::other);
                config.get_or_try_init(made).await?
            }
            Self::Given(config) => config,
        };
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = protocols;
        Ok(Arc::new(config))
    }
}

/// Returns the name in a server's certificate; a URI has IPv6 addresses in brackets (RFC 3986 §3.2.2).
#[cfg_attr(
    not(any(feature = "client", feature = "redis", test)),
    expect(dead_code, reason = "NATS' client makes its own")
)]
pub(crate) fn name(host: &str) -> io::Result<ServerName<'static>> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    Ok(name.to_owned())
}

/// Reads the certificates of a PEM text, each of which can be a root.
fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if read.is_empty() {
        let reason = "no certificate in PEM: it begins with -----BEGIN CERTIFICATE-----";
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    add(&mut RootCertStore::empty(), read.clone())?;
    Ok(read)
}

/// Adds roots to a store.
fn add(store: &mut RootCertStore, roots: Vec<CertificateDer<'static>>) -> io::Result<()> {
    let mut roots = roots.into_iter();
    let added = roots.try_for_each(|root| store.add(root));
    added.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn trusting(roots: &Arc<RootCertStore>) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(provider()?);
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots.clone());
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// Reads which certificates the platform trusts, which may take a while.
async fn platform(more: Vec<CertificateDer<'static>>) -> io::Result<Arc<ClientConfig>> {
    let build = || {
        let config = trusting_platform(more).map_err(io::Error::other)?;
        Ok(Arc::new(config))
    };
    spawn_blocking(build).await.map_err(io::Error::other)?
}

fn trusting_platform(more: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider()?);
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = if more.is_empty() {
        builder.with_platform_verifier()?
    } else {
        let verifier = beside_platform(more)?;
        let builder = builder.dangerous();
        builder.with_custom_certificate_verifier(Arc::new(verifier))
    };
    Ok(builder.with_no_client_auth())
}

/// Trusts these roots beside those of the platform.
#[cfg(not(target_os = "android"))]
fn beside_platform(more: Vec<CertificateDer<'static>>) -> Result<Verifier, Error> {
    Verifier::new_with_extra_roots(more, provider()?)
}

/// Fails: Android's verifier takes no other roots.
#[cfg(target_os = "android")]
fn beside_platform(_more: Vec<CertificateDer<'static>>) -> Result<Verifier, Error> {
    let reason =
        "Android takes no roots beside those of the platform: set all of them with `Client::roots`";
    Err(Error::General(reason.to_owned()))
}

/// Read once; only a new process finds certificates that are installed later.
static PLATFORM: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    #[test]
    fn host_of_a_uri_is_the_name_in_a_certificate() {
        for (host, is_address) in [
            ("example.com", false),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("[2001:db8::1]", true),
        ] {
            let name = name(host).unwrap();
            let found = matches!(name, ServerName::IpAddress(_));
            assert_eq!(found, is_address, "{host}");
        }
        name("a b").unwrap_err();
    }

    fn certificate() -> CertificateDer<'static> {
        let names = ["localhost".to_owned()];
        let signed = rcgen::generate_simple_self_signed(names).unwrap();
        signed.cert.der().clone()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    #[test]
    fn certificates_of_a_pem_text_are_added_to_what_is_trusted() {
        let (one, two) = (certificate(), certificate());
        let text = format!(
            "two of them\n{}{}",
            pem("CERTIFICATE", &one),
            pem("CERTIFICATE", &two)
        );
        let mut trust = Trust::default();
        trust.add_pem(text.as_bytes()).unwrap();
        trust
            .add_pem(pem("CERTIFICATE", &certificate()).as_bytes())
            .unwrap();
        assert!(matches!(&trust, Trust::More(more) if more.roots.len() == 3));

        let mut roots = RootCertStore::empty();
        roots.add(certificate()).unwrap();
        let mut trust = Trust::roots(roots);
        trust.add_pem(text.as_bytes()).unwrap();
        assert!(matches!(&trust, Trust::Roots(roots, _) if roots.len() == 3));
    }

    #[test]
    fn what_is_no_certificate_in_pem_is_refused_and_changes_nothing() {
        let good = pem("CERTIFICATE", &certificate());
        let bad = pem("CERTIFICATE", b"no certificate");
        for text in [
            "",
            "no PEM",
            &pem("PRIVATE KEY", b"a key"),
            &bad,
            &format!("{good}{bad}"),
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
        ] {
            let mut trust = Trust::default();
            let error = trust.add_pem(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text}");
            assert!(matches!(trust, Trust::Platform), "{text}");
        }
        let der = certificate();
        let mut trust = Trust::default();
        trust.add_pem(&der).unwrap_err();
    }

    #[tokio::test]
    async fn settings_of_a_store_are_made_by_the_first_connection_for_all_clones() {
        let trust = Trust::roots(RootCertStore::empty());
        let clone = trust.clone();
        let made = |trust: &Trust| match trust {
            Trust::Roots(_, config) => config.get().cloned(),
            _ => unreachable!("they are roots"),
        };
        assert!(made(&trust).is_none());
        clone.config(Vec::new()).await.unwrap();
        let first = made(&trust).unwrap();
        trust.config(Vec::new()).await.unwrap();
        assert!(Arc::ptr_eq(&first, &made(&clone).unwrap()));
    }

    #[test]
    fn configuration_that_was_given_keeps_its_roots() {
        let config = trusting(&Arc::new(RootCertStore::empty())).unwrap();
        let mut trust = Trust::Given(config);
        let text = pem("CERTIFICATE", &certificate());
        let error = trust.add_pem(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
