//! The types that [`Groups`](crate::Groups) take and return.
//!
//! - [`GroupsBuilder`], [`SlowMember`]: the settings.
//! - [`Key`]: the key of a group. [`Names`]: what names a group.
//! - [`Membership`], [`JoinError`]: what joining returns.
//! - [`Broadcast`]: a message, and whether slow members may miss it. [`SlowConnection`]: the policy for slow
//!   connections of a broadcast to all [`Connections`](crate::Connections::broadcast).
//! - [`Delivery`]: the outcome of a broadcast. [`Count`] (feature `cluster`): how many members a group has on all nodes.
//! - [`GroupEvents`], [`GroupEvent`], [`GroupMember`]: a stream of groups made, joined, left and gone.

// Groups of connections: the same message to many.
//
// - `handle`: what applications hold, [`Groups`](handle::Groups);
// - `table`: what it shares: the groups, and who is in them; `index` finds a group by its
//   key;
// - `broadcast`: what is done in the turn of one; `elsewhere`: how other nodes are told (`nowhere`
//   without the feature `cluster`); `spanning`: what comes from them, and what else there is in a cluster; `count`: who
//   is there on all of them;
// - `group` and `member`: one group, and one connection in it. They know each other, because a
//   member leaves by itself when its connection ends;
// - `presence`: members with data, moved out, and with a `farewell` that is said for them;
// - `unwoken`: sessions that a broadcast has something for, woken together; `push_out`: tasks that do it in another thread;
// - `everyone`: the same to all connections of a registry.

mod backlog;
mod broadcast;
mod builder;
mod content;
#[cfg(feature = "cluster")]
mod count;
mod data;
mod delivery;
#[cfg_attr(not(feature = "cluster"), path = "nowhere.rs")]
mod elsewhere;
mod error;
mod event;
mod events;
mod everyone;
mod farewell;
mod group;
pub(crate) mod handle;
mod index;
mod key;
mod member;
mod presence;
mod push_out;
#[cfg(feature = "cluster")]
mod spanning;
mod table;
mod unwoken;

#[cfg(feature = "cluster")]
pub use self::count::Count;
pub use self::{
    builder::GroupsBuilder,
    content::Broadcast,
    delivery::{Delivery, SlowMember},
    error::JoinError,
    event::{GroupEvent, GroupMember},
    events::GroupEvents,
    everyone::SlowConnection,
    key::{Key, Names},
    member::Membership,
};
