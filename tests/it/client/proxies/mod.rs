//! The way through a proxy: to servers on real sockets, and with proxies in memory that misbehave.

mod answers;
mod identity;
mod socks;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Uri;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy_bidirectional, duplex},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_rustls::{TlsAcceptor, rustls::RootCertStore};
use tower::service_fn;
use tower_websocket::client::{Client, ConnectError, HttpVersion, Phase};

use super::{
    app, client_of,
    support::{ACK, ENABLE_CONNECT_PROTOCOL, Frame, Http2, PING, SETTINGS, served},
    tls::{self, BOTH},
};
use crate::{
    session::support::PIPE,
    support::{Log, Pen, close, echoes, http::Server, on_both, within},
};

const SECOND: Duration = Duration::from_secs(1);

/// A client whose streams lead to this function.
fn leading_to<F>(
    client: Client,
    proxy: impl Fn(DuplexStream) -> F + Clone + Send + Sync + 'static,
) -> Client
where
    F: Future<Output = ()> + Send + 'static,
{
    client.connector(service_fn(move |_: Uri| {
        let (ours, theirs) = duplex(PIPE);
        tokio::spawn(proxy(theirs));
        ready(Ok::<_, Infallible>(ours))
    }))
}

/// Reads the head of a request.
async fn head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

const GRANTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// A proxy of HTTP that lets everybody through to where they ask for, and tells what it was asked.
fn letting_through(
    pen: Pen<String>,
) -> impl Fn(DuplexStream) -> Passing + Clone + Send + Sync + 'static {
    move |mut stream| {
        let pen = pen.clone();
        Box::pin(async move {
            let asked = head(&mut stream).await;
            let address = asked.split(' ').nth(1).unwrap().to_owned();
            pen.write(asked);
            let mut server = TcpStream::connect(&address).await.unwrap();
            stream.write_all(GRANTED).await.unwrap();
            let _gone = copy_bidirectional(&mut stream, &mut server).await;
        })
    }
}

type Passing = Pin<Box<dyn Future<Output = ()> + Send>>;

#[tokio::test]
async fn http_proxy_leads_to_servers_without_tls_and_with() {
    let plain = Server::start(app()).await;
    let secure = tls::Server::start(BOTH, true).await;
    on_both(async |http| {
        let (pen, mut log) = Log::new();
        let version = http.pick(HttpVersion::Http1, HttpVersion::Http2);
        for (client, uri, host, port) in [
            (
                client_of(http),
                format!("ws://{}/echo", plain.address),
                "127.0.0.1",
                plain.address.port(),
            ),
            (
                secure.client(version),
                secure.uri("localhost"),
                "localhost",
                secure.address.port(),
            ),
        ] {
            let client = leading_to(client, letting_through(pen.clone()));
            let client = client.proxy("http://proxy.example:3128").unwrap();
            let response = client.request(&uri).await.unwrap();
            assert_eq!(response.version(), http.version());
            let mut socket = response.into_body();
            echoes(&mut socket, &"hello".repeat(10_000)).await;
            close(socket).await;
            let expected = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
            assert_eq!(log.next().await, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn proxy_is_told_user_and_password_which_nothing_shows() {
    let server = Server::start(app()).await;
    let uri = format!("ws://alice:in@{}/echo", server.address);
    let (pen, mut log) = Log::new();
    let client = leading_to(Client::new(), letting_through(pen));
    let client = client.proxy("http://Aladdin:open%20sesame@proxy").unwrap();
    let shown = format!("{client:?}");
    assert!(
        !shown.contains("Aladdin") && !shown.contains("sesame"),
        "{shown}"
    );
    close(client.connect(uri).await.unwrap()).await;
    let asked = log.next().await;
    // RFC 7617 §2
    let line = "\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
    assert!(asked.contains(line), "{asked}");
    // Those for the server are none of its business.
    assert!(!asked.contains("\r\nAuthorization"), "{asked}");
}

#[tokio::test]
async fn many_sockets_share_an_http2_connection_through_a_proxy() {
    let server = tls::Server::start(BOTH, true).await;
    let (pen, mut log) = Log::new();
    let client = leading_to(server.client(HttpVersion::Http2), letting_through(pen));
    let client = client.proxy("proxy").unwrap();
    let connecting = client.connect_http2(server.uri("localhost"));
    let connection = within(connecting).await.unwrap();
    let mut one = connection.connect("/").await.unwrap();
    let mut two = connection.connect("/").await.unwrap();
    echoes(&mut one, "one").await;
    echoes(&mut two, "two").await;
    close(one).await;
    close(two).await;
    log.next().await;
    assert!(log.is_empty());
}

/// A server of HTTP/2 without TLS speaks at once, and what it says may come with the proxy's answer.
#[tokio::test(start_paused = true)]
async fn what_comes_behind_the_proxys_answer_is_the_servers() {
    let (pen, mut log) = Log::new();
    let client = Client::new().connector(service_fn(move |_: Uri| {
        let (ours, theirs) = duplex(PIPE);
        pen.write(theirs);
        ready(Ok::<_, Infallible>(ours))
    }));
    let client = client.proxy("http://proxy").unwrap();
    let serving = async {
        let mut stream = log.next().await;
        head(&mut stream).await;
        let settings = [0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1];
        assert_eq!(ENABLE_CONNECT_PROTOCOL, 8);
        let answer = [GRANTED, &settings].concat();
        stream.write_all(&answer).await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        let mut server = Http2 { stream };
        loop {
            let frame = server.any().await.unwrap();
            if (frame.kind, frame.flags) == (PING, 0) {
                server.write(&Frame::new(PING, ACK, 0, frame.payload)).await;
                return server;
            }
        }
    };
    let connecting = client.connect_http2("ws://server/");
    let (connection, _server) = within(async { tokio::join!(connecting, serving) }).await;
    connection.unwrap();
}

#[tokio::test]
async fn proxy_over_tls_is_asked_over_tls() {
    let server = Server::start(app()).await;
    let uri = format!("ws://{}/echo", server.address);
    let (certificate, config) = tls::certified(&["http/1.1"]);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = server.address;
    let proxy = move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(GRANTED).await.unwrap();
            let mut server = TcpStream::connect(address).await.unwrap();
            let _gone = copy_bidirectional(&mut stream, &mut server).await;
        }
    };
    on_both(async |http| {
        let client = leading_to(client_of(http), proxy.clone());
        let client = client.proxy("https://localhost").unwrap();
        // Its certificate is checked as that of a server.
        let said = within(client.connect(&uri)).await.unwrap_err().to_string();
        assert!(
            said.starts_with("the TLS handshake with the proxy failed"),
            "{said}"
        );
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let mut socket = client.roots(roots).connect(&uri).await.unwrap();
        echoes(&mut socket, "hello").await;
        close(socket).await;
    })
    .await;
}

#[tokio::test]
async fn client_comes_back_through_a_proxy() {
    let server = Server::start(app()).await;
    let (pen, mut log) = Log::new();
    on_both(async |http| {
        let client = leading_to(client_of(http), letting_through(pen.clone()));
        let client = client.proxy("http://proxy").unwrap();
        let mut sessions = client
            .reconnect(format!("ws://{}/echo", server.address))
            .base_delay(Duration::ZERO);
        for _ in 0..2 {
            let mut session = sessions.next().await.unwrap().unwrap();
            echoes(&mut session.socket, "hello").await;
            log.next().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn proxy_has_the_time_of_the_whole_way() {
    // What is reached takes four seconds, and six are left.
    let client = Client::new().connector(service_fn(async |_: Uri| {
        sleep(4 * SECOND).await;
        let (ours, theirs) = duplex(PIPE);
        tokio::spawn(dribble(theirs));
        Ok::<_, io::Error>(ours)
    }));
    for proxy in ["http://proxy", "https://proxy", "socks5h://proxy"] {
        let client = client.clone().proxy(proxy).unwrap();
        let start = Instant::now();
        let error = within(client.connect("ws://server/")).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Timeout(Phase::Proxy)),
            "{error:?}"
        );
        assert_eq!(start.elapsed().as_secs(), 10, "{proxy}");
        let client = client.connect_timeout(3 * SECOND);
        let error = within(client.connect("ws://server/")).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Timeout(Phase::Connect)),
            "{error:?}"
        );
    }
}

/// Answers forever, a byte a second.
async fn dribble(mut stream: DuplexStream) {
    let first = stream.read_u8().await.unwrap();
    let answer: &[u8] = match first {
        b'C' => b"HTTP/1.1 200 OK\r\nX-Long: ",
        5 => &[5, 0, 5, 0, 0, 3, 255],
        _ => &[22, 3, 3, 64, 0],
    };
    for byte in answer.iter().chain(std::iter::repeat(&b'x')) {
        sleep(SECOND).await;
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
    }
}

/// A proxy in memory that answers with these bytes, whatever it is asked, and ends; and what it was asked first.
fn answering(answer: &'static [u8]) -> (Client, JoinHandle<Vec<u8>>) {
    let (ours, mut theirs) = duplex(PIPE);
    let task = tokio::spawn(async move {
        let mut asked = [0; 1024];
        let len = theirs.read(&mut asked).await.unwrap();
        // A client that has heard enough is gone.
        let _gone = theirs.write_all(answer).await;
        theirs.shutdown().await.unwrap();
        theirs.read_to_end(&mut Vec::new()).await.unwrap();
        asked[..len].to_vec()
    });
    let stream = Arc::new(Mutex::new(Some(ours)));
    let connect = move |_: Uri| -> Ready<io::Result<DuplexStream>> {
        let stream = stream.lock().unwrap().take();
        ready(stream.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()))
    };
    (Client::new().connector(service_fn(connect)), task)
}
