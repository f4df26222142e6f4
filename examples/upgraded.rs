//! WebSocket after a handshake by other means: a server that answers by itself, and a client that makes the
//! request, both with hyper alone.
//!
//! Run: `cargo run --release --example upgraded`, or with an address of your own: `… -- 127.0.0.1:9000`. Its client has
//! something echoed, over HTTP/1.1; then the server goes on, for any client of HTTP/1.1 and HTTP/2.

#[path = "support/cli.rs"]
mod cli;
#[path = "support/stop.rs"]
mod stop;

use std::{convert::Infallible, net::SocketAddr, process::ExitCode};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http1, ext::Protocol, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::{TcpListener, TcpStream};
use tower::BoxError;
use tower_websocket::{
    Config, Connections, Error, WebSocket,
    handshake::{client, server},
    protocol::Role,
    session::Sessions,
};

#[tokio::main]
async fn main() -> ExitCode {
    let usage = "usage: upgraded [ADDRESS]    default: 127.0.0.1:8080";
    cli::run(usage, start).await
}

async fn start(arguments: Vec<String>) -> Result<(), BoxError> {
    let address = arguments.first().map_or("127.0.0.1:8080", String::as_str);
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| format!("{address}: {error}"))?;
    let address = listener.local_addr()?;
    println!("echoing at ws://{address}/echo");
    let connections = Connections::new();
    // Made once: all connections share it.
    let sessions = Sessions::new(Role::Server)
        .config(Config::default().subprotocols(["echo"]))
        .connections(&connections);
    let client = tokio::spawn(async move {
        if let Err(error) = talk(address).await {
            eprintln!("the client failed: {error}");
        }
    });
    let stopped = stop::until_asked(serve(listener, sessions), &connections).await;
    client.abort();
    stopped
}

async fn serve(listener: TcpListener, sessions: Sessions) -> Result<(), BoxError> {
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let sessions = sessions.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(request, &sessions, peer);
                async { Ok::<_, Infallible>(response) }
            });
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http2().enable_connect_protocol();
            let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("connection failed: {error}");
            }
        });
    }
}

/// Answers the handshake, and has a task that waits for the stream.
fn answer(
    mut request: Request<Incoming>,
    sessions: &Sessions,
    peer: SocketAddr,
) -> Response<String> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    // What an HTTP/2 client says it wants to speak is beside the head.
    let protocol = head.extensions.get().map(Protocol::as_str);
    let accepted = match server::negotiate(&head, protocol, sessions.configuration()) {
        Ok(accepted) => accepted,
        Err(rejection) => {
            let refusal = rejection.response(head.version);
            return refusal.map(|text| String::from_utf8_lossy(&text).into_owned());
        }
    };
    let response = accepted.response();
    let sessions = sessions.clone();
    tokio::spawn(async move {
        let connection = async {
            // It is there once the response is sent.
            let session = sessions.over_upgraded(upgrade.await?);
            let session = session.negotiated(accepted).peer_addr(peer).uri(&head.uri);
            echo(session.spawn()?).await?;
            Ok::<_, BoxError>(())
        };
        if let Err(error) = connection.await {
            eprintln!("{peer}: {error}");
        }
    });
    response.map(|()| String::new())
}

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Makes the request with hyper, and has something echoed.
async fn talk(address: SocketAddr) -> Result<(), BoxError> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection.with_upgrades());
    let config = Config::default().subprotocols(["echo"]);
    let request = Request::get(format!("ws://{address}/echo")).body(String::new())?;
    let (mut head, body) = request.into_parts();
    let offer = client::offer(&mut head, &config)?;
    let mut response = sender.send_request(Request::from_parts(head, body)).await?;
    if !offer.is_accepted(response.status()) {
        return Err(format!("refused with {}", response.status()).into());
    }
    let upgrade = hyper::upgrade::on(&mut response);
    let accepted = offer.check(&response.into_parts().0)?;
    let session = WebSocket::over_upgraded(upgrade.await?, Role::Client).config(config);
    let mut socket = session.negotiated(accepted).spawn()?;
    socket.send("hello").await?;
    println!("the client has {:?} back", socket.recv().await?);
    Ok(())
}
