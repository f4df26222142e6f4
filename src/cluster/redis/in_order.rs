//! What a connection has not answered.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{task::unconstrained, time::Instant};

/// Futures of which each waits for an answer; the answers come in the order of the questions.
pub(super) struct InOrder<T> {
    questions: VecDeque<(Instant, Question<T>)>,
    last_answer: Option<Instant>,
}

enum Question<T> {
    Asked(Pin<Box<dyn Future<Output = T> + Send>>),
    Answered(T),
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self {
            questions: VecDeque::new(),
            last_answer: None,
        }
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
        let question = match first {
            Poll::Ready(answer) => Question::Answered(answer),
            Poll::Pending => Question::Asked(future),
        };
        self.questions.push_back((Instant::now(), question));
    }

    /// Takes the next answer. Pending for ever while nothing is asked.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let Some((_, question)) = self.questions.front_mut() else {
            return Poll::Pending;
        };
        if let Question::Asked(future) = question {
            *question = Question::Answered(ready!(future.as_mut().poll(cx)));
        }
        match self.questions.pop_front() {
            Some((_, Question::Answered(answer))) => {
                self.last_answer = Some(Instant::now());
                Poll::Ready(answer)
            }
            _ => Poll::Pending,
        }
    }

    /// Returns since when an answer is missing: since the oldest question, or the last answer.
    pub(super) fn since(&self) -> Option<Instant> {
        let (since, _) = self.questions.front()?;
        Some(self.last_answer.map_or(*since, |last| last.max(*since)))
    }

    /// Reports whether all is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn each_is_sent_when_it_is_asked_even_without_budget_and_answered_in_its_turn() {
        let (sent, mut questions) = (Arc::<Mutex<Vec<u32>>>::default(), InOrder::default());
        let mut answers = Vec::new();
        for number in 0..500 {
            let (answer, answered) = tokio::sync::oneshot::channel();
            answers.push(answer);
            let sent = sent.clone();
            questions
                .ask(async move {
                    // It takes some of the budget, of which a task has 128.
                    tokio::task::consume_budget().await;
                    sent.lock().unwrap().push(number);
                    answered.await
                })
                .await;
        }
        assert_eq!(*sent.lock().unwrap(), (0..500).collect::<Vec<_>>());
        // Whichever is answered first.
        for (number, answer) in answers.into_iter().enumerate().rev() {
            answer.send(number).unwrap();
        }
        for number in 0..500 {
            assert_eq!(poll_fn(|cx| questions.poll(cx)).await, Ok(number));
        }
        assert!(questions.is_empty() && questions.since().is_none());
    }
}
