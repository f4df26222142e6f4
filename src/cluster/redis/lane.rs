//! Both connections to one server, and what a line does with them.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use ::redis::{Cmd, ServerError, Value};
use tracing::warn;

use super::{
    connect::Access,
    entries, fault,
    publisher::{self, Answered, Batch, Publisher},
    spelling::Spelling,
    streams::{Bookmarks, Reader},
    subscriber::{Subscribed, Subscriber},
    url::Server,
};
use crate::cluster::{
    backplane::{BackplaneError, Command, Lost, Publish},
    line::Line,
    topic::Topic,
};

/// Both connections to one server: never one for both, since a server cuts off a slow subscriber.
pub(super) struct Lane {
    server: Server,
    publisher: Publisher,
    /// How an envelope is published.
    command: fn(&Publish) -> Cmd,
    listener: Listener,
    leaving: bool,
    /// That something was refused is logged once a connection.
    warned: bool,
}

/// The connection by which something comes.
enum Listener {
    Subscriber(Subscriber),
    Reader(Reader),
}

impl Listener {
    async fn subscribe(&mut self, topics: Vec<Topic>) {
        match self {
            Self::Subscriber(subscriber) => subscriber.subscribe(topics).await,
            Self::Reader(reader) => reader.subscribe(topics),
        }
    }

    async fn unsubscribe(&mut self, topics: Vec<Topic>) {
        match self {
            Self::Subscriber(subscriber) => subscriber.unsubscribe(topics).await,
            // It reads all, whatever is wanted.
            Self::Reader(_) => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Subscribed, BackplaneError>> {
        match self {
            Self::Subscriber(subscriber) => subscriber.poll(cx),
            Self::Reader(reader) => reader.poll(cx),
        }
    }
}

/// What happens next.
enum Next {
    Command(Command),
    Answered(Answered),
    Subscribed(Subscribed),
    Left,
}

impl Lane {
    pub(super) async fn connect(
        access: &Access,
        server: &Server,
        line: &Line,
    ) -> Result<Self, BackplaneError> {
        let publisher = Publisher::connect(access, server).await?;
        let inlet = line.inlet();
        let subscriber = Subscriber::connect(access, server, inlet, Spelling::Plain).await?;
        let listener = Listener::Subscriber(subscriber);
        Ok(Self::new(server, publisher, publisher::publish, listener))
    }

    /// Connects for streams in place of channels.
    pub(super) async fn connect_streams(
        access: &Access,
        server: &Server,
        line: &mut Line,
        bookmarks: &Bookmarks,
    ) -> Result<Self, BackplaneError> {
        let publisher = Publisher::connect(access, server).await?;
        let own = line.own_topic();
        let reader = Reader::connect(access, server, line.inlet(), &own, bookmarks).await?;
        let listener = Listener::Reader(reader);
        Ok(Self::new(server, publisher, entries::publish, listener))
    }

    fn new(
        server: &Server,
        publisher: Publisher,
        command: fn(&Publish) -> Cmd,
        listener: Listener,
    ) -> Self {
        Self {
            server: server.clone(),
            publisher,
            command,
            listener,
            leaving: false,
            warned: false,
        }
    }

    /// Serves the line until a connection breaks, or the node has left.
    pub(super) async fn serve(mut self, line: &mut Line) -> Result<(), BackplaneError> {
        line.connected();
        loop {
            match self.next(line).await? {
                Next::Command(Command::Publish(first)) => self.publish(first, line).await,
                Next::Command(Command::Subscribe(topics)) => {
                    self.listener.subscribe(topics).await;
                }
                Next::Command(Command::Unsubscribe(topics)) => {
                    self.listener.unsubscribe(topics).await;
                }
                Next::Command(Command::Leave) => self.leaving = true,
                Next::Answered((publishes, answers)) => self.answer(&publishes, &answers?, line),
                Next::Subscribed(subscribed) => self.subscribed(subscribed, line),
                Next::Left => return Ok(()),
            }
        }
    }

    async fn next(&mut self, line: &mut Line) -> Result<Next, BackplaneError> {
        let mut command = pin!(line.next());
        let next = poll_fn(|cx| {
            if let Poll::Ready(answered) = self.publisher.poll(cx) {
                return Poll::Ready(Ok(Next::Answered(answered)));
            }
            if let Poll::Ready(subscribed) = self.listener.poll(cx) {
                return Poll::Ready(subscribed.map(Next::Subscribed));
            }
            if !self.leaving {
                return command
                    .as_mut()
                    .poll(cx)
                    .map(|command| Ok(Next::Command(command)));
            }
            match self.publisher.is_idle() {
                true => Poll::Ready(Ok(Next::Left)),
                false => Poll::Pending,
            }
        });
        next.await
    }

    /// Publishes the whole of a batch.
    async fn publish(&mut self, first: Publish, line: &mut Line) {
        let mut batch = Batch::new(self.command);
        batch.push(first);
        while let Some(Command::Publish(publish)) = line.try_next() {
            batch.push(publish);
        }
        self.publisher.send(batch).await;
    }

    fn answer(&mut self, publishes: &[Publish], answers: &[Value], line: &mut Line) {
        let results = answers.iter().map(|answer| match answer {
            Value::ServerError(error) => {
                self.warn("publish", error);
                Err(fault::refused(&self.server, error))
            }
            _ => Ok(()),
        });
        let tickets = publishes.iter().map(Publish::ticket);
        // Made before the lock is taken.
        let answers: Vec<_> = tickets.zip(results).collect();
        line.all_published(answers);
    }

    fn subscribed(&mut self, subscribed: Subscribed, line: &mut Line) {
        if let Some((_, error)) = subscribed.refused.first() {
            self.warn("subscribe", error);
        }
        line.subscribed(&subscribed.topics);
        let refused = subscribed.refused.into_iter().map(|(topic, _)| topic);
        line.unsubscribed(&refused.collect::<Vec<_>>(), Lost::Denied);
    }

    fn warn(&mut self, what: &str, error: &ServerError) {
        if !self.warned {
            self.warned = true;
            let error = fault::server_words(error);
            warn!(server = %self.server, error, "Redis refused to {what}: see `scaling#engines`");
        }
    }
}
