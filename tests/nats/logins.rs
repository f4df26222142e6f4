//! Who may connect, and to what.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, mpsc},
    thread,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{io::copy_bidirectional, net::TcpStream, task::JoinSet};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivateKeyDer},
};
use tower_websocket::cluster::Nats;

use crate::{
    node::{Node, within},
    server::{NatsServer, free_port},
};

#[tokio::test]
async fn wrong_password_is_said_as_one_and_not_shown() {
    let Some(server) = NatsServer::start("authorization { user: chat, password: right }") else {
        return;
    };
    let host = server.url().replace("nats://", "");
    for nats in [
        Nats::new(&server.url()).unwrap(),
        Nats::new(&server.url())
            .unwrap()
            .user_and_password("chat", "s3cret"),
        Nats::new(&format!("nats://chat:s3cret@{host}")).unwrap(),
        Nats::new(&server.url()).unwrap().token("s3cret"),
    ] {
        let down = Node::start(nats).down().await;
        assert!(down.is_denied, "{down:?}");
        assert!(down.words.contains("authorization violation"), "{down:?}");
        assert!(down.words.contains(&host), "{down:?}");
        assert!(!down.words.contains("s3cret"), "{down:?}");
    }
}

#[tokio::test]
async fn right_password_is_taken_from_the_url_or_beside_it() {
    let Some(server) = NatsServer::start("authorization { user: chat, password: \"r:t\" }") else {
        return;
    };
    let host = server.url().replace("nats://", "");
    for nats in [
        Nats::new(&server.url())
            .unwrap()
            .user_and_password("chat", "r:t"),
        Nats::new(&format!("nats://chat:r%3At@{host}")).unwrap(),
        // What the URL says comes first.
        Nats::new(&format!("chat:r%3At@{host}"))
            .unwrap()
            .user_and_password("chat", "wrong"),
    ] {
        within("connecting", Node::start(nats).cluster.connected()).await;
    }
}

#[tokio::test]
async fn token_is_taken_from_the_url_or_beside_it() {
    let Some(server) = NatsServer::start("authorization { token: t0ken }") else {
        return;
    };
    let host = server.url().replace("nats://", "");
    for nats in [
        Nats::new(&server.url()).unwrap().token("t0ken"),
        Nats::new(&format!("nats://t0ken@{host}")).unwrap(),
    ] {
        within("connecting", Node::start(nats).cluster.connected()).await;
    }
}

#[tokio::test]
async fn server_that_is_not_there_is_passed_over() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let nowhere = format!("nats://127.0.0.1:{}", free_port());
    let down = Node::start(Nats::new(&nowhere).unwrap()).down().await;
    assert!(!down.is_denied && !down.is_unsupported, "{down:?}");
    assert!(
        down.words.starts_with("the engine cannot be reached"),
        "{down:?}"
    );
    for _ in 0..4 {
        let urls = format!("{nowhere}, {}, {nowhere}", server.url());
        let mut node = Node::start(Nats::new(&urls).unwrap());
        // At the first attempt.
        let first = node.event(Some).await;
        let first = format!("{first:?}");
        assert!(first.starts_with("Connected"), "{first}");
    }
}

#[tokio::test]
async fn server_before_2_2_is_said_to_be_too_old() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let (hear, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut clients = Vec::new();
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let info =
                r#"INFO {"server_id":"x","version":"2.1.9","proto":1,"max_payload":1048576}"#;
            client.write_all(format!("{info}\r\n").as_bytes()).unwrap();
            let mut said = [0; 1024];
            let len = client.read(&mut said).unwrap();
            hear.send(String::from_utf8_lossy(&said[..len]).into_owned())
                .unwrap();
            client.write_all(b"PONG\r\n").unwrap();
            clients.push(client);
        }
    });
    let down = Node::start(Nats::new(&url).unwrap().name("chat-7"))
        .down()
        .await;
    assert!(down.is_unsupported, "{down:?}");
    let hello = heard.recv().unwrap();
    assert!(hello.contains(r#""name":"chat-7""#), "{hello}");
    assert!(
        down.words
            .contains("NATS 2.2 or later is needed, not 2.1.9"),
        "{down:?}"
    );
}

/// Writes what servers read from files (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let bits = three
                .iter()
                .zip([16, 8, 0])
                .map(|(byte, shift)| u32::from(*byte) << shift)
                .sum::<u32>();
            for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let digit = DIGITS[(bits >> shift) as usize & 63];
                text.push(if place > three.len() {
                    '='
                } else {
                    char::from(digit)
                });
            }
        }
        text.push('\n');
    }
    format!("{text}-----END {label}-----\n")
}

#[tokio::test]
async fn tls_is_made_with_servers_that_are_trusted_and_with_no_others() {
    let Some(mut server) = NatsServer::start("") else {
        return;
    };
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let cert_file = server.file("cert.pem", &pem("CERTIFICATE", cert.der()));
    let key_file = server.file("key.pem", &pem("PRIVATE KEY", &signing_key.serialize_der()));
    server.set(&format!(
        "tls {{ cert_file: \"{cert_file}\", key_file: \"{key_file}\" }}"
    ));
    server.kill();
    server.start_again();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let roots = Arc::new(roots);
    // The server asks for it, or this side insists.
    for url in [server.url(), server.url().replace("nats:", "tls:")] {
        let nats = Nats::new(&url).unwrap().roots(roots.clone());
        within("connecting", Node::start(nats).cluster.connected()).await;
    }
    let down = Node::start(
        Nats::new(&server.url())
            .unwrap()
            .roots(RootCertStore::empty()),
    )
    .down()
    .await;
    assert!(down.words.contains("certificate"), "{down:?}");
}

#[tokio::test]
async fn tls_comes_first_where_that_is_asked_for() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let accepting = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(accepting));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let port = server.port;
    let passing = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let mut client = acceptor.accept(client).await.unwrap();
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                drop(copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let node = Node::start(Nats::new(&url).unwrap().tls(config).tls_first());
    within("connecting", node.cluster.connected()).await;
    passing.abort();
}

#[tokio::test]
async fn server_without_tls_is_no_server_for_who_insists_on_it() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    for nats in [
        Nats::new(&server.url().replace("nats:", "tls:")).unwrap(),
        Nats::new(&server.url()).unwrap().require_tls(),
    ] {
        let down = Node::start(nats.roots(RootCertStore::empty())).down().await;
        assert!(
            down.words.starts_with("the engine cannot be reached"),
            "{down:?}"
        );
    }
}
