//! The sessions, in Redis, where every node finds them.

use axum::BoxError;
use redis::{AsyncCommands, Client};

use crate::sessions::Sessions as Memory;

/// Where sessions are kept.
#[derive(Clone)]
pub(crate) enum Sessions {
    Redis(Client),
    /// For tests.
    Memory(Memory),
}

impl Default for Sessions {
    fn default() -> Self {
        Self::Memory(Memory::default())
    }
}

// Connects for each question: at once and a second at most, whatever became of the last connection.
impl Sessions {
    pub(crate) async fn begin(&self, id: &str, name: String) -> Result<(), BoxError> {
        match self {
            Self::Memory(memory) => memory.begin(id, name).await,
            Self::Redis(client) => {
                let mut redis = client.get_multiplexed_async_connection().await?;
                Ok(redis.set_ex(key(id), name, A_DAY).await?)
            }
        }
    }

    pub(crate) async fn find(&self, id: &str) -> Result<Option<String>, BoxError> {
        match self {
            Self::Memory(memory) => memory.find(id).await,
            Self::Redis(client) => {
                let mut redis = client.get_multiplexed_async_connection().await?;
                Ok(redis.get(key(id)).await?)
            }
        }
    }
}

fn key(id: &str) -> String {
    format!("chat:session:{id}")
}

const A_DAY: u64 = 24 * 60 * 60; // in seconds, as in the cookie
