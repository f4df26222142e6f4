//! What waits for a member.

use std::collections::VecDeque;

use super::farewell::Farewell;
use crate::{protocol::PreparedMessage, session::Ticket};

/// What waits for a member.
#[derive(Default)]
pub(super) struct Backlog {
    /// What few members have.
    pub(super) rare: Option<Box<Rare>>,
    /// The place in the line of those that wait for the end.
    pub(super) closed: Option<Ticket>,
    /// The place in the line of those that wait for room.
    pub(super) room: Option<Ticket>,
    /// Nothing waits any longer.
    pub(super) left: bool,
    /// Its farewell was said, or is about to be.
    pub(super) said: bool,
}

#[derive(Default)]
pub(super) struct Rare {
    /// Messages beside a full queue, where the group keeps some.
    pub(super) messages: VecDeque<PreparedMessage>,
    /// What is said once it has left.
    pub(super) farewell: Option<Farewell>,
}

/// What leaving has come to.
pub(super) struct Left {
    /// It was a member until now.
    pub(super) was_member: bool,
    /// What waited for it, to be dropped outside all locks.
    pub(super) messages: VecDeque<PreparedMessage>,
}

impl Backlog {
    /// Reports whether no message waits.
    pub(super) fn is_empty(&self) -> bool {
        let rare = self.rare.as_ref();
        rare.is_none_or(|rare| rare.messages.is_empty())
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}
