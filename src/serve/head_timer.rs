//! The timer that hyper waits with for the head of an HTTP/1.1 request.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant as StdInstant},
};

use hyper::rt::{Sleep, Timer};
use tokio::time::Instant;

use super::line::Line;

/// The timer that shows when hyper waits for the head of an HTTP/1.1 request.
pub(super) struct HeadTimer(pub(super) Arc<Line>);

impl HeadTimer {
    /// hyper's deadline, which is none.
    pub(super) const TIMEOUT: Duration = Duration::ZERO;
}

impl Timer for HeadTimer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now())
    }

    fn sleep_until(&self, _: StdInstant) -> Pin<Box<dyn Sleep>> {
        self.0.head_awaited();
        Box::pin(HeadWait(self.0.clone()))
    }

    fn now(&self) -> StdInstant {
        Instant::now().into_std()
    }

    fn reset(&self, _: &mut Pin<Box<dyn Sleep>>, _: StdInstant) {}
}

/// Lives while a head is waited for.
struct HeadWait(Arc<Line>);

impl Future for HeadWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for HeadWait {}

impl Drop for HeadWait {
    fn drop(&mut self) {
        self.0.head_came();
    }
}
