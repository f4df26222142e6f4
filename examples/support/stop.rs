//! A server that says goodbye: on Ctrl-C or SIGTERM it closes every WebSocket with 1001 before it ends.
//!
//! The example `graceful_shutdown` shows it with plain requests that are finished, too, and `serve` the
//! server that does all of it by itself.

#[path = "asked.rs"]
mod asked;

use std::time::Duration;

use tokio::select;
use tower::BoxError;
use tower_websocket::{Connections, session::Drain};

/// Serves until the program is asked to stop. Then it accepts no more connections, and closes those that are open.
/// Asked a second time, it does not wait for them.
pub(crate) async fn until_asked<E: Into<BoxError>>(
    server: impl Future<Output = Result<(), E>>,
    connections: &Connections,
) -> Result<(), BoxError> {
    select! {
        served = server => return served.map_err(Into::into),
        () = asked::to_stop() => {}
    }
    // The server is dropped here, and does not listen any more.
    println!("closing {} WebSockets", connections.len());
    let drain = Drain::default().timeout(Duration::from_secs(10));
    select! {
        drained = connections.drain(drain) => println!("{} ended, {} aborted", drained.ended, drained.aborted),
        () = asked::to_stop() => println!("{} are left", connections.len()),
    }
    Ok(())
}
