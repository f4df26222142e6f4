//! A client for the terminal: what is typed is sent, what comes is printed. Piped input works, too.
//!
//! Run: `cargo run --example client --features client -- ws://127.0.0.1:8080/echo`; `--help` has the rest.
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

use std::{error::Error as StdError, fs, pin::pin, process::exit, time::Duration};

use http::{HeaderName, HeaderValue};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines, Stdin, stdin},
    select, signal,
    time::sleep,
};
use tower_websocket::{
    CloseCode, Compression, Config, Message, WebSocket,
    client::{Client, Connected, HttpVersion, Pause, Reconnect},
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

/// How long answers are waited for when everything was sent.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the command line says.
struct Options {
    uri: String,
    version: HttpVersion,
    protocols: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    proxy: Option<String>,
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
                "--proxy" => options.proxy = Some(value()?),
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
        Ok(match &self.proxy {
            Some(proxy) => client.proxy(proxy)?,
            None => client.proxy_from_env()?,
        })
    }

    fn sessions(self) -> Result<Reconnect, Error> {
        let sessions = self.client()?.reconnect(self.uri);
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
  --proxy URI             go through this proxy: http://, https://, socks5:// or
                          socks5h://, each as ...USER:PASSWORD@HOST:PORT; without
                          it, the one of $HTTPS_PROXY and the like
  --help                  print this

A lost connection is made again after a pause, unless the server closed it with
1000 or refuses it. Ctrl-C closes with 1001.
";
