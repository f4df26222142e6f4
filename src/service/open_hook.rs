//! The hook that is told of an open connection.

use std::{fmt, sync::Arc};

use http::request::Parts;

use crate::session::Sender;

type Function = dyn Fn(&Sender, &Parts) + Send + Sync;

/// Called for every connection that opens, before its route service.
#[derive(Clone)]
pub(crate) struct OpenHook(Arc<Function>);

impl OpenHook {
    pub(crate) fn new(hook: impl Fn(&Sender, &Parts) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(super) fn call(&self, socket: &Sender, head: &Parts) {
        (self.0)(socket, head);
    }
}

impl fmt::Debug for OpenHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenHook").finish_non_exhaustive()
    }
}
