//! Any TCP over WebSocket: `ssh`, a database, MQTT, through whatever lets WebSocket through.
//!
//! ```sh
//! tunnel listen 127.0.0.1:8080 --to 127.0.0.1:22
//! tunnel connect ws://127.0.0.1:8080 --from 127.0.0.1:2222
//! ssh -p 2222 localhost
//! ```
//!
//! Run: `cargo run --release --example tunnel --features client,serve -- --help`. Both ends speak the subprotocol
//! `binary`, as websockify and noVNC do. Ctrl-C or SIGTERM closes all that is open with 1001.
//!
//! A WebSocket ends in both directions at once: a client of TCP that says with a FIN that it has sent all is closed.

#[path = "support/asked.rs"]
mod asked;
#[path = "support/cli.rs"]
mod cli;

use std::{fs, io, process::ExitCode, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Uri};
use tokio::{
    net::{TcpListener, TcpStream},
    pin, select,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::BoxError;
use tower_websocket::{
    CloseCode, CloseFrame, Config, OriginPolicy, WebSocket, WebSocketLayer,
    client::{Client, HttpVersion},
    handler, serve,
    serve::PemFiles,
    session::{ByteStreamError, Drain},
};

const HELP: &str = "\
Any TCP over WebSocket.

usage: tunnel listen ADDRESS --to HOST:PORT [OPTIONS]
       tunnel connect URI --from ADDRESS [OPTIONS]

listen: takes WebSockets at ADDRESS, and connects each to HOST:PORT and nowhere else.
  --cert FILE              with TLS: a certificate in PEM, which is read again when
  --key FILE               it has changed, and its key
  --origin ORIGIN          let pages of this origin in, too, such as https://example.com;
                           else only those of the same host
  --max N                  at most so many at once; 1000 if it is not given

connect: takes TCP connections at ADDRESS, each of which becomes a WebSocket to URI,
         ws://HOST[:PORT]/PATH, or wss:// for TLS.
  --http2                  with HTTP/2 (RFC 8441)
  --ca FILE                trust the certificates of this PEM file, too
  --header 'Name: value'   send this header in the handshake

Clients are not authenticated: that is for what --to is. Ctrl-C or SIGTERM closes with 1001.";

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(HELP, start).await
}

async fn start(arguments: Vec<String>) -> Result<(), BoxError> {
    let mut words = arguments.into_iter();
    match words.next().as_deref() {
        Some("listen") => listen(Listen::read(words)?).await,
        Some("connect") => connect(Connect::read(words)?).await,
        Some(other) => Err(format!("what is {other}? See --help").into()),
        None => Err("listen or connect? See --help".into()),
    }
}

/// Carries bytes both ways until one end has ended or failed; `broken` is what a TCP that fails is called.
async fn carry(socket: WebSocket, mut tcp: TcpStream, broken: CloseCode) -> io::Result<()> {
    // A letter that is typed does not wait for the next one.
    let _unsupported = tcp.set_nodelay(true);
    let result = socket.into_byte_stream().tunnel(&mut tcp, broken).await;
    if result.is_err() {
        // Then the other end does not take this for the regular end.
        let _unsupported = tcp.set_zero_linger();
    }
    result
}

/// Says that a tunnel broke. One that was closed here, by a drain, did not.
fn report(carried: io::Result<()>) {
    let Err(error) = carried else { return };
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
    if !matches!(inside, Some(ByteStreamError::ClosedHere(_))) {
        eprintln!("a tunnel broke: {error}");
    }
}

fn config() -> Config {
    // A message of any size is carried as it comes.
    Config::default().subprotocols(["binary"]).streaming(true)
}

// The end that takes WebSockets.

async fn listen(options: Listen) -> Result<(), BoxError> {
    let places = Arc::new(Semaphore::new(options.max));
    let to: Arc<str> = options.to.as_str().into();
    let tunnel = handler(move |socket| to_upstream(socket, to.clone(), places.clone()));
    let config = config().origin(OriginPolicy::same_host_or(&options.origins));
    let app = WebSocketLayer::new(tunnel).config(config).endpoint();
    let mut server = serve(options.address, app)
        .bind()
        .await?
        .drain(Drain::default().timeout(PATIENCE))
        .graceful_shutdown(asked::to_stop());
    let mut scheme = "ws";
    if let Some((chain, key)) = options.files {
        server = server.tls(PemFiles::open(chain, key)?);
        scheme = "wss";
    }
    println!("{scheme}://{} to {}", server.local_addr()?, options.to);
    println!("{:?}", server.await?);
    Ok(())
}

async fn to_upstream(
    socket: WebSocket,
    to: Arc<str>,
    places: Arc<Semaphore>,
) -> Result<(), CloseFrame> {
    let refuse = |code, reason| Err(CloseFrame::new(code, reason));
    let Ok(_place) = places.try_acquire() else {
        return refuse(CloseCode::TRY_AGAIN_LATER, "too many are here");
    };
    let upstream = match timeout(PATIENCE, TcpStream::connect(&*to)).await {
        Ok(Ok(upstream)) => upstream,
        Ok(Err(error)) => {
            eprintln!("{to}: {error}");
            return refuse(CloseCode::BAD_GATEWAY, "cannot connect");
        }
        Err(_) => {
            eprintln!("{to}: no answer");
            return refuse(CloseCode::BAD_GATEWAY, "no answer");
        }
    };
    report(carry(socket, upstream, CloseCode::BAD_GATEWAY).await);
    Ok(())
}

struct Listen {
    address: String,
    to: String,
    files: Option<(String, String)>,
    origins: Vec<String>,
    max: usize,
}

impl Listen {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, BoxError> {
        let (mut address, mut to, mut cert, mut key) = (None, None, None, None);
        let (mut origins, mut max) = (Vec::new(), 1000);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match &*word {
                "--to" => to = Some(value()?),
                "--cert" => cert = Some(value()?),
                "--key" => key = Some(value()?),
                "--origin" => origins.push(origin(value()?)?),
                "--max" => max = value()?.parse().map_err(|_| "--max wants a number")?,
                _ => one(&mut address, word)?,
            }
        }
        let to = to.ok_or("--to HOST:PORT is needed")?;
        let port = to.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return Err(format!("{to} is not HOST:PORT").into());
        }
        if cert.is_some() != key.is_some() {
            return Err("--cert and --key go together".into());
        }
        Ok(Self {
            address: address.ok_or("where to listen? See --help")?,
            to,
            files: cert.zip(key),
            origins,
            max: max.min(Semaphore::MAX_PERMITS),
        })
    }
}

// The end that takes TCP.

async fn connect(options: Connect) -> Result<(), BoxError> {
    let client = options.client()?;
    let cannot = |error| format!("cannot listen on {}: {error}", options.from);
    let listener = TcpListener::bind(&options.from).await.map_err(cannot)?;
    println!("{} to {}", listener.local_addr()?, options.uri);
    let (stop, stopped) = watch::channel(());
    let mut tunnels = JoinSet::new();
    let end = asked::to_stop();
    pin!(end);
    loop {
        select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => {
                    let (client, uri) = (client.clone(), options.uri.clone());
                    tunnels.spawn(to_server(tcp, client, uri, stopped.clone()));
                }
                Err(error) => {
                    // Out of descriptors, most likely: others have to end first.
                    eprintln!("{error}");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_ended) = tunnels.join_next() => {}
            () = &mut end => break,
        }
    }
    drop((listener, stop));
    println!("closing {} WebSockets", tunnels.len());
    tunnels.join_all().await;
    Ok(())
}

async fn to_server(tcp: TcpStream, client: Client, uri: Uri, mut stopped: watch::Receiver<()>) {
    let socket = select! {
        connected = client.connect(uri) => match connected {
            Ok(socket) => socket,
            Err(error) => {
                eprintln!("{}", chain(&error));
                let _unsupported = tcp.set_zero_linger();
                return;
            }
        },
        _stopped = stopped.changed() => return,
    };
    let sender = socket.sender();
    select! {
        carried = carry(socket, tcp, CloseCode::INTERNAL_ERROR) => {
            report(carried);
            return;
        }
        () = async {
            let _stopped = stopped.changed().await;
            // Here, where the tunnel is there still: dropping it closes with 1000.
            sender.close(CloseCode::GOING_AWAY);
        } => {}
    }
    sender.closed().await;
}

struct Connect {
    uri: Uri,
    from: String,
    version: HttpVersion,
    ca: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Connect {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, BoxError> {
        let (mut uri, mut from, mut version) = (None, None, HttpVersion::Http1);
        let (mut ca, mut headers) = (Vec::new(), Vec::new());
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match &*word {
                "--from" => from = Some(value()?),
                "--http2" => version = HttpVersion::Http2,
                "--ca" => ca.push(value()?),
                "--header" => {
                    let header = value()?;
                    let (name, value) = header.split_once(':').ok_or("headers are Name: value")?;
                    headers.push((name.parse()?, value.trim().parse()?));
                }
                _ => one(&mut uri, word)?,
            }
        }
        let uri: String = uri.ok_or("where to connect? See --help")?;
        let uri: Uri = uri.parse().map_err(|error| format!("{uri}: {error}"))?;
        if !matches!(uri.scheme_str(), Some("ws" | "wss")) {
            return Err(format!("{uri} is not ws:// or wss://").into());
        }
        Ok(Self {
            uri,
            from: from.ok_or("--from ADDRESS is needed")?,
            version,
            ca,
            headers,
        })
    }

    fn client(&self) -> Result<Client, BoxError> {
        let mut client = Client::new().config(config()).http_version(self.version);
        for (name, value) in &self.headers {
            client = client.header(name.clone(), value.clone());
        }
        for file in &self.ca {
            let cannot = |error| format!("{file}: {error}");
            let pem = fs::read(file).map_err(cannot)?;
            client = client.add_root_pem(pem).map_err(cannot)?;
        }
        Ok(client)
    }
}

/// What is no pattern, and no way to let all in.
fn origin(origin: String) -> Result<String, BoxError> {
    if origin.contains("://") && !origin.contains(['*', ' ']) {
        return Ok(origin);
    }
    Err(format!("{origin} is not an origin such as https://example.com").into())
}

/// The one word that is no option.
fn one(word: &mut Option<String>, found: String) -> Result<(), BoxError> {
    if found.starts_with('-') || word.is_some() {
        return Err(format!("what is {found}? See --help").into());
    }
    *word = Some(found);
    Ok(())
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        words += &format!(": {next}");
        cause = next.source();
    }
    words
}

/// How long an upstream has to answer, and what is open has to close.
const PATIENCE: Duration = Duration::from_secs(5);
