//! Connections over streams whose opening handshake was done elsewhere: by hand, by hyper's client, by reqwest.

mod answered;
mod polled;
mod read_before;
mod registered;
mod requested;
mod settled;
mod streams;

use http::Request;
use tokio::io::{DuplexStream, duplex};
use tower_websocket::{
    Config, WebSocket,
    handshake::{client, server},
    protocol::Role,
};

use crate::{
    session::support::{PIPE, Peer},
    support::{Http, echo},
};

/// Both sides of a handshake between these two, over this version of HTTP.
fn agreed(http: Http, client: &Config, server: &Config) -> (client::Accepted, server::Accepted) {
    let (mut head, ()) = Request::get("ws://localhost/chat?token=1")
        .version(http.version())
        .body(())
        .unwrap()
        .into_parts();
    let offer = client::offer(&mut head, client).unwrap();
    let protocol = http.pick(None, Some("websocket"));
    let theirs = server::negotiate(&head, protocol, server).unwrap();
    let response = theirs.response();
    assert!(offer.is_accepted(response.status()));
    let (head, ()) = response.into_parts();
    (offer.check(&head).unwrap(), theirs)
}

/// A session of a server over a pipe, and the bytes at the other end.
fn pipe() -> (DuplexStream, Peer) {
    let (ours, theirs) = duplex(PIPE);
    (ours, Peer::new(theirs))
}

/// No ping wakes a session that has been forgotten.
fn silent() -> Config {
    Config::default().ping_interval(None)
}

/// Answers everything until the end.
async fn serve(socket: WebSocket) {
    let result = echo(socket).await;
    assert!(result.is_ok(), "{result:?}");
}

fn both() -> [Role; 2] {
    [Role::Server, Role::Client]
}
