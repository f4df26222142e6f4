//! Streams in place of channels: what a node missed while it had no connection is still there.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    connect::{Access, text},
    entries::{STREAMS, key, parts},
    fault,
    subscriber::Subscribed,
    url::Server,
};
use crate::{
    cluster::{backplane::BackplaneError, line::Inlet, topic::Topic},
    lock::Lock,
};

/// How far each stream was read, kept from one connection to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Bookmarks(Arc<Lock<Option<Marks>>>);

#[derive(Clone, Debug)]
struct Marks {
    ids: Vec<Vec<u8>>,
    since: Instant,
    /// How many entries of each stream are asked for together.
    count: usize,
}

/// A connection that reads all streams. What comes goes into the inlet. Dropping it closes it.
pub(super) struct Reader {
    tasks: JoinSet<BackplaneError>,
    asked: Vec<Topic>,
}

impl Reader {
    /// Connects, and goes on from the marks, or from the end of the streams.
    pub(super) async fn connect(
        access: &Access,
        server: &Server,
        inlet: Inlet,
        topic: &Topic,
        bookmarks: &Bookmarks,
    ) -> Result<Self, BackplaneError> {
        let config = AsyncConnectionConfig::new();
        let connecting = access.connect(server, config, ProtocolVersion::RESP3);
        let connection = connecting.await?;
        let (commands, driver) = (connection.commands, connection.driver);
        let mut tasks = JoinSet::new();
        let words = fault::said(server, "it closed the connection that reads");
        tasks.spawn(async move {
            driver.await;
            BackplaneError::broken(words)
        });
        let mut reading = Reading {
            keys: (0..STREAMS).map(|stream| key(topic, stream)).collect(),
            commands,
            bookmarks: bookmarks.clone(),
            server: server.clone(),
            full_since: None,
        };
        let begin = timeout(ANSWER, reading.begin()).await;
        let late = |_| {
            BackplaneError::connect(fault::said(
                server,
                "it leaves XREVRANGE or XREAD unanswered",
            ))
        };
        begin.map_err(late)??;
        tasks.spawn(reading.read_on(inlet));
        Ok(Self {
            tasks,
            asked: Vec::new(),
        })
    }

    /// Takes topics to be subscribed: all of them are.
    pub(super) fn subscribe(&mut self, topics: Vec<Topic>) {
        self.asked.extend(topics);
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Subscribed, BackplaneError>> {
        if let Poll::Ready(Some(end)) = self.tasks.poll_join_next(cx) {
            return Poll::Ready(Err(end.unwrap_or_else(BackplaneError::broken)));
        }
        if self.asked.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(Subscribed {
            topics: mem::take(&mut self.asked),
            refused: Vec::new(),
        }))
    }
}

/// What the task needs that reads.
struct Reading {
    keys: Vec<Vec<u8>>,
    commands: MultiplexedConnection,
    bookmarks: Bookmarks,
    server: Server,
    /// Since when too much waits for delivery.
    full_since: Option<Instant>,
}

impl Reading {
    /// Finds the end of all streams, unless it is known where to go on, and tries to read.
    async fn begin(&mut self) -> Result<(), BackplaneError> {
        let is_known = |marks: &Marks| marks.since.elapsed() < TOO_OLD;
        if !self.bookmarks.0.lock().as_ref().is_some_and(is_known) {
            self.find_ends().await?;
        }
        self.try_to_read().await
    }

    async fn find_ends(&mut self) -> Result<(), BackplaneError> {
        let mut pipeline = Pipeline::new();
        for key in &self.keys {
            let mut command = Cmd::new();
            command.arg("XREVRANGE").arg(key).arg("+").arg("-");
            pipeline.add_command(command.arg("COUNT").arg(1).take());
        }
        let ends = self
            .commands
            .send_packed_commands(&pipeline, 0, self.keys.len());
        let ends = ends
            .await
            .map_err(|error| fault::unmade(&self.server, &error))?;
        let mut ids = Vec::with_capacity(ends.len());
        for end in &ends {
            if let Value::ServerError(error) = end {
                return Err(fault::refused(&self.server, error));
            }
            let last = items(end).and_then(|entries| entries.first());
            let id = last.and_then(items).and_then(|entry| text(entry.first()?));
            ids.push(id.unwrap_or(b"0-0").to_vec());
        }
        *self.bookmarks.0.lock() = Some(Marks {
            ids,
            since: Instant::now(),
            count: COUNT,
        });
        Ok(())
    }

    /// Reads nothing, behind the end of all streams: who may not read, or cannot yet, is told before
    /// anybody relies on it.
    async fn try_to_read(&mut self) -> Result<(), BackplaneError> {
        let mut command = Cmd::new();
        command.arg("XREAD").arg("COUNT").arg(1);
        command.arg("STREAMS").arg(&self.keys);
        command.arg(vec!["$"; self.keys.len()]);
        let answer = self.commands.send_packed_command(&command).await;
        match answer.map_err(|error| fault::unmade(&self.server, &error))? {
            Value::ServerError(error) => Err(fault::refused(&self.server, &error)),
            _ => Ok(()),
        }
    }

    /// Reads until the connection breaks.
    async fn read_on(mut self, inlet: Inlet) -> BackplaneError {
        loop {
            self.wait_for_room(&inlet).await;
            let count = self.doubt_count();
            let answer = match timeout(BLOCK + ANSWER, self.read(count)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => return fault::broken(&self.server, &error),
                Err(_) => {
                    let words = fault::said(&self.server, "it leaves XREAD unanswered");
                    return BackplaneError::broken(words);
                }
            };
            if let Value::ServerError(error) = &answer {
                return fault::refused(&self.server, error);
            }
            self.take(answer, count, &inlet);
        }
    }

    /// Waits while much waits for delivery: it is still there afterwards. Not for ever, since the own
    /// heartbeats are behind it; then it is dropped as without streams.
    async fn wait_for_room(&mut self, inlet: &Inlet) {
        while inlet.is_half_full() {
            let since = *self.full_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= FULL {
                return;
            }
            sleep(LOOK_AGAIN).await;
        }
        self.full_since = None;
    }

    /// Returns how many entries to ask for, and notes that it is to be fewer if they do not come through.
    fn doubt_count(&self) -> usize {
        match &mut *self.bookmarks.0.lock() {
            Some(marks) => {
                let fewer = (marks.count / 2).clamp(1, COUNT);
                mem::replace(&mut marks.count, fewer)
            }
            None => COUNT,
        }
    }

    async fn read(&mut self, count: usize) -> RedisResult<Value> {
        let mut command = Cmd::new();
        command.arg("XREAD").arg("COUNT").arg(count);
        command.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.keys);
        if let Some(marks) = &*self.bookmarks.0.lock() {
            command.arg(&marks.ids);
        }
        self.commands.send_packed_command(&command).await
    }

    /// Takes what was read, and notes how far that is.
    fn take(&self, answer: Value, count: usize, inlet: &Inlet) {
        let streams = match answer {
            Value::Map(streams) => streams,
            // Nothing came while it waited.
            _ => Vec::new(),
        };
        let (mut marks, mut bytes, mut has_more) = (Vec::new(), 0, false);
        for (key, entries) in streams {
            let stream = self
                .keys
                .iter()
                .position(|known| Some(&known[..]) == text(&key));
            let Value::Array(entries) = entries else {
                continue;
            };
            has_more |= entries.len() >= count;
            for entry in entries {
                let Some((id, carried)) = parts(entry) else {
                    continue;
                };
                // What others wrote there is malformed.
                let (topic, envelope) = carried.unwrap_or_default();
                bytes += topic.len() + envelope.len();
                inlet.receive(&topic, envelope.into());
                marks.extend(stream.map(|stream| (stream, id)));
            }
        }
        if let Some(all) = &mut *self.bookmarks.0.lock() {
            all.since = Instant::now();
            all.count = next_count(count, bytes, has_more);
            for (stream, id) in marks {
                all.ids[stream] = id;
            }
        }
    }
}

/// Returns how many entries of each stream to ask for, after so many bytes of so many.
fn next_count(count: usize, bytes: usize, has_more: bool) -> usize {
    if bytes > MUCH {
        (count / 2).max(1)
    } else if has_more && bytes <= MUCH / 4 {
        (count * 2).min(MOST)
    } else {
        count
    }
}

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// How many entries of each stream are read together at first; after a break no more than these.
const COUNT: usize = 32;

/// How many they become, at most, where they are small.
const MOST: usize = 512;

/// From how many bytes on they become fewer.
const MUCH: usize = 1 << 20;

/// How long the server waits for something to come.
const BLOCK: Duration = Duration::from_secs(5);

/// How much later it may answer.
const ANSWER: Duration = Duration::from_secs(3);

/// How long what is read waits for room.
const FULL: Duration = Duration::from_secs(4);

/// How often it is looked for room.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// After how long without a connection what was missed is let go: nobody has use for it.
const TOO_OLD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_entries_are_read_together_as_are_a_mebibyte_or_so() {
        assert_eq!(next_count(32, 0, false), 32, "nobody is behind");
        assert_eq!(next_count(32, MUCH / 4, true), 64);
        assert_eq!(next_count(32, MUCH / 2, true), 32);
        assert_eq!(next_count(32, MUCH + 1, true), 16);
        assert_eq!(next_count(512, 0, true), 512);
        assert_eq!(next_count(1, 2 * MUCH, true), 1);
    }
}
