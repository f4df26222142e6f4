//! When to stop.

use std::future::pending;

use tokio::{select, signal};

/// Waits for Ctrl-C, or for SIGTERM, with which systemd, Docker and Kubernetes stop a program.
pub(crate) async fn stop() {
    select! {
        Ok(()) = signal::ctrl_c() => {}
        Some(()) = terminate() => {}
        else => pending().await, // there are no such signals here
    }
}

#[cfg(unix)]
async fn terminate() -> Option<()> {
    use signal::unix::{SignalKind, signal};

    signal(SignalKind::terminate()).ok()?.recv().await
}

#[cfg(not(unix))]
async fn terminate() -> Option<()> {
    None
}
