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
    time::{Instant, timeout},
};

use super::{
    connect::{Access, text},
    fault,
    partitions::Partition,
    publisher::put,
    subscriber::Subscribed,
    url::Server,
};
use crate::{
    cluster::{
        backplane::{BackplaneError, Publish},
        line::Inlet,
        topic::Topic,
    },
    lock::Lock,
};

/// How far each stream was read, kept from one connection to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Bookmarks(Arc<Lock<Option<Marks>>>);

#[derive(Clone, Debug)]
struct Marks {
    ids: Vec<Vec<u8>>,
    since: Instant,
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
            let answer = match timeout(BLOCK + ANSWER, self.read()).await {
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
            self.take(answer, &inlet);
        }
    }

    async fn read(&mut self) -> RedisResult<Value> {
        let mut command = Cmd::new();
        command.arg("XREAD").arg("COUNT").arg(COUNT);
        command.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.keys);
        if let Some(marks) = &*self.bookmarks.0.lock() {
            command.arg(&marks.ids);
        }
        self.commands.send_packed_command(&command).await
    }

    /// Takes what was read, and notes how far that is.
    fn take(&self, answer: Value, inlet: &Inlet) {
        let streams = match answer {
            Value::Map(streams) => streams,
            // Nothing came while it waited.
            _ => Vec::new(),
        };
        let mut marks = Vec::new();
        for (key, entries) in streams {
            let stream = self
                .keys
                .iter()
                .position(|known| Some(&known[..]) == text(&key));
            let Value::Array(entries) = entries else {
                continue;
            };
            for entry in entries {
                let Some((id, carried)) = parts(entry) else {
                    continue;
                };
                // What others wrote there is malformed.
                let (topic, envelope) = carried.unwrap_or_default();
                inlet.receive(&topic, envelope.into());
                marks.extend(stream.map(|stream| (stream, id)));
            }
        }
        if let Some(all) = &mut *self.bookmarks.0.lock() {
            all.since = Instant::now();
            for (stream, id) in marks {
                all.ids[stream] = id;
            }
        }
    }
}

/// Returns the id of an entry; and its topic and envelope, if that is what it has.
fn parts(entry: Value) -> Option<(Vec<u8>, Option<Carried>)> {
    let Value::Array(entry) = entry else {
        return None;
    };
    let mut entry = entry.into_iter();
    let Some(Value::BulkString(id)) = entry.next() else {
        return None;
    };
    let fields = match entry.next() {
        Some(Value::Array(fields)) => <[Value; 4]>::try_from(fields).ok(),
        _ => None,
    };
    let carried = match fields {
        Some([_, Value::BulkString(topic), _, Value::BulkString(envelope)]) => {
            Some((topic, envelope))
        }
        _ => None,
    };
    Some((id, carried))
}

/// A topic, and an envelope.
type Carried = (Vec<u8>, Vec<u8>);

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// Returns the command that publishes.
pub(super) fn publish(publish: &Publish) -> Cmd {
    let topic = publish.topic();
    let mut command = Cmd::with_capacity(10, 0);
    command.arg("XADD").arg(key(topic, stream(topic)));
    command.arg("MAXLEN").arg("~").arg(KEPT).arg("*");
    command.arg("t").arg(topic.as_bytes()).arg("e");
    put(&mut command, [publish.head(), publish.payload()]);
    command
}

/// Returns which of the streams a topic is in.
fn stream(topic: &Topic) -> usize {
    Partition::of(topic.as_bytes()).index() * STREAMS / 256
}

/// Returns the key of a stream of the cluster of a topic.
fn key(topic: &Topic, stream: usize) -> Vec<u8> {
    let stream = format!("{{{stream}}}");
    [topic.cluster(), topic.version(), stream.as_bytes()].join(&b':')
}

/// How many streams there are: each is read by one command at a time.
const STREAMS: usize = 16;

/// How many entries each keeps, about.
const KEPT: usize = 10_000;

/// How many entries of each stream are read together, at most.
const COUNT: usize = 512;

/// How long the server waits for something to come.
const BLOCK: Duration = Duration::from_secs(5);

/// How much later it may answer.
const ANSWER: Duration = Duration::from_secs(3);

/// After how long without a connection what was missed is let go: nobody has use for it.
const TOO_OLD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::topic::TopicPrefix;

    fn string(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn an_entry_has_an_id_and_a_topic_and_an_envelope_unless_it_is_foreign() {
        let entry = |fields: &[&str]| {
            let fields = fields.iter().map(|field| string(field)).collect();
            Value::Array(vec![string("7-0"), Value::Array(fields)])
        };
        let carried = Some((b"topic".to_vec(), b"envelope".to_vec()));
        let expected = Some((b"7-0".to_vec(), carried));
        assert_eq!(parts(entry(&["t", "topic", "e", "envelope"])), expected);
        for foreign in [
            entry(&[]),
            entry(&["t", "topic"]),
            entry(&["t", "topic", "e", "envelope", "x", "y"]),
            Value::Array(vec![string("7-0"), Value::Nil]),
        ] {
            assert_eq!(parts(foreign), Some((b"7-0".to_vec(), None)));
        }
        for wrong in [Value::Nil, Value::Array(vec![Value::Nil, Value::Nil])] {
            assert_eq!(parts(wrong), None);
        }
    }

    #[test]
    fn topics_of_a_cluster_are_in_16_streams_of_its_own() -> Result<(), Box<dyn std::error::Error>>
    {
        let rooms = TopicPrefix::new("shop", "rooms")?;
        let mut streams = std::collections::BTreeSet::new();
        for number in 0..1000 {
            let topic = rooms.topic(format!("{number}").as_bytes())?;
            streams.insert(stream(&topic));
            assert_eq!(key(&topic, 7), b"shop:1:{7}");
        }
        assert_eq!(streams, (0..16).collect());
        Ok(())
    }
}
