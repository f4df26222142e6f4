//! What the application knows of a member.

use std::{any::Any, sync::Arc};

/// What the application knows of a member. Its type is that of the [`Groups`](crate::Groups).
pub(super) type Data = Arc<dyn Any + Send + Sync>;
