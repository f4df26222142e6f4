//! What the opening handshake has settled for one connection.

use std::{fmt, sync::Arc};

use tracing::Span;

use super::{id::ConnectionId, info::ConnectionInfo, setup::Setup};
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
    /// Where the info does not have it.
    protocol: Option<Box<str>>,
    deflate: Option<DeflateParams>,
    /// Where this endpoint compresses.
    shape: Option<Shape>,
    /// With context takeover; `None` in it while a message sent piece by piece has it.
    context: Option<Box<Lock<Option<Context>>>>,
    /// The memory set aside for what both directions remember.
    _windows: Option<Box<Reservation>>,
    /// Its number in the registry.
    pub(super) id: Option<ConnectionId>,
    /// Where spans are recorded.
    pub(super) span: Option<Box<Span>>,
    /// What is known of the connection, where it is kept.
    pub(super) info: Option<Arc<ConnectionInfo>>,
}

/// How this endpoint compresses.
#[derive(Clone, Copy)]
pub(super) struct Compressing<'a> {
    pub(super) shape: Shape,
    context: Option<&'a Lock<Option<Context>>>,
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
        if let Some(settings) = settings {
            self.shape = Some(Shape::new(direction, settings));
            self.context = direction
                .context_takeover
                .then(|| Box::new(Lock::new(Some(Context::new(direction, settings)))));
        }
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

    /// Keeps what is known of the connection. What is settled has to be there before.
    pub(crate) fn info(mut self, info: ConnectionInfo) -> Self {
        let info = info.settled(self.protocol.take(), self.deflate.is_some());
        self.info = Some(Arc::new(info));
        self
    }

    /// Returns the subprotocol agreed on.
    pub(crate) fn protocol(&self) -> Option<&str> {
        match &self.info {
            Some(info) => info.subprotocol(),
            None => self.protocol.as_deref(),
        }
    }

    /// How messages are compressed, if they are.
    #[inline]
    pub(super) fn compressing(&self) -> Option<Compressing<'_>> {
        Some(Compressing {
            shape: self.shape?,
            context: self.context.as_deref(),
        })
    }

    /// How the peer's messages are compressed, if they may be.
    pub(super) fn deflate_params(&self) -> Option<DeflateParams> {
        self.deflate
    }

    pub(super) fn boxed(self) -> Option<Box<Self>> {
        let something = self.protocol.is_some()
            || self.deflate.is_some()
            || self.id.is_some()
            || self.span.is_some()
            || self.info.is_some();
        something.then(|| Box::new(self))
    }

    /// How a message is compressed, if it is.
    #[inline]
    pub(super) fn compresses(&self, outbound: &Outbound, setup: &Setup) -> Option<Compressing<'_>> {
        let compressing = self.compressing()?;
        let settings = setup.config.compression.as_ref()?;
        outbound.compresses(settings).then_some(compressing)
    }
}

impl<'a> Compressing<'a> {
    /// Gives up a compressor that is not used, unless somebody is using it.
    pub(super) fn release_if_unused(self) {
        if let Some(context) = self.context
            && let Some(mut slot) = context.try_lock()
            && let Some(context) = &mut *slot
        {
            context.release_if_unused();
        }
    }

    /// Locks what later messages may refer to. Whoever compresses with it queues what came of it
    /// before the lock is released: the order on the wire is that of compression.
    pub(super) fn lock(self) -> Option<LockGuard<'a, Option<Context>>> {
        self.context.map(Lock::lock)
    }
}

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreed")
            .field("protocol", &self.protocol())
            .field("deflate", &self.deflate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is there for every connection with compression, a number, a span or a subprotocol.
    #[test]
    fn what_was_agreed_on_takes_no_more_than_it_did_without_an_info() {
        assert_eq!(size_of::<Agreed>(), 64);
    }
}
