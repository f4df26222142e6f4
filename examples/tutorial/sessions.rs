//! The sessions, in the memory of this process.

use std::{collections::HashMap, sync::Arc};

use axum::BoxError;
use tokio::sync::Mutex;

/// The name of each session's user, by the session's id.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<HashMap<String, String>>>);

// These never fail. A store elsewhere may.
impl Sessions {
    pub(crate) async fn begin(&self, id: &str, name: String) -> Result<(), BoxError> {
        self.0.lock().await.insert(id.to_owned(), name);
        Ok(())
    }

    pub(crate) async fn find(&self, id: &str) -> Result<Option<String>, BoxError> {
        Ok(self.0.lock().await.get(id).cloned())
    }
}
