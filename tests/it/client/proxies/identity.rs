//! Who learns who the client is.

use tokio_rustls::rustls::{
    ClientConfig, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

use super::*;

/// Settings with one certificate for all of them, which a server asks a client for.
fn of_both_sides() -> (ClientConfig, ServerConfig) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = signed.cert.der().clone();
    let key = signed.signing_key.serialize_der();
    let key = || PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.clone()));
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(vec![certificate.clone()], key())
        .unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
    let verifier = verifier.allow_unauthenticated().build().unwrap();
    let server = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key())
        .unwrap();
    (client, server)
}

#[tokio::test]
async fn certificate_of_a_client_is_for_the_server_and_not_for_a_proxy() {
    let (config, server) = of_both_sides();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let (pen, mut log) = Log::new();
    let client = leading_to(Client::new().tls(config), move |stream| {
        let (acceptor, pen) = (acceptor.clone(), pen.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            pen.write(("proxy", stream.get_ref().1.peer_certificates().is_some()));
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(GRANTED).await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            pen.write(("server", stream.get_ref().1.peer_certificates().is_some()));
        }
    });
    let client = client.proxy("https://localhost").unwrap();
    // The server has seen enough then.
    within(client.connect("wss://localhost/"))
        .await
        .unwrap_err();
    assert_eq!(log.next().await, ("proxy", false));
    assert_eq!(log.next().await, ("server", true));
}
