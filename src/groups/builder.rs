//! Settings of groups.

use std::{fmt, marker::PhantomData};

use super::{delivery::SlowMember, elsewhere::Reach, key::Key};

/// The settings of [`Groups`](crate::Groups), made by [`Groups::builder`](crate::Groups::builder).
pub struct GroupsBuilder<K, T = ()> {
    pub(super) max_groups: Option<usize>,
    pub(super) slow: Box<dyn Fn(&K) -> SlowMember + Send + Sync>,
    pub(super) reach: Option<Reach<K>>,
    pub(super) data: PhantomData<fn() -> T>,
}

impl<K: Key, T> GroupsBuilder<K, T> {
    /// Limits how many groups a connection may be in.
    ///
    /// Default: `None`, no limit.
    #[must_use]
    pub fn max_groups_per_connection(mut self, groups: impl Into<Option<usize>>) -> Self {
        self.max_groups = groups.into();
        self
    }

    /// Decides for each group, when it is made, what happens to members that cannot keep up.
    ///
    /// The function runs under a lock, and must not use the same [`Groups`](crate::Groups). If it
    /// panics, so does [`Groups::join`](crate::Groups::join), and nothing is changed. Default:
    /// [`SlowMember::default`], they are closed with code 1013.
    #[must_use]
    pub fn slow_members(
        mut self,
        policy: impl Fn(&K) -> SlowMember + Send + Sync + 'static,
    ) -> Self {
        self.slow = Box::new(policy);
        self
    }

    /// Sets the type of the data that members [join with](crate::Groups::join_as).
    ///
    /// Default: `()`, no data.
    ///
    /// ```
    /// use tower_websocket::Groups;
    ///
    /// struct User {
    ///     name: String,
    /// }
    ///
    /// let rooms = Groups::<String>::builder().member_data::<User>().build();
    /// assert!(rooms.presence("lobby").is_empty());
    /// ```
    #[must_use]
    pub fn member_data<D: Send + Sync + 'static>(self) -> GroupsBuilder<K, D> {
        GroupsBuilder {
            max_groups: self.max_groups,
            slow: self.slow,
            reach: self.reach,
            data: PhantomData,
        }
    }
}

impl<K, T> fmt::Debug for GroupsBuilder<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupsBuilder")
            .field("max_groups_per_connection", &self.max_groups)
            .finish_non_exhaustive()
    }
}
