//! What is subscribed.

use std::{
    collections::{VecDeque, hash_map::IntoIter},
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use async_nats::{Client, SubscribeError, Subscriber};
use futures_core::Stream;
use tokio::{
    runtime::Handle,
    task::{unconstrained, yield_now},
};

use super::{
    bells::{Bell, Bells},
    subject,
};
use crate::cluster::{
    line::Inlet,
    spelling::{Spelled, Spelling},
    topic::Topic,
    topic_map::TopicMap,
};

/// The topics that are subscribed, all looked after by one task: with one for each, the end of a connection
/// would wake them all, and whatever else the runtime has to do would wait behind them.
#[derive(Debug)]
pub(super) struct Topics {
    inlet: Inlet,
    subscribed: TopicMap<Subscription>,
    bells: Bells,
    /// To be subscribed.
    waiting: VecDeque<Topic>,
    pace: Pace,
}

#[derive(Debug)]
struct Subscription {
    subscriber: Subscriber,
    bell: Arc<Bell>,
}

/// How fast topics are subscribed.
///
/// What is refused is told by events, and the client drops those that are too many at a time. So where that may
/// have happened all is asked again, a few at a time. That there are too many subscriptions is told without their
/// subjects; so then fewer and fewer are asked for, until it is one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pace {
    /// As many as the core asks for.
    Fast,
    /// So few that no event is dropped if all are refused.
    Careful,
    /// No more than so many, and nothing more before that is answered.
    Few(usize),
}

impl Topics {
    pub(super) fn new(inlet: Inlet) -> Self {
        Self {
            inlet,
            subscribed: TopicMap::default(),
            bells: Bells::default(),
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
        if self.pace == Pace::Fast {
            self.pace = Pace::Careful;
        }
    }

    /// Reports whether what is refused may be more than is heard of.
    pub(super) fn is_fast(&self) -> bool {
        self.pace == Pace::Fast
    }

    /// Reports whether a topic is to be subscribed.
    pub(super) fn waits_for(&self, topic: &Topic) -> bool {
        self.waiting.contains(topic)
    }

    /// Gives up all that was asked for and is not answered, as at least one of it was one too many, and has
    /// it subscribed again, fewer at a time. Returns what is denied: it was one, so there is no room for what
    /// waits either.
    pub(super) fn ask_fewer(&mut self, asked: Vec<Topic>) -> Vec<Topic> {
        let asked = asked.iter();
        let asked: Vec<_> = asked
            .filter_map(|topic| self.unsubscribe(topic.as_bytes()))
            .collect();
        match asked.len() {
            0 => return Vec::new(),
            1 => self.pace = Pace::Few(1),
            len => self.pace = Pace::Few((len / 2).min(CAREFUL_TOPICS)),
        }
        let is_one = asked.len() == 1;
        // In front, as what is asked for first matters most: the topics of the node itself.
        let behind = mem::replace(&mut self.waiting, asked.into());
        self.waiting.extend(behind);
        if is_one {
            mem::take(&mut self.waiting).into()
        } else {
            Vec::new()
        }
    }

    /// Notes that the server took all that it was asked for.
    pub(super) fn taken(&mut self) {
        if let Pace::Few(most) = &mut self.pace {
            *most = (*most * 2).min(CAREFUL_TOPICS);
        }
    }

    /// Reports whether more may be subscribed, while so many questions about it are unanswered.
    pub(super) fn may_go_on(&self, unanswered: usize) -> bool {
        let most = match self.pace {
            Pace::Fast => usize::MAX,
            Pace::Careful => CAREFUL_QUESTIONS,
            Pace::Few(_) => 1,
        };
        !self.waiting.is_empty() && unanswered < most
    }

    /// Subscribes to some of what is to be subscribed, and returns it.
    pub(super) async fn subscribe_some(
        &mut self,
        client: &Client,
    ) -> Result<Vec<Topic>, SubscribeError> {
        let most = match self.pace {
            Pace::Fast => usize::MAX,
            Pace::Careful => CAREFUL_TOPICS,
            Pace::Few(most) => most,
        };
        let some = self.waiting.len().min(most);
        let topics: Vec<_> = self.waiting.drain(..some).collect();
        for topic in &topics {
            let subscriber = client.subscribe(subject::spell(topic)).await?;
            let bell = self.bells.bell(topic);
            let subscription = Subscription {
                subscriber,
                bell: bell.clone(),
            };
            self.subscribed.insert(topic.clone(), subscription);
            // So that it is looked at for the first time.
            bell.wake();
        }
        Ok(topics)
    }

    /// Gives a subscription up; returns its topic if there was one.
    pub(super) fn unsubscribe(&mut self, topic: &[u8]) -> Option<Topic> {
        let spelling = Spelling::new(topic);
        // The subscriber unsubscribes when it is dropped.
        let (topic, _) = self.subscribed.remove_entry(&spelling as &dyn Spelled)?;
        Some(topic)
    }

    /// Reports whether a topic is subscribed, or the server has not said otherwise.
    pub(super) fn has(&self, topic: &Topic) -> bool {
        self.subscribed.contains_key(topic)
    }

    /// Hands in what comes, for ever.
    pub(super) async fn receive(&mut self) {
        // It bounds what it does by itself.
        unconstrained(poll_fn(|cx| self.poll_receive(cx))).await;
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut left = IN_A_ROW;
        while left > 0 {
            let Some(bell) = self.bells.next(cx.waker()) else {
                return Poll::Pending;
            };
            left = self.receive_of(bell, left - 1);
        }
        // Others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hands in what a subscription has, no more than so much, and returns how much more may be.
    fn receive_of(&mut self, bell: Arc<Bell>, most: usize) -> usize {
        let subscription = self.subscribed.get_mut(bell.topic());
        let Some(subscription) = subscription.filter(|its| Arc::ptr_eq(&its.bell, &bell)) else {
            return most;
        };
        let waker = Waker::from(bell.clone());
        let mut cx = Context::from_waker(&waker);
        for left in (0..most).rev() {
            match Pin::new(&mut subscription.subscriber).poll_next(&mut cx) {
                Poll::Ready(Some(message)) => {
                    self.inlet.receive(bell.topic().as_bytes(), message.payload);
                }
                // Nothing more, or the connection is gone.
                Poll::Ready(None) | Poll::Pending => return left,
            }
        }
        bell.wake();
        0
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        let former = mem::take(&mut self.subscribed).into_iter();
        // Soon: the client keeps the connection open, and reads, until the last of them is gone.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(drop_all(former));
        }
    }
}

/// Drops subscriptions of a connection that is gone, a few at a time: to drop 20,000 of them at once takes
/// as long as others should not have to wait.
async fn drop_all(mut former: IntoIter<Topic, Subscription>) {
    while former.len() > 0 {
        former.by_ref().take(IN_A_ROW).for_each(drop);
        yield_now().await;
    }
}

/// Waits for the next message, or `None`: the connection is gone.
pub(super) async fn next(subscriber: &mut Subscriber) -> Option<async_nats::Message> {
    poll_fn(|cx| Pin::new(&mut *subscriber).poll_next(cx)).await
}

/// How much that is heard besides is so much that some of it may have been dropped: the client keeps 128 events.
pub(super) const TOO_MUCH: u64 = 96;

/// How many messages are handed in in a row, and subscriptions dropped.
const IN_A_ROW: usize = 64;

/// How many topics are subscribed with one question, with care.
const CAREFUL_TOPICS: usize = 40;

/// How many questions about subscriptions are unanswered, with care.
const CAREFUL_QUESTIONS: usize = 2;
