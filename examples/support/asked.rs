//! What asks a program to stop: Ctrl-C in a terminal, and SIGTERM, which systemd, Kubernetes and `kill` send.

use std::{future::pending, io};

use tokio::{select, signal};

/// Waits until the program is asked to stop. A later call waits for the next time.
pub(crate) async fn to_stop() {
    select! {
        () = heard(signal::ctrl_c()) => {}
        () = heard(terminated()) => {}
    }
}

/// Waits for a signal, forever if the system cannot deliver it.
async fn heard(signal: impl Future<Output = io::Result<()>>) {
    if let Err(error) = signal.await {
        eprintln!("a signal that asks to stop will not be heard: {error}");
        pending().await
    }
}

#[cfg(unix)]
async fn terminated() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}

/// Elsewhere there is no SIGTERM.
#[cfg(not(unix))]
async fn terminated() -> io::Result<()> {
    pending().await
}
