//! The engine's own crate, used as somebody would who wants nothing more of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures_util::StreamExt;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, aio::MultiplexedConnection};

use crate::{Outcome, engine::Engine, engine::EngineKind};

/// A connection that publishes.
#[derive(Clone)]
pub(crate) enum Publisher {
    Redis(MultiplexedConnection),
    Nats(async_nats::Client),
}

impl Publisher {
    pub(crate) async fn connect(engine: &Engine) -> Outcome<Self> {
        match engine.kind {
            EngineKind::Redis => {
                let client = Client::open(engine.url())?;
                Ok(Self::Redis(
                    client.get_multiplexed_async_connection().await?,
                ))
            }
            EngineKind::Nats => Ok(Self::Nats(async_nats::connect(engine.url()).await?)),
        }
    }

    /// Publishes so many, and waits until the engine has them.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8], burst: usize) -> Outcome {
        match self {
            Self::Redis(connection) if burst == 1 => {
                let mut command = redis::cmd("PUBLISH");
                let _receivers: i64 = command
                    .arg(topic)
                    .arg(payload)
                    .query_async(connection)
                    .await?;
            }
            Self::Redis(connection) => {
                let mut pipe = redis::Pipeline::with_capacity(burst);
                for _ in 0..burst {
                    pipe.cmd("PUBLISH").arg(topic).arg(payload);
                }
                let _receivers: Vec<i64> = pipe.query_async(connection).await?;
            }
            Self::Nats(client) => {
                let payload = Bytes::copy_from_slice(payload);
                for _ in 0..burst {
                    client.publish(topic.to_owned(), payload.clone()).await?;
                }
                // It is written then; the crate tells no more.
                client.flush().await?;
            }
        }
        Ok(())
    }
}

/// A connection that subscribes, and calls back for each message.
pub(crate) enum Subscriber {
    Redis(#[expect(dead_code, reason = "it lives as long as this")] MultiplexedConnection),
    Nats(#[expect(dead_code, reason = "it lives as long as this")] async_nats::Client),
}

impl Subscriber {
    pub(crate) async fn connect(
        engine: &Engine,
        topics: &[String],
        came: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Outcome<Self> {
        match engine.kind {
            EngineKind::Redis => {
                let url = format!("{}?protocol=resp3", engine.url());
                let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
                    if push.kind == PushKind::Message
                        && let Some(redis::Value::BulkString(payload)) = push.data.get(1)
                    {
                        came(payload);
                    }
                    Ok::<(), std::convert::Infallible>(())
                });
                let client = Client::open(url)?;
                let mut connection = client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await?;
                for topics in topics.chunks(512) {
                    connection.subscribe(topics).await?;
                }
                Ok(Self::Redis(connection))
            }
            EngineKind::Nats => {
                let client = async_nats::connect(engine.url()).await?;
                let came = Arc::new(came);
                for topic in topics {
                    let mut messages = client.subscribe(topic.clone()).await?;
                    let came = came.clone();
                    tokio::spawn(async move {
                        while let Some(message) = messages.next().await {
                            came(&message.payload);
                        }
                    });
                }
                client.flush().await?;
                Ok(Self::Nats(client))
            }
        }
    }

    /// Counts what comes.
    pub(crate) async fn counting(
        engine: &Engine,
        topics: &[String],
    ) -> Outcome<(Self, Arc<AtomicU64>)> {
        let count = Arc::new(AtomicU64::new(0));
        let shared = count.clone();
        let came = move |_: &[u8]| {
            shared.fetch_add(1, Ordering::Relaxed);
        };
        Ok((Self::connect(engine, topics, came).await?, count))
    }
}
