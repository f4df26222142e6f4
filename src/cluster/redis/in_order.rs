//! What a connection has not answered.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::task::unconstrained;

/// Futures of which each waits for an answer; the answers come in the order of the questions.
pub(super) struct InOrder<T>(VecDeque<Question<T>>);

enum Question<T> {
    Asked(Pin<Box<dyn Future<Output = T> + Send>>),
    Answered(T),
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> InOrder<T> {
    /// Asks: polls the future once, which puts it behind those before it on the way to the engine.
    ///
    /// Several that are polled for the first time by chance are sent by chance. A future that had no
    /// more budget would not be sent at all: hence without one.
    pub(super) async fn ask(&mut self, future: impl Future<Output = T> + Send + 'static) {
        let mut future: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(unconstrained(future));
        let first = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        self.0.push_back(match first {
            Poll::Ready(answer) => Question::Answered(answer),
            Poll::Pending => Question::Asked(future),
        });
    }

    /// Takes the next answer. Pending for ever while nothing is asked.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(Question::Asked(future)) = self.0.front_mut() {
            let answer = ready!(future.as_mut().poll(cx));
            self.0.pop_front();
            return Poll::Ready(answer);
        }
        match self.0.pop_front() {
            Some(Question::Answered(answer)) => Poll::Ready(answer),
            _ => Poll::Pending,
        }
    }

    /// Reports whether all is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
