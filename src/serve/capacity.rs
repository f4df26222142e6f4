//! How many connections a server takes.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::service::ServerPermit;

/// The places for connections, if they are limited.
pub(super) struct Capacity {
    places: Option<Arc<Semaphore>>,
    /// Nothing was left the last time.
    full: bool,
}

impl Capacity {
    pub(super) fn new(max: Option<usize>) -> Self {
        let max = max.map(|max| max.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            places: max.map(|max| Arc::new(Semaphore::new(max))),
            full: false,
        }
    }

    /// Waits for a place.
    pub(super) async fn wait(&mut self) -> Option<ServerPermit> {
        let places = self.places.as_ref()?;
        let Ok(permit) = places.clone().try_acquire_owned() else {
            if !self.full {
                tracing::warn!("as many connections are open as there may be: nothing is accepted");
            }
            self.full = true;
            let permit = places.clone().acquire_owned().await;
            // Nobody closes it.
            return permit.ok().map(ServerPermit::new);
        };
        self.full = false;
        Some(ServerPermit::new(permit))
    }
}
