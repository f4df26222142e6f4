//! A connection that is made again when it is gone.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout};

use crate::cluster::backplane::BackplaneError;

/// A connection to one of several servers.
pub(super) enum Standing<T> {
    /// It is being made: what is for it waits.
    Awaited(Making<T>),
    /// It is there, since some time.
    Up(T, Instant),
    /// It could not be made, and is tried again from time to time: nothing waits for it.
    Down {
        retry: Instant,
        making: Option<Making<T>>,
    },
}

type Making<T> = Pin<Box<dyn Future<Output = Result<T, BackplaneError>> + Send>>;

impl<T: Send + 'static> Standing<T> {
    /// Has it made; what is for it waits, but not for long.
    pub(super) fn awaited(
        making: impl Future<Output = Result<T, BackplaneError>> + Send + 'static,
    ) -> Self {
        Self::Awaited(Box::pin(limited(making)))
    }

    /// Has it made again, since it broke; what is for it waits. One that was made just now may break
    /// each time: it waits a little, too.
    pub(super) fn again(
        &self,
        making: impl Future<Output = Result<T, BackplaneError>> + Send + 'static,
    ) -> Self {
        let Self::Up(_, since) = *self else {
            return Self::awaited(making);
        };
        Self::Awaited(Box::pin(async move {
            sleep_until(since + PAUSE).await;
            limited(making).await
        }))
    }

    /// Gives it up for a while.
    pub(super) fn down() -> Self {
        Self::Down {
            retry: Instant::now() + PAUSE,
            making: None,
        }
    }

    pub(super) fn up(&mut self) -> Option<&mut T> {
        match self {
            Self::Up(connection, _) => Some(connection),
            _ => None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self, Self::Up(..))
    }

    pub(super) fn is_awaited(&self) -> bool {
        matches!(self, Self::Awaited(_))
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self, Self::Down { .. })
    }

    /// Begins to make it again, if it is time to.
    pub(super) fn retry<F>(&mut self, make: impl FnOnce() -> F)
    where
        F: Future<Output = Result<T, BackplaneError>> + Send + 'static,
    {
        if let Self::Down {
            retry,
            making: making @ None,
        } = self
            && *retry <= Instant::now()
        {
            *making = Some(Box::pin(limited(make())));
        }
    }

    /// Waits until it is made, or cannot be. Pending for ever while it is not being made.
    pub(super) fn poll_made(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BackplaneError>> {
        let made = match self {
            Self::Awaited(making)
            | Self::Down {
                making: Some(making),
                ..
            } => {
                ready!(making.as_mut().poll(cx))
            }
            Self::Up(..) | Self::Down { making: None, .. } => return Poll::Pending,
        };
        let (standing, result) = match made {
            Ok(connection) => (Self::Up(connection, Instant::now()), Ok(())),
            Err(error) => (Self::down(), Err(error)),
        };
        *self = standing;
        Poll::Ready(result)
    }
}

async fn limited<T>(
    making: impl Future<Output = Result<T, BackplaneError>>,
) -> Result<T, BackplaneError> {
    let late = |_| BackplaneError::connect("a server of the cluster is silent");
    timeout(MAKE, making).await.map_err(late)?
}

/// How long it may take to connect to one of several servers: what is for it waits meanwhile, and holds
/// up others.
pub(super) const MAKE: Duration = Duration::from_secs(1);

/// After how long it is tried again, and how seldom it is made.
const PAUSE: Duration = Duration::from_millis(500);
