//! What [`Groups`](crate::Groups) need and return.
//!
//! - [`GroupsBuilder`], [`SlowMember`]: the settings.
//! - [`Key`]: what tells groups apart.
//! - [`Membership`], [`JoinError`]: what joining returns.
//! - [`Delivery`]: what became of a broadcast.
//! - [`GroupEvents`], [`GroupEvent`]: a stream of groups made, joined, left and gone.

// Groups of connections: the same message to many.
//
// - `handle`: what applications hold, [`Groups`](handle::Groups);
// - `table`: what it shares: the groups, and who is in them; `index` finds a group by its
//   key;
// - `group` and `member`: one group, and one connection in it. They know each other, because a
//   member leaves by itself when its connection ends;
// - `unwoken`: sessions that a broadcast has something for, woken together.

mod builder;
mod delivery;
mod error;
mod events;
mod group;
pub(crate) mod handle;
mod index;
mod key;
mod member;
mod table;
mod unwoken;

pub use self::{
    builder::GroupsBuilder,
    delivery::{Delivery, SlowMember},
    error::JoinError,
    events::{GroupEvent, GroupEvents},
    key::Key,
    member::Membership,
};
