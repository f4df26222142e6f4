//! How long the phases of connecting may take.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{error::ConnectError, phase::Phase};

/// The instant at which a phase has taken too long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    phase: Phase,
    until: Option<Instant>,
}

impl Deadline {
    /// Begins a phase.
    pub(super) fn of(phase: Phase, limit: Option<Duration>) -> Self {
        // An instant beyond what the clock can say is never reached.
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        Self { phase, until }
    }

    /// Goes on with another phase, within the same time.
    pub(super) fn then(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    /// Runs `work`, or fails with the phase's timeout.
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

    /// Returns when that is, if there is a limit.
    pub(super) fn until(self) -> Option<Instant> {
        self.until
    }
}
