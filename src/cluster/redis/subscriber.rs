//! The connection that subscribes.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo, RedisError, RedisResult,
    ServerError, Value, aio::MultiplexedConnection,
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    connect::Access,
    fault,
    in_order::InOrder,
    publisher::put,
    spelling::{Spelling, Unasked},
    url::Server,
};
use crate::{
    cluster::{backplane::BackplaneError, line::Inlet, topic::Topic},
    lock::Lock,
    sync::Notify,
};

/// A connection that subscribes. What comes goes into the inlet. Dropping it closes it.
pub(super) struct Subscriber {
    server: Server,
    spelling: Spelling,
    commands: MultiplexedConnection,
    /// Of its tasks one reads, whatever else happens; they end with this.
    tasks: JoinSet<End>,
    asked: InOrder<RedisResult<Subscribed>>,
    given_up: Arc<GivenUp>,
}

/// What became of topics that were to be subscribed.
#[derive(Debug, Default)]
pub(super) struct Subscribed {
    pub(super) topics: Vec<Topic>,
    pub(super) refused: Vec<(Topic, ServerError)>,
}

/// Why there is no more to be had of a connection.
#[derive(Clone, Copy, Debug)]
enum End {
    Closed,
    /// The server took a subscription away.
    Taken,
}

/// Channels that the server was told to give up, and has not said that it has.
#[derive(Default)]
struct GivenUp {
    channels: Lock<HashMap<Vec<u8>, u32>>,
    /// Told when the server gave another up by itself: `redis` takes that for the answer to whatever
    /// was asked, and confuses all answers from then on.
    taken: Notify,
}

impl Subscriber {
    pub(super) async fn connect(
        access: &Access,
        server: &Server,
        inlet: Inlet,
        spelling: Spelling,
    ) -> Result<Self, BackplaneError> {
        let given_up = Arc::new(GivenUp::default());
        let gave_up = given_up.clone();
        let receive = move |push: PushInfo| {
            match push.into() {
                Unasked::Message(channel, content) => {
                    inlet.receive(spelling.topic(&channel), content.into());
                }
                Unasked::Unsubscribed(channel) => gave_up.unsubscribed(&channel),
                Unasked::Other => {}
            }
            Ok::<_, Infallible>(())
        };
        let config = AsyncConnectionConfig::new().set_push_sender(receive);
        let connecting = access.connect(server, config, ProtocolVersion::RESP3);
        let connection = connecting.await?;
        let (mut tasks, driver, gave_up) = (JoinSet::new(), connection.driver, given_up.clone());
        tasks.spawn(async move {
            driver.await;
            End::Closed
        });
        tasks.spawn(async move {
            gave_up.taken.notified().await;
            End::Taken
        });
        Ok(Self {
            server: server.clone(),
            spelling,
            commands: connection.commands,
            tasks,
            asked: InOrder::default(),
            given_up,
        })
    }

    /// Subscribes to topics; [`poll`](Self::poll) returns what became of them.
    pub(super) async fn subscribe(&mut self, topics: Vec<Topic>) {
        let commands = self.commands.clone();
        match self.spelling {
            Spelling::Plain => self.asked.ask(subscribe(commands, topics)).await,
            Spelling::Sharded => {
                let asking = subscribe_singly(commands, topics, Spelling::Sharded);
                self.asked.ask(asking).await;
            }
        }
    }

    /// Gives topics up.
    pub(super) async fn unsubscribe(&mut self, topics: Vec<Topic>) {
        if self.spelling == Spelling::Sharded {
            self.given_up.add(&topics, self.spelling);
        }
        let (mut commands, spelling) = (self.commands.clone(), self.spelling);
        let given_up = self.given_up.clone();
        let asked = async move {
            let pipeline = pipeline(spelling.unsubscribe(), &topics, spelling);
            let answers = commands.send_packed_commands(&pipeline, 0, topics.len());
            let answers = answers.await?;
            if spelling == Spelling::Sharded {
                given_up.refused(&topics, &answers)?;
            }
            // Otherwise a refusal changes nothing: what still comes is dropped.
            Ok(Subscribed::default())
        };
        self.asked.ask(asked).await;
    }

    /// Asks whether the server is there, if nothing else is asked.
    pub(super) async fn ping(&mut self) {
        if !self.asked.is_empty() {
            return;
        }
        let mut commands = self.commands.clone();
        let asked = async move {
            let mut ping = Cmd::new();
            let answer = commands.send_packed_command(ping.arg("PING"));
            check_order(&answer.await?).map(|()| Subscribed::default())
        };
        self.asked.ask(asked).await;
    }

    /// Returns since when an answer is missing.
    pub(super) fn unanswered_since(&self) -> Option<Instant> {
        self.asked.since()
    }

    /// Returns what became of the next topics that were to be subscribed or given up.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Subscribed, BackplaneError>> {
        let words = match self.tasks.poll_join_next(cx) {
            Poll::Ready(Some(Ok(End::Taken))) => "it took a subscription away",
            Poll::Ready(_) => "it closed the connection that subscribes",
            Poll::Pending => {
                let subscribed = ready!(self.asked.poll(cx));
                return Poll::Ready(
                    subscribed.map_err(|error| fault::broken(&self.server, &error)),
                );
            }
        };
        Poll::Ready(Err(BackplaneError::broken(fault::said(
            &self.server,
            words,
        ))))
    }
}

impl GivenUp {
    fn add(&self, topics: &[Topic], spelling: Spelling) {
        let mut channels = self.channels.lock();
        for topic in topics {
            *channels
                .entry(spelling.channel(topic).concat())
                .or_default() += 1;
        }
    }

    /// Takes what the server refused to give up.
    ///
    /// # Errors
    ///
    /// It refused for another reason than that the user may not do it: then the channel is elsewhere, and
    /// what the server said about that was taken for an answer.
    fn refused(&self, topics: &[Topic], answers: &[Value]) -> RedisResult<()> {
        let mut channels = self.channels.lock();
        for (topic, answer) in topics.iter().zip(answers) {
            let Value::ServerError(error) = answer else {
                continue;
            };
            if !fault::is_denied(error) {
                return Err(error.clone().into());
            }
            let channel = Spelling::Sharded.channel(topic).concat();
            if let Some(count @ 2..) = channels.get_mut(&channel) {
                *count -= 1;
            } else {
                channels.remove(&channel);
            }
        }
        Ok(())
    }

    /// Takes what the server says.
    fn unsubscribed(&self, channel: &[u8]) {
        let mut channels = self.channels.lock();
        match channels.get_mut(channel) {
            Some(count @ 2..) => *count -= 1,
            Some(_) => drop(channels.remove(channel)),
            None => self.taken.notify_one(),
        }
    }
}

/// Subscribes to all with one command.
async fn subscribe(
    mut commands: MultiplexedConnection,
    topics: Vec<Topic>,
) -> RedisResult<Subscribed> {
    let channels: Vec<_> = topics.iter().map(Topic::as_bytes).collect();
    match commands.subscribe(channels).await {
        Ok(()) => Ok(Subscribed {
            topics,
            refused: Vec::new(),
        }),
        // For one of them the server refuses all.
        Err(error) if is_denied(&error) => {
            subscribe_singly(commands, topics, Spelling::Plain).await
        }
        Err(error) => Err(error),
    }
}

fn is_denied(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// Subscribes with a command for each, of which each has an answer of its own.
async fn subscribe_singly(
    mut commands: MultiplexedConnection,
    topics: Vec<Topic>,
    spelling: Spelling,
) -> RedisResult<Subscribed> {
    let pipeline = pipeline(spelling.subscribe(), &topics, spelling);
    let answers = commands.send_packed_commands(&pipeline, 0, topics.len());
    let answers = answers.await?;
    let mut subscribed = Subscribed::default();
    for (topic, answer) in topics.into_iter().zip(answers) {
        check_order(&answer)?;
        match answer {
            Value::ServerError(error) => subscribed.refused.push((topic, error)),
            _ => subscribed.topics.push(topic),
        }
    }
    Ok(subscribed)
}

/// Checks that a server of a cluster does not say that another has a channel.
///
/// That may be the answer to something before: where `SUNSUBSCRIBE` and the move of a slot cross each
/// other, the server says two things, of which `redis` takes the first for the answer.
fn check_order(answer: &Value) -> RedisResult<()> {
    match answer {
        Value::ServerError(error) if fault::is_moved(error) => Err(error.clone().into()),
        _ => Ok(()),
    }
}

/// Makes a command for each topic.
fn pipeline(verb: &str, topics: &[Topic], spelling: Spelling) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(topics.len());
    for topic in topics {
        let mut command = Cmd::new();
        command.arg(verb);
        put(&mut command, spelling.channel(topic));
        pipeline.add_command(command);
    }
    pipeline
}
