//! A client for the terminal: what is typed is sent, what comes is printed. Piped input works, too.
//!
//! Run: `cargo run --example client --features client -- ws://127.0.0.1:8080/echo`
//!
//! Options go before the URI: `--http2`, `--protocol NAME`, `--header 'Name: value'`, and a proxy,
//! `--proxy http://HOST:PORT` (CONNECT) or `--proxy socks5://HOST:PORT`, for `ws` URIs.
//!
//! ```sh
//! printf 'one\ntwo\n' | cargo run --example client --features client -- ws://127.0.0.1:8080/echo
//! ```

use std::{io, time::Duration};

use http::{HeaderName, HeaderValue, Uri};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, stdin},
    net::TcpStream,
    select,
    time::sleep,
};
use tower_websocket::{
    CloseCode, Compression, Config, Message, WebSocket,
    client::{Client, HttpVersion},
};

type Error = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let options = Options::read(std::env::args().skip(1))?;
    let config = Config::default()
        .subprotocols(options.protocols)
        .compression(Compression::shared());
    let mut client = Client::new().config(config).http_version(options.version);
    for (name, value) in options.headers {
        client = client.header(name, value);
    }
    let socket = match options.proxy {
        None => client.connect(options.uri).await?,
        Some(proxy) => {
            let stream = through(&proxy, &options.uri).await?;
            client.request_over(stream, options.uri).await?.into_body()
        }
    };
    match socket.subprotocol() {
        Some(protocol) => eprintln!("connected, speaking {protocol}"),
        None => eprintln!("connected"),
    }
    talk(socket).await
}

/// Sends lines and prints messages until the server closes. Once there is nothing more to send it
/// waits for answers, until none has come for a while.
async fn talk(mut socket: WebSocket) -> Result<(), Error> {
    let mut lines = BufReader::new(stdin()).lines();
    let mut typing = true;
    loop {
        select! {
            line = lines.next_line(), if typing => match line? {
                Some(line) => socket.send(line).await?,
                None => typing = false,
            },
            message = socket.recv() => match message? {
                Some(message) => print(&message),
                None => break,
            },
            () = sleep(PATIENCE), if !typing => {
                socket.close(CloseCode::NORMAL);
                socket.closed().await;
                break;
            }
        }
    }
    if let Some(frame) = socket.received_close() {
        eprintln!("closed: {} {}", frame.code(), frame.reason());
    }
    Ok(())
}

fn print(message: &Message) {
    match message {
        Message::Text(text) => println!("{text}"),
        Message::Binary(bytes) => println!("[{} bytes]", bytes.len()),
    }
}

/// Connects to where `uri` leads, through a proxy.
async fn through(proxy: &Uri, uri: &Uri) -> Result<TcpStream, Error> {
    let address = proxy.authority().ok_or("the proxy has no address")?;
    let host = uri.host().ok_or("the URI has no host")?;
    let port = uri.port_u16().unwrap_or(80);
    let mut stream = TcpStream::connect(address.as_str()).await?;
    match proxy.scheme_str() {
        Some("http") => http_connect(&mut stream, host, port).await?,
        Some("socks5") => socks5(&mut stream, host, port).await?,
        _ => return Err("proxies are http:// or socks5://".into()),
    }
    Ok(stream)
}

/// Asks an HTTP proxy for a tunnel (RFC 9110 §9.3.6).
async fn http_connect(stream: &mut TcpStream, host: &str, port: u16) -> io::Result<()> {
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    // A byte at a time: what follows the head is the server's.
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        if head.len() > 8192 {
            return Err(io::Error::other("the proxy answers without end"));
        }
    }
    let status = head.get(9..12).unwrap_or_default();
    if status.first() != Some(&b'2') {
        let line = String::from_utf8_lossy(&head);
        let line = line.lines().next().unwrap_or_default();
        return Err(io::Error::other(format!("the proxy says: {line}")));
    }
    Ok(())
}

/// Asks a SOCKS5 proxy for a tunnel, without authentication (RFC 1928).
async fn socks5(stream: &mut TcpStream, host: &str, port: u16) -> io::Result<()> {
    stream.write_all(&[5, 1, 0]).await?;
    let mut method = [0; 2];
    stream.read_exact(&mut method).await?;
    if method != [5, 0] {
        return Err(io::Error::other("the proxy wants authentication"));
    }
    let len = u8::try_from(host.len()).map_err(io::Error::other)?;
    let mut request = vec![5, 1, 0, 3, len];
    request.extend_from_slice(host.as_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).await?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await?;
    if reply[1] != 0 {
        return Err(io::Error::other(format!(
            "the proxy says: error {}",
            reply[1]
        )));
    }
    let address = match reply[3] {
        1 => 4,
        4 => 16,
        _ => stream.read_u8().await?.into(),
    };
    let mut bound = vec![0; address + 2];
    stream.read_exact(&mut bound).await?;
    Ok(())
}

/// How long answers are waited for when everything was sent.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the command line says.
struct Options {
    uri: Uri,
    version: HttpVersion,
    protocols: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    proxy: Option<Uri>,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut options = Self {
            uri: Uri::default(),
            version: HttpVersion::Http1,
            protocols: Vec::new(),
            headers: Vec::new(),
            proxy: None,
        };
        loop {
            let word = words.next().ok_or("a URI is needed: ws://… or wss://…")?;
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                "--http2" => options.version = HttpVersion::Http2,
                "--protocol" => options.protocols.push(value()?),
                "--proxy" => options.proxy = Some(value()?.parse()?),
                "--header" => {
                    let header = value()?;
                    let (name, value) = header.split_once(':').ok_or("headers are Name: value")?;
                    options.headers.push((name.parse()?, value.trim().parse()?));
                }
                uri => {
                    options.uri = uri.parse()?;
                    return Ok(options);
                }
            }
        }
    }
}
