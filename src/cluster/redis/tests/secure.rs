//! A server behind TLS.

use tokio::io::copy_bidirectional;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

use super::*;

/// Puts TLS before a server; returns the port, and the roots that trust it.
async fn secured(fake: &Fake) -> (u16, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, behind) = (listener.local_addr().unwrap().port(), fake.port);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", behind)).await?;
                copy_bidirectional(&mut stream, &mut server).await
            });
        }
    });
    (port, roots)
}

#[tokio::test]
async fn with_rediss_it_is_tls_and_only_what_is_trusted_will_do() {
    let fake = Fake::start(|_| None).await;
    let (port, roots) = secured(&fake).await;
    let redis = || Redis::new(&format!("rediss://localhost:{port}")).unwrap();
    let node = Node::new(redis().roots(roots));
    node.run_until(|hub| hub.with(|state, _| state.core.is_connected()))
        .await;

    let nobody = RootCertStore::empty();
    let error = Node::new(redis().roots(nobody)).run().await.unwrap_err();
    assert!(error.in_words().contains("certificate"), "{error:?}");
    // Without TLS it is not understood.
    let plain = Redis::new(&format!("redis://localhost:{port}")).unwrap();
    Node::new(plain).run().await.unwrap_err();
}
