//! From one session to the next.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use http::Response;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{
    Connected, Reconnect,
    setback::{Pause, ReconnectError, Setback},
    stage::{Ended, Stage},
};
use crate::{
    client::settings::Client,
    lock::Lock,
    protocol::{CloseCode, random},
    session::WebSocket,
};

impl Reconnect {
    /// Returns the next session: waits until the last one is over, pauses, and connects as often as it takes.
    ///
    /// It waits for the end of the connection, not for the socket to be dropped: the last messages may still
    /// be received elsewhere. A socket that is dropped has [`Config::close_timeout`](crate::Config::close_timeout)
    /// to end.
    ///
    /// A session that was closed on this side is followed by another one, too. To end, do not call this again.
    ///
    /// It returns `None` if the server has closed with 1000, as the connection has served its purpose. After that,
    /// and after an error, it always returns `None`.
    ///
    /// # Errors
    ///
    /// It has given up: see [`ReconnectError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the next call continues with what it waited for. A connection that is being
    /// made is not driven meanwhile, though its deadlines pass.
    pub async fn next(&mut self) -> Result<Option<Connected>, ReconnectError> {
        poll_fn(|cx| self.poll_session(cx)).await
    }

    /// Ends a pause: the next call of [`next`](Self::next) tries at once.
    ///
    /// Use it if the user asks for it, or when the network is back. It has no effect if there is no pause.
    pub fn skip_pause(&mut self) {
        if let Stage::Pausing(_) = self.stage {
            self.stage = Stage::Due;
        }
    }

    fn poll_session(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Connected>, ReconnectError>> {
        loop {
            let setback = match &mut self.stage {
                Stage::Due => {
                    self.begin();
                    continue;
                }
                Stage::Pausing(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.stage = Stage::Due;
                    continue;
                }
                Stage::Connecting(connecting, _) => match ready!(connecting.as_mut().poll(cx)) {
                    Ok(response) => return Poll::Ready(Ok(Some(self.connected(response)))),
                    Err(error) => Setback::Failed(error),
                },
                Stage::Open(ended) => match ready!(Pin::new(ended).poll(cx)) {
                    Ok(report) => Setback::Ended(report),
                    // Every session reports, also one whose runtime ends: there is none.
                    Err(_) => {
                        self.stage = Stage::Over;
                        continue;
                    }
                },
                Stage::Unusable(_) | Stage::Over => match self.stage.take() {
                    Stage::Unusable(error) => Setback::Failed(error),
                    _ => return Poll::Ready(Ok(None)),
                },
            };
            if !self.set_back(setback)? {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Begins a try.
    fn begin(&mut self) {
        // A hook that panics ends it.
        self.stage = Stage::Over;
        self.tries = self.tries.saturating_add(1);
        self.since.get_or_insert_with(Instant::now);
        if let Some(prepare) = &mut self.prepare {
            prepare(&mut self.request);
        }
        let (client, ended) = reporting(&self.client);
        let connecting = (self.connect)(client, self.request.clone());
        self.stage = Stage::Connecting(connecting, ended);
    }

    /// Gives a session to the application.
    fn connected(&mut self, response: Response<WebSocket>) -> Connected {
        if let Stage::Connecting(_, ended) = self.stage.take() {
            self.stage = Stage::Open(ended);
        }
        let (head, socket) = response.into_parts();
        Connected {
            socket,
            response: Response::from_parts(head, ()),
            tries: self.tries,
            lost: self.lost.take(),
            away: self
                .since
                .take()
                .map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    /// Takes a setback; returns whether it goes on, after a pause.
    fn set_back(&mut self, setback: Setback) -> Result<bool, ReconnectError> {
        self.stage = Stage::Over;
        if let Setback::Ended(report) = &setback {
            self.lost = Some(report.clone());
            self.since = Some(Instant::now());
            if report.duration >= self.pace.stable_after {
                self.tries = 0;
            }
        }
        let too_often = self.max_tries.is_some_and(|max| self.tries >= max);
        if setback.is_unusable() || (self.give_up_on)(&setback) {
            return match setback.close_code() {
                Some(CloseCode::NORMAL) => Ok(false),
                _ => Err(ReconnectError::new(setback, self.tries)),
            };
        }
        if too_often {
            return Err(ReconnectError::new(setback, self.tries));
        }
        let random = u32::from_ne_bytes(random());
        let pause = Pause {
            setback: &setback,
            tries: self.tries,
            delay: self.pace.delay(&setback, self.tries, random),
        };
        tracing::debug!(setback = %setback, tries = pause.tries, delay = ?pause.delay, "websocket client pauses");
        if let Some(hook) = &mut self.on_pause {
            hook(&pause);
        }
        self.stage = Stage::Pausing(Box::pin(sleep(pause.delay)));
        Ok(true)
    }
}

impl Stage {
    /// Leaves the end.
    fn take(&mut self) -> Self {
        mem::replace(self, Self::Over)
    }
}

impl Stream for Reconnect {
    type Item = Result<Connected, ReconnectError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_session(cx).map(Result::transpose)
    }
}

/// Returns the client for one session, which tells how that ends.
fn reporting(client: &Client) -> (Client, Ended) {
    let (tell, ended) = oneshot::channel();
    let tell = Lock::new(Some(tell));
    let mut client = client.clone();
    let setup = Arc::make_mut(&mut client.setup);
    let hook = setup.on_end.take();
    setup.on_end = Some(Arc::new(move |report| {
        let tell = tell.lock().take();
        if let Some(tell) = tell {
            // Nobody may wait any more.
            let _gone = tell.send(report.clone());
        }
        if let Some(hook) = &hook {
            hook(report);
        }
    }));
    (client, ended)
}
