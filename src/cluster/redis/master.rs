//! Both connections to one of the masters of a cluster.

use std::{
    collections::HashSet,
    mem,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    connect::Access,
    publisher::{Answered, Publisher},
    spelling::Spelling,
    standing::Standing,
    subscriber::{Subscribed, Subscriber},
    url::Server,
};
use crate::cluster::{backplane::BackplaneError, line::Inlet, topic::Topic};

/// Both connections to a master; each is made again when it is gone.
pub(super) struct Master {
    pub(super) server: Server,
    pub(super) publisher: Standing<Publisher>,
    pub(super) subscriber: Standing<Subscriber>,
    /// What is subscribed, or asked for.
    pub(super) topics: HashSet<Topic>,
    access: Access,
    inlet: Inlet,
    /// The connection that publishes was given up for want of answers.
    late: bool,
    pinged: Instant,
}

/// What became of something.
pub(super) enum News {
    Answered(Answered),
    Subscribed(Subscribed),
    /// The connection that publishes is there, or cannot be made.
    Publishes(Result<(), BackplaneError>),
    /// The connection that subscribes is there, or cannot be made.
    Subscribes(Result<(), BackplaneError>),
    /// A connection that could not be made cannot be made still.
    StillDown(BackplaneError),
    /// No answer of this subscriber is to be believed. It may receive for a while.
    Forsaken(Box<Subscriber>),
}

impl Master {
    /// Begins to connect.
    pub(super) fn new(server: Server, access: Access, inlet: Inlet) -> Self {
        Self {
            publisher: Standing::awaited(publisher_of(&server, &access)),
            subscriber: Standing::awaited(subscriber_of(&server, &access, &inlet)),
            server,
            topics: HashSet::new(),
            access,
            inlet,
            late: false,
            pinged: Instant::now(),
        }
    }

    /// Returns what happens next.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        let was_down = [self.publisher.is_down(), self.subscriber.is_down()];
        let news = match (self.publisher.poll_made(cx), was_down) {
            (Poll::Ready(Err(error)), [true, _]) => Some(News::StillDown(error)),
            (Poll::Ready(made), _) => Some(News::Publishes(made)),
            (Poll::Pending, _) => match (self.subscriber.poll_made(cx), was_down) {
                (Poll::Ready(Err(error)), [_, true]) => Some(News::StillDown(error)),
                (Poll::Ready(made), _) => Some(News::Subscribes(made)),
                (Poll::Pending, _) => None,
            },
        };
        if let Some(news) = news {
            return Poll::Ready(news);
        }
        if let Some(publisher) = self.publisher.up()
            && let Poll::Ready(answered) = publisher.poll(cx)
        {
            if answered.1.is_err() && publisher.is_idle() {
                self.publisher = match mem::take(&mut self.late) {
                    true => Standing::down(),
                    false => self
                        .publisher
                        .again(publisher_of(&self.server, &self.access)),
                };
            }
            return Poll::Ready(News::Answered(answered));
        }
        let Some(subscriber) = self.subscriber.up() else {
            return Poll::Pending;
        };
        match ready!(subscriber.poll(cx)) {
            Ok(subscribed) => Poll::Ready(News::Subscribed(subscribed)),
            Err(_) => {
                let next = subscriber_of(&self.server, &self.access, &self.inlet);
                self.replace_subscriber(self.subscriber.again(next))
            }
        }
    }

    fn replace_subscriber(&mut self, next: Standing<Subscriber>) -> Poll<News> {
        match mem::replace(&mut self.subscriber, next) {
            Standing::Up(old, _) => Poll::Ready(News::Forsaken(Box::new(old))),
            _ => Poll::Pending,
        }
    }

    /// Keeps the deadlines: what a server leaves unanswered would hold up what is for the others.
    pub(super) async fn tick(&mut self) -> Option<News> {
        let (server, access, inlet) = (&self.server, &self.access, &self.inlet);
        self.publisher.retry(|| publisher_of(server, access));
        self.subscriber
            .retry(|| subscriber_of(server, access, inlet));
        let is_late = |since: Option<Instant>| since.is_some_and(|it| it.elapsed() >= ANSWER);
        if let Some(publisher) = self.publisher.up()
            && is_late(publisher.unanswered_since())
        {
            publisher.give_up();
            self.late = true;
        }
        let subscriber = self.subscriber.up();
        if subscriber.is_some_and(|subscriber| is_late(subscriber.unanswered_since()))
            && let Poll::Ready(news) = self.replace_subscriber(Standing::down())
        {
            return Some(news);
        }
        if self.pinged.elapsed() >= PING {
            self.pinged = Instant::now();
            self.ping().await;
        }
        None
    }

    /// Finds out whether a server is there that nothing is asked of.
    async fn ping(&mut self) {
        if let Some(publisher) = self.publisher.up() {
            publisher.ping().await;
        }
        if let Some(subscriber) = self.subscriber.up() {
            subscriber.ping().await;
        }
    }

    /// Reports whether it is not known yet what can be reached.
    pub(super) fn is_awaited(&self) -> bool {
        self.publisher.is_awaited() || self.subscriber.is_awaited()
    }

    /// Reports whether both connections are there.
    pub(super) fn is_up(&self) -> bool {
        self.publisher.is_up() && self.subscriber.is_up()
    }

    /// Reports whether neither can be made.
    pub(super) fn is_down(&self) -> bool {
        self.publisher.is_down() && self.subscriber.is_down()
    }
}

fn publisher_of(
    server: &Server,
    access: &Access,
) -> impl Future<Output = Result<Publisher, BackplaneError>> + use<> {
    let (server, access) = (server.clone(), access.clone());
    async move { Publisher::connect(&access, &server).await }
}

fn subscriber_of(
    server: &Server,
    access: &Access,
    inlet: &Inlet,
) -> impl Future<Output = Result<Subscriber, BackplaneError>> + use<> {
    let (server, access, inlet) = (server.clone(), access.clone(), inlet.clone());
    async move { Subscriber::connect(&access, &server, inlet, Spelling::Sharded).await }
}

/// How long a server may leave something unanswered.
const ANSWER: Duration = Duration::from_millis(1500);

/// How often a server is asked whether it is there.
const PING: Duration = Duration::from_secs(5);
