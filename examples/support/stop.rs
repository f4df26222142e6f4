//! A server that says goodbye: on Ctrl-C it closes every WebSocket with 1001 before it ends.
//!
//! The example `graceful_shutdown` shows it with plain requests that are finished, too, and `serve` the
//! server that does all of it by itself.

use std::{future::pending, time::Duration};

use tokio::{select, signal};
use tower::BoxError;
use tower_websocket::{Connections, session::Drain};

/// Serves until Ctrl-C; then takes nobody any more, and closes who is there. A second Ctrl-C does not wait
/// for them.
pub(crate) async fn until_ctrl_c<E: Into<BoxError>>(
    server: impl Future<Output = Result<(), E>>,
    connections: &Connections,
) -> Result<(), BoxError> {
    select! {
        served = server => return served.map_err(Into::into),
        () = ctrl_c() => {}
    }
    // The server is dropped here, and does not listen any more.
    println!("closing {} WebSockets", connections.len());
    let drain = Drain::default().timeout(Duration::from_secs(10));
    select! {
        drained = connections.drain(drain) => println!("{} ended, {} aborted", drained.ended, drained.aborted),
        () = ctrl_c() => println!("{} are left", connections.len()),
    }
    Ok(())
}

async fn ctrl_c() {
    if signal::ctrl_c().await.is_err() {
        eprintln!("no Ctrl-C here: the server will not stop by itself");
        pending().await
    }
}
