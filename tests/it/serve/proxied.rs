//! A server behind a proxy that tells the client's address first (the PROXY protocol).

use std::{io::ErrorKind, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpStream,
    time::{Instant, sleep},
};
use tower_websocket::{
    serve,
    serve::{ConnectionEnd, Expired, ProxyError},
};

use super::{
    app, certificates, echoes,
    support::{Dialer, memory},
};
use crate::support::{
    Http, Log,
    http::{Ask, Http2, Peer, Server},
    on_both, within,
};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x28\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xdc\x04\x01\xbb\
    \x04\0\x01\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A server that says how its connections end.
fn start() -> (Dialer, Log<String>) {
    let (pen, log) = Log::new();
    let (listener, dialer) = memory();
    let serving = serve(listener, app()).proxy_protocol();
    let serving = serving.on_connection_end(move |report| {
        let end = match &report.end {
            ConnectionEnd::Proxy(ProxyError::Io(error)) => format!("{:?}", error.kind()),
            ConnectionEnd::Proxy(error) => format!("{error:?}"),
            end => format!("{end:?}"),
        };
        pen.write(format!("{:?} {end}", report.peer));
    });
    tokio::spawn(serving.into_future());
    (dialer, log)
}

/// The page that tells a client its address, behind a header that comes in two pieces.
async fn page(mut stream: DuplexStream, header: &[u8], cut: usize, http: Http) -> String {
    stream.write_all(&header[..cut]).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let ask = Ask::plain(http, "/echo").header("connection", "close");
    if http == Http::Two {
        stream.write_all(&header[cut..]).await.unwrap();
        let http2 = Http2::connect(stream).await;
        return http2
            .send(Ask::plain(http, "/echo"))
            .await
            .text()
            .to_owned();
    }
    // What is behind the header comes in the same piece.
    let rest = [&header[cut..], &ask.bytes()].concat();
    stream.write_all(&rest).await.unwrap();
    Peer::over(stream).answer().await.text().to_owned()
}

#[tokio::test(start_paused = true)]
async fn announced_address_is_the_peers_at_every_cut() {
    on_both(async |http| {
        let (dialer, _log) = start();
        for (header, address) in [
            (V1, "192.0.2.7:56324"),
            (V2, "[2001:db8::7]:56324"),
            // Nobody, since a connection in memory has no address of its own.
            (LOCAL, "nobody"),
            (b"PROXY UNKNOWN\r\n", "nobody"),
        ] {
            for cut in 0..=header.len() {
                let page = page(dialer.dial(), header, cut, http).await;
                assert_eq!(page, address, "cut at {cut}");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn websockets_open_behind_a_header() {
    on_both(async |http| {
        let (dialer, mut log) = start();
        for header in [V1, V2] {
            let mut stream = dialer.dial();
            stream.write_all(header).await.unwrap();
            if http == Http::One {
                let mut peer = Peer::over(stream);
                peer.write(&Ask::handshake(http, "/echo").bytes()).await;
                echoes(peer.answer().await.opened(http)).await;
                let end = log.next().await;
                assert!(end.ends_with(":56324) Upgraded"), "{end}");
            } else {
                let http2 = Http2::connect(stream).await;
                echoes(http2.send(Ask::handshake(http, "/echo")).await.opened(http)).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn tcp_connections_have_the_address_that_is_announced_or_their_own() {
    let serving = serve("127.0.0.1:0", app()).proxy_protocol();
    let serving = serving.bind().await.unwrap();
    let address = serving.local_addr().unwrap();
    let _server = Server::other(address, async {
        serving.await.unwrap();
    });
    let unix = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &[b'a'; 216]].concat();
    for (header, announced) in [
        (V1, Some("192.0.2.7:56324")),
        (V2, Some("[2001:db8::7]:56324")),
        (LOCAL, None),
        (&unix, Some("nobody")),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ours = stream.local_addr().unwrap().to_string();
        stream.write_all(header).await.unwrap();
        let mut peer = Peer::over(stream);
        peer.write(&Ask::plain(Http::One, "/echo").bytes()).await;
        let page = within(peer.answer()).await;
        assert_eq!(page.text(), announced.unwrap_or(&ours));
    }
}

#[tokio::test]
async fn header_comes_before_tls() {
    let (config, connector) = certificates(&[], &[b"http/1.1"]);
    let serving = serve("127.0.0.1:0", app()).proxy_protocol().tls(config);
    let serving = serving.bind().await.unwrap();
    let address = serving.local_addr().unwrap();
    let _server = Server::other(address, async {
        serving.await.unwrap();
    });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(V1).await.unwrap();
    let name = tokio_rustls::rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = within(connector.connect(name, stream)).await.unwrap();
    let mut peer = Peer::over(stream);
    peer.write(&Ask::plain(Http::One, "/echo").bytes()).await;
    assert_eq!(within(peer.answer()).await.text(), "192.0.2.7:56324");
}

/// What the application would see must not be decided by who connects.
#[tokio::test(start_paused = true)]
async fn connection_without_a_good_header_is_dropped_unanswered() {
    on_both(async |http| {
        let (dialer, mut log) = start();
        let request = match http {
            Http::One => Ask::handshake(http, "/echo").bytes(),
            Http::Two => super::support::PREFACE.to_vec(),
        };
        for (bytes, end) in [
            (&request[..], "None Missing"),
            (
                b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
                "None Malformed",
            ),
            (
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b01234567890",
                "None Malformed",
            ),
            (&V1[..20], "None UnexpectedEof"),
            (b"", "None UnexpectedEof"),
        ] {
            let mut stream = dialer.dial();
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            match within(stream.read_to_end(&mut answer)).await {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe),
            }
            assert_eq!(answer, b"");
            assert_eq!(within(log.next()).await, end);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn header_that_dribbles_in_is_cut_off() {
    for header in [&b""[..], &V1[..30], &V2[..20]] {
        let (dialer, mut log) = start();
        let start = Instant::now();
        let mut stream = dialer.dial();
        stream.write_all(header).await.unwrap();
        assert_eq!(within(stream.read(&mut [0; 8])).await.unwrap(), 0);
        assert_eq!(start.elapsed().as_secs(), 10);
        let end = format!("None Timeout({:?})", Expired::ProxyHeader);
        assert_eq!(within(log.next()).await, end);
    }
}
