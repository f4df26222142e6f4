//! The connection that publishes.

use std::{
    io::Write,
    task::{Context, Poll},
};

use ::redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, RedisResult, RedisWrite, Value,
    aio::MultiplexedConnection,
};

use super::{
    connect::{Access, Driver},
    fault,
    in_order::InOrder,
    url::Server,
};
use crate::cluster::{
    backplane::{BackplaneError, Publish, Ticket},
    topic::Topic,
};

/// A connection that publishes, in batches. Dropping it closes it.
pub(super) struct Publisher {
    server: Server,
    commands: MultiplexedConnection,
    /// Polled here, since most messages are a batch of their own: another task would have to be woken
    /// for each, twice. `None` once it has ended.
    driver: Option<Driver>,
    batches: InOrder<(Vec<Ticket>, RedisResult<Vec<Value>>)>,
}

impl Publisher {
    /// Connects to a server, which has to be a master.
    pub(super) async fn connect(access: &Access, server: &Server) -> Result<Self, BackplaneError> {
        let config = AsyncConnectionConfig::new();
        let mut connection = access
            .connect(server, config, ProtocolVersion::RESP3)
            .await?;
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
                pipeline, tickets, ..
            } = batch;
            let answers = commands.send_packed_commands(&pipeline, 0, tickets.len());
            let answers = answers.await;
            (tickets, answers)
        };
        self.batches.ask(sending).await;
    }

    /// Reports whether all is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }

    /// Writes and reads, and returns the answers to the next batch, one for each ticket.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Vec<Ticket>, Vec<Value>), BackplaneError>> {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
        match self.batches.poll(cx) {
            Poll::Ready((tickets, Ok(answers))) => Poll::Ready(Ok((tickets, answers))),
            Poll::Ready((_, Err(error))) => Poll::Ready(Err(fault::broken(&self.server, &error))),
            Poll::Pending if self.driver.is_none() => {
                let words = fault::said(&self.server, "it closed the connection that publishes");
                Poll::Ready(Err(BackplaneError::broken(words)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Envelopes that go out together, as one pipeline.
pub(super) struct Batch {
    verb: &'static str,
    tickets: Vec<Ticket>,
    pipeline: Pipeline,
}

impl Batch {
    /// Makes an empty one; `verb` is the command that publishes.
    pub(super) fn new(verb: &'static str) -> Self {
        Self {
            verb,
            tickets: Vec::new(),
            pipeline: Pipeline::new(),
        }
    }

    /// Adds an envelope; `tag` precedes the name of its channel.
    pub(super) fn push(&mut self, tag: &str, publish: &Publish) {
        let command = command(
            self.verb,
            tag,
            publish.topic(),
            publish.head(),
            publish.payload(),
        );
        self.pipeline.add_command(command);
        self.tickets.push(publish.ticket());
    }
}

fn command(verb: &str, tag: &str, topic: &Topic, head: &[u8], payload: &[u8]) -> Cmd {
    let channel = topic.as_bytes();
    let len = verb.len() + tag.len() + channel.len() + head.len() + payload.len();
    let mut command = Cmd::with_capacity(3, len);
    command.arg(verb);
    put(&mut command, [tag.as_bytes(), channel]);
    put(&mut command, [head, payload]);
    command
}

/// Adds an argument that consists of two parts.
fn put(command: &mut Cmd, parts: [&[u8]; 2]) {
    let mut argument = command.writer_for_next_arg();
    for part in parts {
        // A command is memory, which takes all.
        let _all = argument.write_all(part);
    }
}
