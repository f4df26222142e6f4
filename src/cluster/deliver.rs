//! What a cluster knows of groups.

use std::{pin::Pin, sync::Arc, time::Duration};

use super::{envelope::Carried, node_id::NodeId};
use crate::protocol::{CloseFrame, Outbound};

/// A group with members here, as those know it that bring something of other nodes.
pub(crate) trait Deliver: Send + Sync {
    /// Delivers to the members, in the group's turn.
    fn deliver(self: Arc<Self>, parcel: Parcel) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Tells who listens that something is missing.
    fn missed(self: Arc<Self>, gap: Gap);

    /// Returns how many members there are.
    fn members(&self) -> usize;
}

/// Groups that were built with a cluster.
pub(crate) trait Span: Send + Sync {
    /// Tells who listens that there was no connection for so long.
    fn reconnected(&self, after: Duration);

    /// Returns how many groups have members here.
    fn groups(&self) -> usize;
}

/// What is for the members of a group.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    /// A message.
    Message(Outbound),
    /// They are closed.
    Close(Option<CloseFrame>),
}

impl From<Parcel> for Carried {
    fn from(parcel: Parcel) -> Self {
        match parcel {
            Parcel::Message(message) => Self::Message(message),
            Parcel::Close(frame) => Self::Close(frame),
        }
    }
}

/// Messages of another node to a group here that were lost on their way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Gap {
    /// The node that sent them.
    pub from: NodeId,
    /// How many messages were lost.
    pub missed: u64,
}
