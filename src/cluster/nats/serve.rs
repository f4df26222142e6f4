//! What is done on a connection.

use std::{fmt, sync::Arc, time::Instant};

use async_nats::{Client, Event, Message, ServerError, Subject};
use bytes::{Bytes, BytesMut};
use tokio::{sync::mpsc, task::yield_now};

use super::{
    connect::{Answers, Connection},
    questions::{Question, Questions, Recent},
    refusal::{Burst, Refusal},
    subject,
    topics::{TOO_MUCH, Topics, next},
};
use crate::cluster::{
    backplane::{BackplaneError, Command, Lost, Publish, Ticket},
    line::Line,
    topic::Topic,
};

/// Serves the line until the node leaves, or the connection is of no more use.
pub(super) async fn serve(
    line: &mut Line,
    connection: Connection,
    has_others: bool,
) -> Result<(), BackplaneError> {
    let Connection {
        client,
        mut events,
        mut replies,
        inbox,
        question,
        answers,
        server,
        ..
    } = connection;
    let topics = Topics::new(line.inlet());
    line.set_max_envelope(client.max_payload());
    line.connected();
    let mut work = Work {
        line,
        topics,
        questions: Questions::default(),
        recent: Recent::default(),
        client,
        inbox,
        question,
        server,
        heard: 0,
        burst: Burst::default(),
        said: None,
        has_others,
    };
    let mut answering = std::pin::pin!(answer(answers));
    loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => {
                work.event(event)?;
                work.subscribe().await?;
            }
            () = &mut answering => return Err(work.broken("the connection that answers is gone")),
            reply = next(&mut replies) => match reply {
                Some(reply) => work.reply(&reply, &mut events).await?,
                None => return Err(work.gone(&mut events).await),
            },
            () = work.topics.receive() => {}
            command = work.line.next() => if !work.command(command).await? {
                return Ok(());
            },
        }
    }
}

/// Answers questions until the connection is gone.
async fn answer(mut answers: Answers) {
    while let Some(question) = next(&mut answers.questions).await {
        if let Some(reply) = question.reply
            && answers.client.publish(reply, Bytes::new()).await.is_err()
        {
            return;
        }
    }
}

/// What is known of a connection.
struct Work<'a> {
    line: &'a mut Line,
    topics: Topics,
    questions: Questions,
    recent: Recent,
    client: Client,
    inbox: String,
    question: Subject,
    server: Arc<str>,
    /// How much was heard besides messages.
    heard: u64,
    /// Subscriptions that are refused at the same time.
    burst: Burst,
    /// What the server said last that may be why it ends the connection.
    said: Option<String>,
    has_others: bool,
}

impl Work<'_> {
    /// Does what the core says; reports whether more may follow.
    async fn command(&mut self, command: Command) -> Result<bool, BackplaneError> {
        match command {
            Command::Publish(publish) => self.publish(publish).await?,
            Command::Subscribe(topics) => {
                self.topics.want(topics);
                self.subscribe().await?;
            }
            Command::Unsubscribe(topics) => {
                for topic in topics {
                    self.topics.unsubscribe(topic.as_bytes());
                }
            }
            Command::Leave => {
                let flushed = self.client.flush().await;
                flushed.map_err(|error| self.broken(&error))?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Publishes a batch.
    async fn publish(&mut self, first: Publish) -> Result<(), BackplaneError> {
        let heard = self.heard;
        let mut batch = Vec::new();
        let mut next = Some(Command::Publish(first));
        while let Some(command) = next {
            let Command::Publish(publish) = command else {
                break;
            };
            batch.extend(self.publish_one(publish).await?);
            next = self.line.try_next();
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.ask(Question::Published { batch, heard }).await
    }

    /// Publishes an envelope, unless the server would end the connection for it.
    async fn publish_one(
        &mut self,
        publish: Publish,
    ) -> Result<Option<(Ticket, Topic)>, BackplaneError> {
        let (head, payload) = (publish.head(), publish.payload());
        let (len, most) = (head.len() + payload.len(), self.client.max_payload());
        if len > most {
            let words = format!(
                "{}: envelope of {len} bytes exceeds max_payload of {most}",
                self.server
            );
            let refused = Err(BackplaneError::unsupported(words));
            self.line.published(publish.ticket(), refused);
            return Ok(None);
        }
        let mut envelope = BytesMut::with_capacity(len);
        envelope.extend_from_slice(head);
        envelope.extend_from_slice(payload);
        let published = self
            .client
            .publish(subject::spell(publish.topic()), envelope.freeze())
            .await;
        published.map_err(|error| self.broken(&error))?;
        Ok(Some((publish.ticket(), publish.topic().clone())))
    }

    /// Subscribes to what is to be subscribed.
    async fn subscribe(&mut self) -> Result<(), BackplaneError> {
        while self.topics.may_go_on(self.questions.subscribing()) {
            let topics = self.topics.subscribe_some(&self.client).await;
            let topics = topics.map_err(|error| self.broken(&error))?;
            let heard = self.heard;
            self.ask(Question::Subscribed { topics, heard }).await?;
        }
        Ok(())
    }

    /// Asks whether the server has read all that was said so far.
    async fn ask(&mut self, question: Question) -> Result<(), BackplaneError> {
        let number = self.questions.push(question);
        let reply = format!("{}.{number}", self.inbox);
        let asked = self
            .client
            .publish_with_reply(self.question.clone(), reply, Bytes::new());
        asked.await.map_err(|error| self.broken(&error))
    }

    /// Takes the answer to a question, whoever gave it.
    async fn reply(
        &mut self,
        reply: &Message,
        events: &mut mpsc::Receiver<Event>,
    ) -> Result<(), BackplaneError> {
        let number = reply
            .subject
            .rsplit_once('.')
            .and_then(|(_, number)| number.parse().ok());
        let Some(number) = number else {
            return Ok(());
        };
        // What the server refused came before, but takes another way through the client.
        yield_now().await;
        while let Ok(event) = events.try_recv() {
            self.event(event)?;
        }
        while let Some(question) = self.questions.answered(number) {
            match question {
                Question::Published { batch, heard } => self.published(&batch, heard),
                Question::Subscribed { mut topics, heard } => {
                    topics.retain(|topic| self.topics.has(topic));
                    if self.heard - heard > TOO_MUCH {
                        self.topics.doubt(topics);
                    } else if !topics.is_empty() {
                        self.topics.taken();
                        self.line.subscribed(&topics);
                        self.recent.push(topics, Instant::now());
                    }
                }
            }
        }
        self.subscribe().await
    }

    /// Notes that the server has read what was published, and has not refused it as far as is known.
    fn published(&mut self, batch: &[(Ticket, Topic)], heard: u64) {
        let is_unknown = self.heard - heard > TOO_MUCH;
        let answer = || match is_unknown {
            // Nor is it sent again: as much would be refused again.
            true => Err(BackplaneError::denied(format!(
                "{}: so much is refused at once that this may be, too",
                self.server
            ))),
            false => Ok(()),
        };
        let answers: Vec<_> = batch.iter().map(|(to, _)| (*to, answer())).collect();
        self.line.all_published(answers);
    }

    /// Takes what the client or the server says besides.
    fn event(&mut self, event: Event) -> Result<(), BackplaneError> {
        self.heard += 1;
        match event {
            Event::ServerError(ServerError::Other(said)) => self.refused(said),
            Event::ServerError(said) => {
                self.said = Some(said.to_string());
                Ok(())
            }
            Event::LameDuckMode if self.has_others => {
                Err(self.broken("the server is about to stop"))
            }
            _ => Ok(()),
        }
    }

    fn refused(&mut self, said: String) -> Result<(), BackplaneError> {
        let denied = || BackplaneError::denied(format!("{}: {said}", self.server));
        let (subject, is_publish) = match Refusal::read(&said) {
            Some(Refusal::Publish(subject)) => (subject, true),
            Some(Refusal::Subscribe(subject)) => (subject, false),
            Some(Refusal::TooMany) => return self.too_many(&said),
            None => {
                self.said = Some(said);
                return Ok(());
            }
        };
        let Some(topic) = subject::read(subject) else {
            // A question or an answer: without them nothing works.
            return Err(denied());
        };
        if is_publish {
            for ticket in self.questions.take(&topic) {
                let denied = Err(denied());
                self.line.published(ticket, denied);
            }
        } else if let Some(topic) = self.topics.unsubscribe(&topic) {
            return self.taken_away(topic);
        }
        Ok(())
    }

    /// Does without a topic. Where many are refused, others may be of which nothing was heard.
    fn taken_away(&mut self, topic: Topic) -> Result<(), BackplaneError> {
        let now = Instant::now();
        let is_recent = self.recent.contains(&topic, now);
        let was_asked = self.questions.asks_for(&topic) || self.topics.waits_for(&topic);
        let was_told = !was_asked && !is_recent;
        self.line.unsubscribed(&[topic], Lost::Denied);
        let counts = was_told || self.topics.is_fast();
        if !counts || self.burst.count(now) <= TOO_MUCH {
            return Ok(());
        }
        if was_told {
            // On the next connection all are asked for.
            return Err(self.broken("the rights to many subscriptions were taken away"));
        }
        let mut doubted = self.recent.take(now);
        doubted.retain(|topic| self.topics.has(topic));
        self.topics.doubt(doubted);
        Ok(())
    }

    /// Does without what the server has no room for.
    fn too_many(&mut self, said: &str) -> Result<(), BackplaneError> {
        let asked = match self.questions.subscribing() {
            0 => self.recent.take(Instant::now()),
            _ => self.questions.take_subscribing(),
        };
        if asked.is_empty() && self.questions.subscribing() == 0 {
            // It is one that was told to be subscribed.
            return Err(self.broken(said));
        }
        let denied = self.topics.ask_fewer(asked);
        if !denied.is_empty() {
            self.line.unsubscribed(&denied, Lost::Denied);
        }
        Ok(())
    }

    /// Returns why the connection is gone.
    async fn gone(&mut self, events: &mut mpsc::Receiver<Event>) -> BackplaneError {
        yield_now().await;
        while let Ok(event) = events.try_recv() {
            if let Err(error) = self.event(event) {
                return error;
            }
        }
        match &self.said {
            Some(said) => self.broken(said),
            None => self.broken("it was cut, or the server is silent"),
        }
    }

    fn broken(&self, words: impl fmt::Display) -> BackplaneError {
        BackplaneError::broken(format!("{}: {words}", self.server))
    }
}
