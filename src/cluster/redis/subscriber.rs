//! The connection that subscribes.

use std::{
    convert::Infallible,
    task::{Context, Poll, ready},
};

use ::redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisError,
    RedisResult, ServerError, Value, aio::MultiplexedConnection,
};
use tokio::task::JoinSet;

use super::{connect::Access, fault, in_order::InOrder, url::Server};
use crate::cluster::{backplane::BackplaneError, line::Inlet, topic::Topic};

/// A connection that subscribes. What comes goes into the inlet. Dropping it closes it.
pub(super) struct Subscriber {
    server: Server,
    commands: MultiplexedConnection,
    /// Its one task reads, whatever else happens; it ends with this.
    reader: JoinSet<()>,
    asked: InOrder<RedisResult<Subscribed>>,
}

/// What became of topics that were to be subscribed.
#[derive(Debug, Default)]
pub(super) struct Subscribed {
    pub(super) topics: Vec<Topic>,
    pub(super) refused: Vec<Topic>,
    /// Why, of one of them.
    pub(super) why: Option<ServerError>,
}

impl Subscriber {
    pub(super) async fn connect(
        access: &Access,
        server: &Server,
        inlet: Inlet,
    ) -> Result<Self, BackplaneError> {
        let receive = move |push| {
            if let Some((channel, envelope)) = message(push) {
                inlet.receive(&channel, envelope.into());
            }
            Ok::<_, Infallible>(())
        };
        let config = AsyncConnectionConfig::new().set_push_sender(receive);
        let connection = access
            .connect(server, config, ProtocolVersion::RESP3)
            .await?;
        let mut reader = JoinSet::new();
        reader.spawn(connection.driver);
        Ok(Self {
            server: server.clone(),
            commands: connection.commands,
            reader,
            asked: InOrder::default(),
        })
    }

    /// Subscribes to topics; [`poll`](Self::poll) returns what became of them.
    pub(super) async fn subscribe(&mut self, topics: Vec<Topic>) {
        let commands = self.commands.clone();
        self.asked.ask(subscribe(commands, topics)).await;
    }

    /// Gives topics up.
    pub(super) async fn unsubscribe(&mut self, topics: Vec<Topic>) {
        let mut commands = self.commands.clone();
        let asked = async move {
            let topics: Vec<_> = topics.iter().map(Topic::as_bytes).collect();
            commands.unsubscribe(topics).await?;
            Ok(Subscribed::default())
        };
        self.asked.ask(asked).await;
    }

    /// Returns what became of the next topics that were to be subscribed or given up.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Subscribed, BackplaneError>> {
        if let Poll::Ready(subscribed) = self.asked.poll(cx) {
            return Poll::Ready(subscribed.map_err(|error| fault::broken(&self.server, &error)));
        }
        let _how = ready!(self.reader.poll_join_next(cx));
        let words = fault::said(&self.server, "it closed the connection that subscribes");
        Poll::Ready(Err(BackplaneError::broken(words)))
    }
}

async fn subscribe(
    mut commands: MultiplexedConnection,
    topics: Vec<Topic>,
) -> RedisResult<Subscribed> {
    let channels: Vec<_> = topics.iter().map(Topic::as_bytes).collect();
    match commands.subscribe(channels).await {
        Ok(()) => Ok(Subscribed {
            topics,
            ..Subscribed::default()
        }),
        // For one of them the server refuses all.
        Err(error) if is_denied(error.clone()) => subscribe_singly(commands, topics).await,
        Err(error) => Err(error),
    }
}

fn is_denied(error: RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// Subscribes with a command for each, of which each has an answer of its own.
async fn subscribe_singly(
    mut commands: MultiplexedConnection,
    topics: Vec<Topic>,
) -> RedisResult<Subscribed> {
    let mut pipeline = Pipeline::with_capacity(topics.len());
    for topic in &topics {
        let mut command = Cmd::new();
        command.arg("SUBSCRIBE").arg(topic.as_bytes());
        pipeline.add_command(command);
    }
    let answers = commands
        .send_packed_commands(&pipeline, 0, topics.len())
        .await?;
    let mut subscribed = Subscribed::default();
    for (topic, answer) in topics.into_iter().zip(answers) {
        match answer {
            Value::ServerError(error) => {
                subscribed.refused.push(topic);
                subscribed.why = Some(error);
            }
            _ => subscribed.topics.push(topic),
        }
    }
    Ok(subscribed)
}

/// Returns channel and content of what was published; `None` for anything else.
fn message(push: PushInfo) -> Option<(Vec<u8>, Vec<u8>)> {
    if push.kind != PushKind::Message {
        return None;
    }
    match <[Value; 2]>::try_from(push.data) {
        Ok([Value::BulkString(channel), Value::BulkString(content)]) => Some((channel, content)),
        _ => None,
    }
}
