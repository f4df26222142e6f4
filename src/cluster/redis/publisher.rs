//! The connection that publishes.

use std::{
    io::Write,
    task::{Context, Poll},
};

use ::redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, RedisResult, RedisWrite, Value,
    aio::MultiplexedConnection,
};
use tokio::time::Instant;

use super::{
    connect::{Access, Driver},
    fault,
    in_order::InOrder,
    spelling::Spelling,
    url::Server,
};
use crate::cluster::backplane::{BackplaneError, Publish};

/// A connection that publishes, in batches. Dropping it closes it.
pub(super) struct Publisher {
    server: Server,
    commands: MultiplexedConnection,
    /// Polled here, since most messages are a batch of their own: another task would have to be woken
    /// for each, twice. `None` once it has ended.
    driver: Option<Driver>,
    batches: InOrder<(Vec<Publish>, RedisResult<Vec<Value>>)>,
}

/// What was published together, and an answer for each, or why there is none.
pub(super) type Answered = (Vec<Publish>, Result<Vec<Value>, BackplaneError>);

impl Publisher {
    /// Connects to a server, which has to be a master.
    pub(super) async fn connect(access: &Access, server: &Server) -> Result<Self, BackplaneError> {
        let config = AsyncConnectionConfig::new();
        let connecting = access.connect(server, config, ProtocolVersion::RESP3);
        let mut connection = connecting.await?;
        connection.check_master(server).await?;
        Ok(Self {
            server: server.clone(),
            commands: connection.commands,
            driver: Some(connection.driver),
            batches: InOrder::default(),
        })
    }

    /// Sends a batch, behind those before it.
    pub(super) async fn send(&mut self, batch: Batch) {
        let mut commands = self.commands.clone();
        let sending = async move {
            let Batch {
                pipeline,
                publishes,
                ..
            } = batch;
            let answers = commands.send_packed_commands(&pipeline, 0, pipeline.len());
            let answers = answers.await;
            (publishes, answers)
        };
        self.batches.ask(sending).await;
    }

    /// Asks whether the server is there, if nothing else is asked.
    pub(super) async fn ping(&mut self) {
        if self.batches.is_empty() {
            let mut batch = Batch::new(publish);
            batch.pipeline.cmd("PING");
            self.send(batch).await;
        }
    }

    /// Closes the connection: nothing is answered any more.
    pub(super) fn give_up(&mut self) {
        self.driver = None;
    }

    /// Returns since when an answer is missing.
    pub(super) fn unanswered_since(&self) -> Option<Instant> {
        self.batches.since()
    }

    /// Reports whether all is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }

    /// Writes and reads, and returns what becomes of the next batch. After the first that is not answered
    /// come the others, until it is [idle](Self::is_idle).
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answered> {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
        match self.batches.poll(cx) {
            Poll::Ready((publishes, answers)) => {
                let answers = answers.map_err(|error| fault::broken(&self.server, &error));
                Poll::Ready((publishes, answers))
            }
            Poll::Pending if self.driver.is_none() => {
                let words = fault::said(&self.server, "it closed the connection that publishes");
                Poll::Ready((Vec::new(), Err(BackplaneError::broken(words))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Envelopes that go out together, as one pipeline.
pub(super) struct Batch {
    command: fn(&Publish) -> Cmd,
    publishes: Vec<Publish>,
    pipeline: Pipeline,
}

impl Batch {
    /// Makes an empty one; `command` publishes an envelope.
    pub(super) fn new(command: fn(&Publish) -> Cmd) -> Self {
        Self {
            command,
            publishes: Vec::new(),
            pipeline: Pipeline::new(),
        }
    }

    pub(super) fn push(&mut self, publish: Publish) {
        self.pipeline.add_command((self.command)(&publish));
        self.publishes.push(publish);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.publishes.is_empty()
    }
}

/// Returns the command that publishes an envelope.
pub(super) fn publish(publish: &Publish) -> Cmd {
    command(publish, Spelling::Plain)
}

/// Returns the command that publishes an envelope in a cluster.
pub(super) fn publish_sharded(publish: &Publish) -> Cmd {
    command(publish, Spelling::Sharded)
}

fn command(publish: &Publish, spelling: Spelling) -> Cmd {
    let [tag, topic] = spelling.channel(publish.topic());
    let [head, payload] = [publish.head(), publish.payload()];
    let verb = spelling.publish();
    let len = verb.len() + tag.len() + topic.len() + head.len() + payload.len();
    let mut command = Cmd::with_capacity(3, len);
    command.arg(verb);
    put(&mut command, [tag, topic]);
    put(&mut command, [head, payload]);
    command
}

/// Adds an argument that consists of two parts.
pub(super) fn put(command: &mut Cmd, parts: [&[u8]; 2]) {
    let mut argument = command.writer_for_next_arg();
    for part in parts {
        // A command is memory, which takes all.
        let _all = argument.write_all(part);
    }
}
