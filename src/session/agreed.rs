//! What the opening handshake has settled for one connection.

use std::fmt;

use tracing::Span;

use super::{id::ConnectionId, setup::Setup};
use crate::{
    compression::budget::Reservation,
    handshake::deflate::Agreement,
    lock::{Lock, LockGuard},
    protocol::{Context, DeflateParams, Outbound, Shape},
};

/// The subprotocol and the compression agreed on, and who wants to know of the connection.
///
/// Most connections have none of it, and no memory for it. What compression alone needs is small:
/// the rest is boxed.
#[derive(Default)]
pub(crate) struct Agreed {
    pub(crate) protocol: Option<Box<str>>,
    deflate: Option<DeflateParams>,
    pub(super) compressing: Option<Compressing>,
    /// The memory set aside for what both directions remember.
    _windows: Option<Box<Reservation>>,
    /// Its number in the registry.
    pub(super) id: Option<ConnectionId>,
    /// Where spans are recorded.
    pub(super) span: Option<Box<Span>>,
}

/// How this endpoint compresses.
pub(super) struct Compressing {
    pub(super) shape: Shape,
    /// With context takeover; `None` in it while a message sent piece by piece has it.
    context: Option<Box<Lock<Option<Context>>>>,
}

impl Agreed {
    pub(crate) fn subprotocol(mut self, name: Option<&str>) -> Self {
        self.protocol = name.map(Into::into);
        self
    }

    /// Compresses as agreed on, with the settings of this end.
    pub(crate) fn deflate(mut self, setup: &Setup, agreement: Option<Agreement>) -> Self {
        let Some((params, windows)) = agreement.map(Agreement::into_parts) else {
            return self;
        };
        let direction = params.direction(setup.role);
        let settings = setup.config.compression.as_ref();
        self.deflate = Some(params);
        self._windows = windows.map(Box::new);
        self.compressing = settings.map(|settings| Compressing {
            shape: Shape::new(direction, settings),
            context: direction
                .context_takeover
                .then(|| Box::new(Lock::new(Some(Context::new(direction, settings))))),
        });
        self
    }

    /// Gives the connection its number.
    pub(super) fn numbered(mut self, id: Option<ConnectionId>) -> Self {
        self.id = id;
        self
    }

    /// Runs the session in a span.
    pub(crate) fn span(mut self, span: Span) -> Self {
        self.span = (!span.is_disabled()).then(|| Box::new(span));
        self
    }

    /// How the peer's messages are compressed, if they may be.
    pub(super) fn deflate_params(&self) -> Option<DeflateParams> {
        self.deflate
    }

    pub(super) fn boxed(self) -> Option<Box<Self>> {
        let something = self.protocol.is_some()
            || self.deflate.is_some()
            || self.id.is_some()
            || self.span.is_some();
        something.then(|| Box::new(self))
    }

    /// How a message is compressed, if it is.
    #[inline]
    pub(super) fn compresses(&self, outbound: &Outbound, setup: &Setup) -> Option<&Compressing> {
        let compressing = self.compressing.as_ref()?;
        let settings = setup.config.compression.as_ref()?;
        outbound.compresses(settings).then_some(compressing)
    }
}

impl Compressing {
    /// Gives up a compressor that is not used, unless somebody is using it.
    pub(super) fn release_if_unused(&self) {
        if let Some(context) = &self.context
            && let Some(mut slot) = context.try_lock()
            && let Some(context) = &mut *slot
        {
            context.release_if_unused();
        }
    }

    /// Locks what later messages may refer to. Whoever compresses with it queues what came of it
    /// before the lock is released: the order on the wire is that of compression.
    pub(super) fn lock(&self) -> Option<LockGuard<'_, Option<Context>>> {
        let context = self.context.as_ref()?;
        Some(context.lock())
    }
}

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreed")
            .field("protocol", &self.protocol)
            .field("deflate", &self.deflate)
            .finish_non_exhaustive()
    }
}
