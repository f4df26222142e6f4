//! What all sessions of a layer, or of a client, share.

use std::{error::Error, fmt, sync::Arc};

use super::report::SessionReport;
use crate::{
    config::Config,
    protocol::{Encoder, Role},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

type EndHook = Arc<dyn Fn(&SessionReport) + Send + Sync>;
type FailureHook = Arc<dyn Fn(&(dyn Error + 'static)) + Send + Sync>;

/// The settings and hooks of one layer or client.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) role: Role,
    pub(crate) config: Config,
    /// Called with the report of every session, when its transport is gone.
    pub(crate) on_end: Option<EndHook>,
    /// Called when a handshake was accepted and the server never handed the stream over.
    pub(crate) on_failed_upgrade: Option<FailureHook>,
    /// A connection was asked for an info that it does not keep.
    pub(crate) missing_info: Once,
}

impl Setup {
    pub(crate) fn server() -> Self {
        Self::new(Role::Server)
    }

    #[cfg_attr(
        not(any(test, feature = "client", feature = "testing")),
        expect(dead_code, reason = "clients have it")
    )]
    pub(crate) fn client() -> Self {
        Self::new(Role::Client)
    }

    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            config: Config::default(),
            on_end: None,
            on_failed_upgrade: None,
            missing_info: Once::default(),
        }
    }

    /// Says, once, that a connection was asked for what it does not keep.
    #[cold]
    pub(super) fn warn_of_missing_info(&self) {
        if self.missing_info.is_first() {
            tracing::warn!(
                "a websocket was asked for its `ConnectionInfo`, and keeps none: \
                 see `WebSocketLayer::connection_info`"
            );
        }
    }

    /// Returns what messages are encoded with.
    #[inline]
    pub(super) fn encoder(&self) -> Encoder {
        Encoder::new(self.role, &self.config)
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("role", &self.role)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Something that is said once. Copied settings say it again.
#[derive(Default)]
pub(crate) struct Once(AtomicBool);

impl Once {
    fn is_first(&self) -> bool {
        !self.0.swap(true, Relaxed)
    }
}

impl Clone for Once {
    fn clone(&self) -> Self {
        Self::default()
    }
}
