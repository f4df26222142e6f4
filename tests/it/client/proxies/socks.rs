//! A SOCKS5 proxy, and what it may answer (RFC 1928, RFC 1929).

use tokio::io::BufStream;
use tower_websocket::client::ProxyError;

use super::*;

/// Lets everybody through, who says `user` and `p@ss:wrd` where that is wanted; tells what it was asked for.
async fn proxy(mut stream: DuplexStream, password: bool, pen: Pen<(u8, Vec<u8>)>) {
    let [version, count] = read(&mut stream).await;
    assert_eq!(version, 5);
    let mut methods = vec![0; count.into()];
    stream.read_exact(&mut methods).await.unwrap();
    let method = if password { 2 } else { 0 };
    assert!(methods.contains(&method));
    stream.write_all(&[5, method]).await.unwrap();
    if password {
        let said: [u8; 15] = read(&mut stream).await;
        assert_eq!(&said, b"\x01\x04user\x08p@ss:wrd");
        stream.write_all(&[1, 0]).await.unwrap();
    }
    let [5, 1, 0, kind] = read(&mut stream).await else {
        panic!("it is no request");
    };
    let len = match kind {
        1 => 4,
        4 => 16,
        _ => {
            let [len] = read(&mut stream).await;
            len
        }
    };
    let mut host = vec![0; len.into()];
    stream.read_exact(&mut host).await.unwrap();
    let port = stream.read_u16().await.unwrap();
    pen.write((kind, host));
    // Where it is bound may be told in any way.
    let bound: &[u8] = match kind {
        1 => &[1, 0, 0, 0, 0, 0, 0],
        4 => b"\x040123456789abcdef\x00\x00",
        _ => b"\x03\x05proxy\x00\x00",
    };
    stream.write_all(&[5, 0, 0]).await.unwrap();
    stream.write_all(bound).await.unwrap();
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _gone = copy_bidirectional(&mut stream, &mut server).await;
}

async fn read<const N: usize>(stream: &mut DuplexStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn socks_proxy_leads_to_servers_by_name_and_by_address() {
    let server = tls::Server::start(BOTH, true).await;
    on_both(async |http| {
        let (pen, mut log) = Log::new();
        let version = http.pick(HttpVersion::Http1, HttpVersion::Http2);
        let localhost = (3, b"localhost".to_vec());
        for (uri, host, expected) in [
            ("socks5h://proxy", "localhost", localhost.clone()),
            (
                "socks5h://user:p%40ss:wrd@proxy",
                "localhost",
                localhost.clone(),
            ),
            ("socks5h://proxy", "127.0.0.1", (1, vec![127, 0, 0, 1])),
            ("socks5://proxy", "127.0.0.1", (1, vec![127, 0, 0, 1])),
        ] {
            let pen = pen.clone();
            let password = uri.contains('@');
            let client = leading_to(server.client(version), move |stream| {
                proxy(stream, password, pen.clone())
            });
            let client = client.proxy(uri).unwrap();
            let response = client.request(server.uri(host)).await.unwrap();
            assert_eq!(response.version(), http.version());
            let mut socket = response.into_body();
            echoes(&mut socket, "hello").await;
            close(socket).await;
            assert_eq!(log.next().await, expected, "{uri}");
        }
    })
    .await;
}

#[tokio::test]
async fn address_of_ipv6_is_told_as_its_bytes() {
    let server = Server::start(app()).await;
    let address = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
    for uri in ["socks5h://proxy", "socks5://proxy"] {
        let (pen, mut log) = Log::new();
        let client = leading_to(Client::new(), move |stream| {
            proxy(stream, false, pen.clone())
        });
        let client = client.proxy(uri).unwrap();
        let uri = format!("ws://[2001:db8::1]:{}/echo", server.address.port());
        let mut socket = within(client.connect(uri)).await.unwrap();
        echoes(&mut socket, "hello").await;
        close(socket).await;
        assert_eq!(log.next().await, (4, address.to_vec()));
    }
}

#[tokio::test]
async fn stream_with_a_buffer_leads_through_a_socks_proxy() {
    let server = Server::start(app()).await;
    for uri in ["socks5h://proxy", "socks5h://user:p%40ss:wrd@proxy"] {
        let (pen, mut log) = Log::new();
        let password = uri.contains('@');
        let client = Client::new().connector(service_fn(move |_: Uri| {
            let (ours, theirs) = duplex(PIPE);
            tokio::spawn(proxy(theirs, password, pen.clone()));
            ready(Ok::<_, Infallible>(BufStream::new(ours)))
        }));
        let client = client.proxy(uri).unwrap();
        let uri = format!("ws://{}/echo", server.address);
        let mut socket = within(client.connect(uri)).await.unwrap();
        echoes(&mut socket, "hello").await;
        close(socket).await;
        assert_eq!(log.next().await, (1, vec![127, 0, 0, 1]));
    }
}

#[tokio::test]
async fn name_that_is_resolved_here_is_no_name_for_the_proxy() {
    let server = Server::start(app()).await;
    let (pen, mut log) = Log::new();
    let client = leading_to(Client::new(), move |stream| {
        proxy(stream, false, pen.clone())
    });
    let client = client.proxy("socks5://proxy").unwrap();
    let uri = format!("ws://localhost:{}/echo", server.address.port());
    close(client.connect(uri).await.unwrap()).await;
    let (kind, address) = log.next().await;
    assert!(matches!((kind, address.len()), (1, 4) | (4, 16)), "{kind}");
}

/// What an answer is taken for, and what the proxy was asked first.
async fn answered(proxy: &str, answer: &'static [u8]) -> (ConnectError, Vec<u8>) {
    let (client, task) = answering(answer);
    let client = client.proxy(proxy).unwrap();
    let connecting = client.connect("ws://server.example/");
    let error = within(connecting).await.unwrap_err();
    (error, within(task).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn code_of_a_refusal_is_told() {
    for (code, expected, temporary) in [
        (1, "general failure", true),
        (
            2,
            "its rules do not allow it (are this server and port allowed?)",
            false,
        ),
        (3, "the network is unreachable", true),
        (4, "the host is unreachable", true),
        (5, "the connection was refused", true),
        (6, "the time to live has expired", true),
        (7, "it makes no connections", false),
        (8, "does not know this kind of address", false),
        (9, "a code that SOCKS does not have", true),
    ] {
        // Nothing has to follow.
        let answer = vec![5, 0, 5, code].leak();
        let (error, _) = answered("socks5h://proxy", answer).await;
        let said = error.to_string();
        assert!(
            said.starts_with("the proxy gave no way to the server: "),
            "{said}"
        );
        assert!(said.contains(expected), "{said}");
        assert_eq!(error.is_temporary(), temporary, "{said}");
        let ConnectError::Proxy(ProxyError::Socks(found)) = error else {
            panic!("{error:?}");
        };
        assert_eq!(found, code);
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_not_taken_are_told_apart() {
    let (without, with) = ("socks5h://proxy", "socks5h://user:secret@proxy");
    for (proxy, answer) in [
        // None of the methods, one that was not offered, and the wrong password.
        (without, &[5, 255][..]),
        (without, &[5, 2]),
        (with, &[5, 255]),
        (with, &[5, 1]),
        (with, &[5, 2, 1, 1]),
    ] {
        let (error, asked) = answered(proxy, answer).await;
        let offer: &[u8] = if proxy == with {
            &[5, 2, 0, 2]
        } else {
            &[5, 1, 0]
        };
        assert_eq!(asked, offer);
        let said = error.to_string();
        assert!(
            said.contains("socks5h://user:password@proxy:port gives them"),
            "{said}"
        );
        assert!(!format!("{error:?}{said}").contains("secret"), "{error:?}");
        assert!(!error.is_temporary());
        assert!(
            matches!(error, ConnectError::Proxy(ProxyError::SocksCredentials)),
            "{error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_socks5_is_an_error() {
    for (answer, expected, temporary) in [
        (&b""[..], "early eof", true),
        (&[5], "early eof", true),
        (&[5, 0, 5, 0, 0, 3, 200, b'x'], "early eof", true),
        (&[0, 91], "SOCKS4", false),
        (&[9, 9], "what comes is no SOCKS5", false),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "http:// in place of socks5://?",
            false,
        ),
        (&[5, 0, 6, 0, 0, 1], "what comes is no SOCKS5", false),
        (&[5, 0, 5, 0, 0, 2], "an address of an unknown kind", false),
    ] {
        let (error, _) = answered("socks5h://proxy", answer).await;
        let ConnectError::Proxy(ProxyError::Io(below)) = &error else {
            panic!("{error:?}");
        };
        assert!(below.to_string().contains(expected), "{below}");
        assert_eq!(error.is_temporary(), temporary, "{below}");
    }
}

#[tokio::test(start_paused = true)]
async fn name_that_socks_cannot_say_is_an_error() {
    let (client, _task) = answering(b"");
    let client = client.proxy("socks5h://proxy").unwrap();
    let uri = format!("ws://{}/", "long.".repeat(60));
    let error = within(client.connect(uri)).await.unwrap_err();
    assert!(!error.is_temporary());
    assert!(
        matches!(error, ConnectError::Proxy(ProxyError::Name(_))),
        "{error:?}"
    );
}
