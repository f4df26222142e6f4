//! How many connections a server takes.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::Instant};

use crate::service::ServerPermit;

/// The places for connections, if they are limited.
pub(super) struct Capacity {
    places: Option<Arc<Semaphore>>,
    /// When it was last said that nothing is left.
    told: Option<Instant>,
}

impl Capacity {
    pub(super) fn new(max: Option<usize>) -> Self {
        let max = max.map(|max| max.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            places: max.map(|max| Arc::new(Semaphore::new(max))),
            told: None,
        }
    }

    /// Waits for a place.
    pub(super) async fn wait(&mut self) -> Option<ServerPermit> {
        let places = self.places.clone()?;
        let Ok(permit) = places.clone().try_acquire_owned() else {
            if self.may_tell(Instant::now()) {
                tracing::warn!(
                    "as many connections are open as there may be: nothing is accepted (told once a minute)"
                );
            }
            let permit = places.acquire_owned().await;
            // Nobody closes it.
            return permit.ok().map(ServerPermit::new);
        };
        Some(ServerPermit::new(permit))
    }

    /// Reports whether it is time to say that nothing is left: at its limit, a server is full after every
    /// connection that ends.
    fn may_tell(&mut self, now: Instant) -> bool {
        let told = self.told;
        if told.is_some_and(|told| now.duration_since(told) < TELL_INTERVAL) {
            return false;
        }
        self.told = Some(now);
        true
    }
}

const TELL_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_server_says_so_once_a_minute() {
        let (mut capacity, start) = (Capacity::new(Some(1)), Instant::now());
        let told = |seconds| capacity.may_tell(start + Duration::from_secs(seconds));
        let seconds = [0, 1, 59, 60, 61, 119, 500];
        let told = seconds.map(told);
        assert_eq!(told, [true, false, false, true, false, false, true]);
    }
}
