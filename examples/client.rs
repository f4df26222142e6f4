//! A client for the terminal: what is typed is sent, what comes is printed. Piped input works, too.
//!
//! Run: `cargo run --example client --features client -- ws://127.0.0.1:8080/echo`; `--help` tells the rest.
//!
//! When the connection is lost it comes back, and shows how long it waits. Try it: stop a server and start it
//! again. Ctrl-C closes with 1001.
//!
//! ```sh
//! printf 'one\ntwo\n' | cargo run --example client --features client -- --once ws://127.0.0.1:8080/echo
//! ```
//!
//! The examples with TLS make their certificates on the spot. This trusts the one of `serve`:
//!
//! ```sh
//! openssl s_client -connect 127.0.0.1:8443 < /dev/null | openssl x509 > server.pem
//! cargo run --example client --features client -- --ca server.pem wss://127.0.0.1:8443/echo
//! ```

use std::{error::Error as StdError, fs, io, pin::pin, process::exit, time::Duration};

use http::{HeaderName, HeaderValue, Uri};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Stdin, stdin},
    net::TcpStream,
    select, signal,
    time::sleep,
};
use tower_websocket::{
    CloseCode, Compression, Config, Message, WebSocket,
    client::{Client, Connected, HttpVersion, IntoRequest, Pause, Reconnect},
};

type Error = Box<dyn StdError>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let result = run().await;
    if let Err(error) = &result {
        eprintln!("{}", chain(&**error));
    }
    // Not by returning: a thread that waits for the terminal would be waited for.
    exit(result.is_err().into())
}

async fn run() -> Result<(), Error> {
    let Some(options) = Options::read(std::env::args().skip(1))? else {
        print!("{HELP}");
        return Ok(());
    };
    let mut sessions = options.sessions()?;
    let mut terminal = Terminal::new();
    let mut stop = pin!(ctrl_c());
    loop {
        let session = select! {
            session = sessions.next() => session?,
            () = &mut stop => return Ok(()),
        };
        let Some(session) = session else {
            eprintln!("the server is done");
            return Ok(());
        };
        greet(&session);
        let mut socket = session.socket;
        let done = select! {
            done = terminal.talk(&mut socket) => done?,
            () = &mut stop => {
                socket.close(CloseCode::GOING_AWAY);
                true
            }
        };
        if done {
            socket.closed().await;
            return Ok(());
        }
    }
}

fn greet(session: &Connected) {
    let protocol = session.socket.subprotocol();
    let speaking = protocol.map(|protocol| format!(", speaking {protocol}"));
    let speaking = speaking.unwrap_or_default();
    if session.lost.is_some() {
        eprintln!("connected again{speaking}, after {:.1?}", session.away);
    } else {
        eprintln!("connected{speaking}");
    }
}

fn show(pause: &Pause<'_>) {
    eprintln!("{}", chain(pause.setback));
    eprintln!("trying again in {:.1?}", pause.delay);
}

/// An error and its causes, in one line.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}

async fn ctrl_c() {
    if signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// What is typed, over all connections.
struct Terminal {
    lines: Lines<BufReader<Stdin>>,
    typing: bool,
    /// A line that was not taken by the connection that was lost.
    unsent: Option<String>,
}

impl Terminal {
    fn new() -> Self {
        Self {
            lines: BufReader::new(stdin()).lines(),
            typing: true,
            unsent: None,
        }
    }

    /// Sends lines and prints messages until the connection ends. Once there is nothing more to send it waits
    /// for answers, until none has come for a while; then all is done.
    async fn talk(&mut self, socket: &mut WebSocket) -> Result<bool, Error> {
        loop {
            if let Some(line) = self.unsent.take()
                && socket.send(line.as_str()).await.is_err()
            {
                self.unsent = Some(line);
            }
            select! {
                message = socket.recv() => match message {
                    Ok(Some(message)) => print(&message),
                    // Why, is shown with the pause.
                    Ok(None) | Err(_) => return Ok(false),
                },
                line = self.lines.next_line(), if self.typing && socket.is_open() => match line? {
                    Some(line) => self.unsent = Some(line),
                    None => self.typing = false,
                },
                () = sleep(PATIENCE), if !self.typing => {
                    socket.close(CloseCode::NORMAL);
                    return Ok(true);
                }
            }
        }
    }
}

fn print(message: &Message) {
    match message {
        Message::Text(text) => println!("{text}"),
        Message::Binary(bytes) => println!("[{} bytes]", bytes.len()),
    }
}

/// Connects to where `uri` leads, through a proxy.
async fn through(proxy: Uri, uri: Uri) -> io::Result<TcpStream> {
    let address = proxy.authority();
    let address = address.ok_or_else(|| no_way("the proxy has no address"))?;
    let host = uri.host();
    let host = host.ok_or_else(|| no_way("the URI has no host"))?;
    let port = uri.port_u16().unwrap_or(80);
    let scheme = proxy.scheme_str().unwrap_or_default();
    if !["http", "socks5"].contains(&scheme) {
        return Err(no_way("proxies are http:// or socks5://"));
    }
    let mut stream = TcpStream::connect(address.as_str()).await?;
    if scheme == "http" {
        http_connect(&mut stream, host, port).await?;
    } else {
        socks5(&mut stream, host, port).await?;
    }
    Ok(stream)
}

/// An error after which trying again makes no sense.
fn no_way(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
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
        return Err(no_way("the proxy wants authentication"));
    }
    let len = u8::try_from(host.len()).map_err(|_| no_way("the host is too long"))?;
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
    uri: String,
    version: HttpVersion,
    protocols: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    proxy: Option<Uri>,
    ca: Vec<String>,
    once: bool,
}

impl Options {
    /// Reads them; `None` if help is wanted.
    fn read(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, Error> {
        let mut options = Self {
            uri: String::new(),
            version: HttpVersion::Http1,
            protocols: Vec::new(),
            headers: Vec::new(),
            proxy: None,
            ca: Vec::new(),
            once: false,
        };
        loop {
            let word = words.next().ok_or("a URI is needed: see --help")?;
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--http2" => options.version = HttpVersion::Http2,
                "--once" => options.once = true,
                "--ca" => options.ca.push(value()?),
                "--protocol" => options.protocols.push(value()?),
                "--proxy" => options.proxy = Some(value()?.parse()?),
                "--header" => {
                    let header = value()?;
                    let (name, value) = header.split_once(':').ok_or("headers are Name: value")?;
                    options.headers.push((name.parse()?, value.trim().parse()?));
                }
                other if other.starts_with('-') => {
                    return Err(format!("{other} is no option: see --help").into());
                }
                _ => {
                    options.uri = word;
                    return Ok(Some(options));
                }
            }
        }
    }

    fn client(&self) -> Result<Client, Error> {
        let config = Config::default()
            .subprotocols(self.protocols.clone())
            .compression(Compression::shared());
        let mut client = Client::new().config(config).http_version(self.version);
        for (name, value) in &self.headers {
            client = client.header(name.clone(), value.clone());
        }
        for file in &self.ca {
            let pem = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
            client = client
                .add_root_pem(pem)
                .map_err(|error| format!("{file}: {error}"))?;
        }
        Ok(client)
    }

    fn sessions(self) -> Result<Reconnect, Error> {
        let client = self.client()?;
        let request = self.uri.as_str().into_request()?;
        let sessions = match self.proxy {
            None => client.reconnect(request),
            Some(proxy) => {
                let uri = request.uri().clone();
                let scheme = uri.scheme_str().unwrap_or_default();
                if ["wss", "https"]
                    .iter()
                    .any(|tls| scheme.eq_ignore_ascii_case(tls))
                {
                    return Err("--proxy is for ws:// alone".into());
                }
                let reach = move || through(proxy.clone(), uri.clone());
                client.reconnect_over(reach, request)
            }
        };
        Ok(if self.once {
            sessions.give_up_on(|_| true)
        } else {
            sessions.on_pause(show)
        })
    }
}

const HELP: &str = "\
A WebSocket client: what is typed is sent, what comes is printed.

Usage: client [OPTIONS] URI

  URI                     ws://HOST[:PORT]/PATH, or wss:// for TLS
  --ca FILE               trust the certificates of this PEM file, too
  --header 'Name: value'  send this header in the handshake
  --http2                 use HTTP/2
  --once                  do not come back when the connection is lost
  --protocol NAME         offer this subprotocol
  --proxy URI             go through a proxy, for ws:// alone:
                          http://HOST:PORT (CONNECT) or socks5://HOST:PORT
  --help                  print this

A lost connection is made again after a pause, unless the server closed it with
1000 or refuses it. Ctrl-C closes with 1001.
";
