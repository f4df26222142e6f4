//! Certificates from files that change.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::advance;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, ServerName},
    },
};
use tower_websocket::{
    serve,
    serve::{PemError, PemFiles},
};

use super::{
    app, echoes,
    support::{Dialer, memory},
};
use crate::support::{
    Http,
    http::{Ask, Http2, Peer},
    on_both, within,
};

/// A directory with a certificate and a key, gone with the test.
struct Directory {
    path: PathBuf,
    /// Each file is a second younger than the one before.
    written: SystemTime,
}

/// A certificate and its key as PEM, and as a client knows it.
struct Made {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

fn make() -> Made {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Made {
        certificate: pem("CERTIFICATE", made.cert.der()),
        key: pem("PRIVATE KEY", &made.signing_key.serialize_der()),
        der: made.cert.der().clone(),
    }
}

/// DER as PEM (RFC 7468 §3).
fn pem(label: &str, der: &[u8]) -> String {
    let letters: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['+', '/'])
        .collect();
    let mut text = format!("-----BEGIN {label}-----");
    for (at, three) in der.chunks(3).enumerate() {
        if at % 16 == 0 {
            text.push('\n');
        }
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(*three.get(at).unwrap_or(&0))
        });
        for at in 0..4 {
            let letter = letters[bits >> (18 - 6 * at) & 63];
            text.push(if at <= three.len() { letter } else { '=' });
        }
    }
    text + &format!("\n-----END {label}-----\n")
}

impl Directory {
    fn new(name: &str, made: &Made) -> Self {
        let name = format!("tower-websocket-pem-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        let mut directory = Self {
            path,
            written: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000),
        };
        directory.write("cert.pem", &made.certificate);
        directory.write("key.pem", &made.key);
        directory
    }

    fn write(&mut self, name: &str, text: &str) {
        self.written += Duration::from_secs(1);
        fs::write(self.file(name), text).unwrap();
        let file = File::options().write(true).open(self.file(name)).unwrap();
        file.set_modified(self.written).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn open(&self) -> Result<PemFiles, PemError> {
        open(&self.file("cert.pem"), &self.file("key.pem"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.path);
    }
}

fn open(chain: &Path, key: &Path) -> Result<PemFiles, PemError> {
    PemFiles::with_provider(chain, key, Arc::new(default_provider()))
}

/// Whether a client that knows this certificate alone has an echo.
async fn is_served(dialer: &Dialer, made: &Made, http: Http) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(made.der.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut client = builder.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![http.pick(&b"http/1.1"[..], b"h2").to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let Ok(stream) = within(connector.connect(name, dialer.dial())).await else {
        return false;
    };
    let ask = Ask::handshake(http, "/echo");
    if http == Http::Two {
        let http2 = Http2::connect(stream).await;
        within(echoes(http2.send(ask).await.opened(http))).await;
    } else {
        let mut peer = Peer::over(stream);
        peer.write(&ask.bytes()).await;
        within(echoes(within(peer.answer()).await.opened(http))).await;
    }
    true
}

#[tokio::test(start_paused = true)]
async fn new_certificate_is_taken_when_both_files_are_there() {
    on_both(async |http| {
        let (old, new, third) = (make(), make(), make());
        let mut directory = Directory::new(http.pick("one", "two"), &old);
        let (listener, dialer) = memory();
        let serving = serve(listener, app()).tls(directory.open().unwrap());
        tokio::spawn(serving.into_future());
        let second = Duration::from_secs(1);
        let served = async |made| is_served(&dialer, made, http).await;
        assert!(served(&old).await && !served(&new).await);
        directory.write("cert.pem", &new.certificate);
        advance(second).await;
        assert!(served(&old).await, "the key is still the old one's");
        directory.write("key.pem", &new.key);
        assert!(served(&old).await, "it looks once a second");
        advance(second).await;
        assert!(served(&new).await && !served(&old).await);
        // The other way round, and with files that are broken or gone in between.
        directory.write("key.pem", &third.key[..third.key.len() / 2]);
        advance(second).await;
        assert!(served(&new).await);
        directory.write("key.pem", &third.key);
        fs::remove_file(directory.file("cert.pem")).unwrap();
        advance(second).await;
        assert!(served(&new).await);
        directory.write("cert.pem", &third.certificate);
        advance(second).await;
        assert!(served(&third).await && !served(&new).await);
    })
    .await;
}

#[test]
fn files_that_make_no_certificate_are_named() {
    let (made, other) = (make(), make());
    let mut directory = Directory::new("errors", &made);
    let (cert, key) = (directory.file("cert.pem"), directory.file("key.pem"));
    let missing = directory.file("missing.pem");
    let why = |chain: &Path, key: &Path, blamed: &Path| {
        let error = open(chain, key).unwrap_err();
        assert_eq!(error.path(), blamed);
        let text = error.to_string();
        assert!(text.starts_with(&*blamed.to_string_lossy()), "{text}");
        assert!(!text.contains("PRIVATE"), "{text}");
        std::io::Error::from(error).kind()
    };
    use std::io::ErrorKind::{InvalidData, NotFound};
    assert_eq!(why(&missing, &key, &missing), NotFound);
    assert_eq!(why(&cert, &missing, &missing), NotFound);
    assert_eq!(why(&key, &key, &key), InvalidData);
    assert_eq!(why(&cert, &cert, &cert), InvalidData);
    directory.write("key.pem", &other.key);
    assert_eq!(why(&cert, &key, &key), InvalidData);
    directory.write("key.pem", &made.key[..40]);
    assert_eq!(why(&cert, &key, &key), InvalidData);
    directory.write("key.pem", &made.key);
    directory.write(
        "cert.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    assert_eq!(why(&cert, &key, &key), InvalidData);
    // A chain behind the certificate is no matter.
    directory.write("cert.pem", &(made.certificate.clone() + &other.certificate));
    open(&cert, &key).unwrap();
}
