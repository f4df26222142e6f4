//! What the phases of connecting may take.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::error::{ConnectError, Phase};

/// When a phase has taken too long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    phase: Phase,
    until: Option<Instant>,
}

impl Deadline {
    /// Begins a phase.
    pub(super) fn of(phase: Phase, limit: Option<Duration>) -> Self {
        // What is later than time itself is never.
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        Self { phase, until }
    }

    pub(super) async fn limit<T>(
        self,
        work: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let Some(until) = self.until else {
            return work.await;
        };
        let result = timeout_at(until, work).await;
        result.unwrap_or(Err(ConnectError::Timeout(self.phase)))
    }

    pub(super) fn until(self) -> Option<Instant> {
        self.until
    }
}
