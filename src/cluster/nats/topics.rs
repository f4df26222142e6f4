//! What is subscribed.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    pin::Pin,
};

use async_nats::{Client, SubscribeError, Subscriber};
use futures_core::Stream;
use tokio::task::{AbortHandle, JoinSet};

use super::subject;
use crate::cluster::{
    line::Inlet,
    spelling::{Spelled, Spelling},
    topic::Topic,
};

/// The topics that are subscribed, each with a task that hands in what comes: one that looked at all of
/// them would look at each for every message.
#[derive(Debug)]
pub(super) struct Topics {
    inlet: Inlet,
    tasks: JoinSet<()>,
    subscribed: HashMap<Topic, AbortHandle>,
    /// To be subscribed.
    waiting: VecDeque<Topic>,
    pace: Pace,
}

/// How fast topics are subscribed.
///
/// What is refused is told by events, and the client drops those that are too many at a time. So where that may
/// have happened all is asked again, a few at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pace {
    /// As many as the core asks for.
    Fast,
    /// So few that no event is dropped if all are refused.
    Careful,
}

impl Topics {
    pub(super) fn new(inlet: Inlet) -> Self {
        Self {
            inlet,
            tasks: JoinSet::new(),
            subscribed: HashMap::new(),
            waiting: VecDeque::new(),
            pace: Pace::Fast,
        }
    }

    /// Notes what is to be subscribed.
    pub(super) fn want(&mut self, topics: Vec<Topic>) {
        self.waiting.extend(topics);
    }

    /// Has these subscribed again, and all from now on with care: some may have been refused unheard.
    pub(super) fn doubt(&mut self, topics: Vec<Topic>) {
        self.waiting.extend(topics);
        self.pace = Pace::Careful;
    }

    /// Reports whether more may be subscribed, while so many questions about it are unanswered.
    pub(super) fn may_go_on(&self, unanswered: usize) -> bool {
        !self.waiting.is_empty() && (self.pace == Pace::Fast || unanswered < CAREFUL_QUESTIONS)
    }

    /// Subscribes to some of what is to be subscribed, and returns it.
    pub(super) async fn subscribe_some(
        &mut self,
        client: &Client,
    ) -> Result<Vec<Topic>, SubscribeError> {
        let most = match self.pace {
            Pace::Fast => usize::MAX,
            Pace::Careful => CAREFUL_TOPICS,
        };
        let some = self.waiting.len().min(most);
        let topics: Vec<_> = self.waiting.drain(..some).collect();
        for topic in &topics {
            let subscriber = client.subscribe(subject::spell(topic)).await?;
            let receiving = receive(subscriber, topic.clone(), self.inlet.clone());
            let task = self.tasks.spawn(receiving);
            if let Some(former) = self.subscribed.insert(topic.clone(), task) {
                former.abort();
            }
        }
        Ok(topics)
    }

    /// Gives a subscription up; returns its topic if there was one.
    pub(super) fn unsubscribe(&mut self, topic: &[u8]) -> Option<Topic> {
        let (topic, task) = self
            .subscribed
            .remove_entry(&Spelling::new(topic) as &dyn Spelled)?;
        // The subscriber unsubscribes when it is dropped.
        task.abort();
        Some(topic)
    }

    /// Reports whether a topic is subscribed, or the server has not said otherwise.
    pub(super) fn has(&self, topic: &Topic) -> bool {
        self.subscribed.contains_key(topic)
    }

    /// Forgets tasks that have ended, for ever.
    pub(super) async fn clear(&mut self) {
        loop {
            if self.tasks.join_next().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Hands in what comes, until the subscription ends.
async fn receive(mut subscriber: Subscriber, topic: Topic, inlet: Inlet) {
    while let Some(message) = next(&mut subscriber).await {
        inlet.receive(topic.as_bytes(), message.payload);
    }
}

/// Waits for the next message, or `None`: the connection is gone.
pub(super) async fn next(subscriber: &mut Subscriber) -> Option<async_nats::Message> {
    poll_fn(|cx| Pin::new(&mut *subscriber).poll_next(cx)).await
}

/// How much that is heard besides is so much that some of it may have been dropped: the client keeps 128 events.
pub(super) const TOO_MUCH: u64 = 96;

/// How many topics are subscribed with one question, with care.
const CAREFUL_TOPICS: usize = 40;

/// How many questions about subscriptions are unanswered, with care.
const CAREFUL_QUESTIONS: usize = 2;
