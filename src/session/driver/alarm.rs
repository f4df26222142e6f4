//! The one sleep of a session.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;
use tokio::time::{self, Sleep, sleep};

pin_project! {
    /// Wakes the session for the earliest of its deadlines.
    ///
    /// It is left alone while that only moves away: waking once too often costs less than setting
    /// the sleep for every message.
    pub(crate) struct Alarm {
        #[pin]
        sleep: Sleep,
    }
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self {
            sleep: sleep(NEVER),
        }
    }

    /// Reports whether the time that it was set to has come, and no other was set since.
    pub(super) fn is_due(&self) -> bool {
        self.sleep.is_elapsed()
    }

    /// Wakes the session at `deadline` or before; reports whether that lies ahead.
    pub(super) fn set(self: Pin<&mut Self>, cx: &mut Context<'_>, deadline: Instant) -> bool {
        let mut sleep = self.project().sleep;
        let deadline = time::Instant::from_std(deadline);
        if !sleep.is_elapsed() && deadline >= sleep.deadline() {
            return true;
        }
        sleep.as_mut().reset(deadline);
        sleep.poll(cx) == Poll::Pending
    }
}

/// Later than any deadline: what it is set to at first, without being asked to wake anybody.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
