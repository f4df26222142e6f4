//! Certificates from files, which may change while the server runs.

#[cfg_attr(not(unix), path = "pem/identity_off.rs")]
mod identity;
#[cfg(all(test, unix))]
mod tests;

use std::{
    error::Error,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use self::identity::Identity;
use crate::{lock::Lock, provider};

/// A certificate and its key in two PEM files, which are read again when they have changed.
///
/// It is a configuration for [`Serve::tls`](super::Serve::tls), or the certificate of one that is made by
/// hand, with `ConfigBuilder::with_cert_resolver`:
///
/// ```no_run
/// use tower_websocket::{serve, serve::PemFiles};
/// # async fn run(app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
/// let certificate = PemFiles::open("fullchain.pem", "privkey.pem")?;
/// serve("0.0.0.0:443", app).tls(certificate).await?;
/// # Ok(())
/// # }
/// ```
///
/// TLS needs a provider of cryptography, which the feature `serve` does not bring; the feature `ring` counts only together with
/// `client`, `redis` or `nats`. Without them add
/// `tokio-rustls = { version = "0.26", default-features = false, features = ["ring", "tls12"] }`, or use
/// [`with_provider`](Self::with_provider). Otherwise [`open`](Self::open) panics.
///
/// At most once a second a TLS handshake looks at the time and the length of both files, and reads them
/// if one of them has changed. So to renew the certificate, replace the files; nothing else has to be
/// done. Open connections keep theirs. The certificate stays as it is if files cannot be read, are incomplete, or do
/// not belong together, as when the certificate is replaced and the key is not yet. That is logged as a warning, once
/// for each reason, and they are read again a second later.
///
/// The handshake that looks waits for the file system, and its thread with it. If that hangs, as one over the
/// network may, one thread does. No other handshake looks until it is back; the others use the certificate as it is.
///
/// The first file has the certificate of the server first and those that lead to its root behind it;
/// the second one a key (PKCS #8, PKCS #1 or SEC 1), without a password. Reading them takes the
/// thread a fraction of a millisecond from a local disk.
#[derive(Clone)]
pub struct PemFiles(Arc<Files>);

struct Files {
    chain: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    state: Lock<State>,
}

struct State {
    current: Arc<CertifiedKey>,
    /// What the files looked like that it was read from.
    read: Option<[Stamp; 2]>,
    looked: Instant,
    /// Somebody does just now.
    looking: bool,
    /// Why they could not be read the last time.
    problem: Option<String>,
}

/// What tells a file from another that has taken its place: its time, its length, and what else a system knows.
type Stamp = (SystemTime, u64, Identity);

/// What both files looked like, and what was in them.
type Reading = ([Stamp; 2], Arc<CertifiedKey>);

impl PemFiles {
    /// Reads the files for the first time.
    ///
    /// The cryptography is what the process has chosen (`CryptoProvider::install_default`). Otherwise it is ring if the
    /// feature `ring` is enabled with one of `client`, `redis` and `nats`, or the one that rustls is built with.
    ///
    /// # Errors
    ///
    /// A file is not there or is not PEM, or the key is not that of the certificate; the error names the file.
    ///
    /// # Panics
    ///
    /// Panics as `ServerConfig::builder` of rustls does if there is none of them: if rustls is built with none, or
    /// with more than one. See [troubleshooting](crate::troubleshooting#rustls-panics-no-provider-or-two).
    pub fn open(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, PemError> {
        let provider =
            provider::chosen().unwrap_or_else(|| ServerConfig::builder().crypto_provider().clone());
        Self::with_provider(chain, key, provider)
    }

    /// Reads the files for the first time, for this provider of cryptography.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn with_provider(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, PemError> {
        let (chain, key) = (chain.into(), key.into());
        let read = stamps(&chain, &key).ok();
        let current = read_files(&chain, &key, &provider)?;
        let state = Lock::new(State {
            current: Arc::new(current),
            read,
            looked: Instant::now(),
            looking: false,
            problem: None,
        });
        Ok(Self(Arc::new(Files {
            chain,
            key,
            provider,
            state,
        })))
    }

    /// Makes a configuration for servers without certificates of clients.
    fn config(&self) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(self.0.provider.clone());
        let builder = builder.with_safe_default_protocol_versions()?;
        Ok(builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone())))
    }
}

impl From<PemFiles> for Arc<ServerConfig> {
    /// Makes a configuration with the certificate, which asks clients for none.
    ///
    /// # Panics
    ///
    /// Panics if the provider of cryptography has nothing for any version of TLS.
    fn from(files: PemFiles) -> Self {
        let config = files.config();
        Self::new(config.expect("a provider that has a version of TLS"))
    }
}

impl ResolvesServerCert for PemFiles {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current(Instant::now()))
    }
}

impl fmt::Debug for PemFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemFiles")
            .field("chain", &self.0.chain)
            .field("key", &self.0.key)
            .finish_non_exhaustive()
    }
}

impl Files {
    /// Returns the certificate, after a look at the files if it is time for one.
    fn current(&self, now: Instant) -> Arc<CertifiedKey> {
        let mut state = self.state.lock();
        let is_time = now.saturating_duration_since(state.looked) >= LOOK_INTERVAL;
        if state.looking || !is_time {
            return state.current.clone();
        }
        // Nobody else looks meanwhile, and nobody waits.
        (state.looked, state.looking) = (now, true);
        let (current, before) = (state.current.clone(), state.read);
        drop(state);
        let _looking = Looking(self);
        match self.look(before) {
            Ok(None) => {
                let problem = self.state.lock().problem.take();
                drop(problem);
                current
            }
            Ok(Some((stamps, read))) => {
                let mut state = self.state.lock();
                (state.read, state.problem) = (Some(stamps), None);
                state.current = read.clone();
                drop(state);
                tracing::info!(chain = %self.chain.display(), "a new certificate was read");
                read
            }
            Err(error) => {
                self.complain(&error);
                current
            }
        }
    }

    /// Reads the files if they have changed.
    fn look(&self, before: Option<[Stamp; 2]>) -> Result<Option<Reading>, PemError> {
        // Before they are read: what changes meanwhile is seen the next time.
        let stamps = stamps(&self.chain, &self.key)?;
        if before == Some(stamps) {
            return Ok(None);
        }
        let read = read_files(&self.chain, &self.key, &self.provider)?;
        Ok(Some((stamps, Arc::new(read))))
    }

    fn complain(&self, error: &PemError) {
        let problem = error.to_string();
        let mut state = self.state.lock();
        if state.problem.as_ref() == Some(&problem) {
            return;
        }
        state.problem = Some(problem);
        drop(state);
        tracing::warn!(%error, "the certificate is left as it was");
    }
}

/// Somebody looks at the files, until this is dropped.
struct Looking<'a>(&'a Files);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        // After a panic, too.
        self.0.state.lock().looking = false;
    }
}

/// The reason why a certificate could not be read.
///
/// ```
/// use std::path::Path;
/// use tower_websocket::serve::PemFiles;
///
/// let error = PemFiles::open("no-such-chain.pem", "no-such-key.pem").unwrap_err();
/// assert_eq!(error.path(), Path::new("no-such-chain.pem"));
/// ```
#[derive(Debug)]
pub struct PemError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Io(io::Error),
    Pem(rustls::pki_types::pem::Error),
    NoCertificate,
    Key(rustls::Error),
}

impl PemError {
    /// Returns the file that is to blame: the key's, if both are valid and do not belong together.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.why {
            Why::Io(error) => error.fmt(f),
            Why::Pem(error) => error.fmt(f),
            Why::NoCertificate => f.write_str("there is no certificate in it"),
            Why::Key(error) => error.fmt(f),
        }
    }
}

impl Error for PemError {}

impl From<PemError> for io::Error {
    fn from(error: PemError) -> Self {
        let kind = match &error.why {
            Why::Io(error) => error.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

fn read_files(
    chain: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, PemError> {
    let certificates = CertificateDer::pem_slice_iter(&read(chain)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(chain, Why::Pem(error)))?;
    if certificates.is_empty() {
        return Err(failed(chain, Why::NoCertificate));
    }
    let private =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| failed(key, Why::Pem(error)))?;
    CertifiedKey::from_der(certificates, private, provider)
        .map_err(|error| failed(key, Why::Key(error)))
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    fs::read(path).map_err(|error| failed(path, Why::Io(error)))
}

fn stamps(chain: &Path, key: &Path) -> Result<[Stamp; 2], PemError> {
    Ok([stamp(chain)?, stamp(key)?])
}

fn stamp(path: &Path) -> Result<Stamp, PemError> {
    let stamp =
        fs::metadata(path).and_then(|file| Ok((file.modified()?, file.len(), identity::of(&file))));
    stamp.map_err(|error| failed(path, Why::Io(error)))
}

fn failed(path: &Path, why: Why) -> PemError {
    PemError {
        path: path.to_owned(),
        why,
    }
}

/// How long a certificate is used without a look at its files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
