//! What groups are known by.

use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    hash::Hash,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use crate::protocol::Utf8Bytes;

/// The key of a group: anything that can be hashed, cloned and sent.
///
/// `Eq` runs under a lock, and must not use the same [`Groups`](crate::Groups). A key that panics, in
/// whatever it does, leaves nothing half-done.
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Key for K {}

/// The names of a group whose key is a `K`: the key itself, or what it can be borrowed as.
///
/// For `String` that is `str`. A group that is not on this node may be on another one, so
/// the name alone has to be enough for its topic. Implement it where you implement [`Borrow`](std::borrow::Borrow):
///
/// ```
/// use std::borrow::{Borrow, Cow};
/// use tower_websocket::{Groups, groups::Names};
///
/// #[derive(Clone, Eq, Hash, PartialEq)]
/// struct Room(String);
///
/// impl Borrow<str> for Room {
///     fn borrow(&self) -> &str {
///         &self.0
///     }
/// }
///
/// impl Names<Room> for str {
///     fn topic(&self, of: fn(&Room) -> Cow<'_, [u8]>) -> Vec<u8> {
///         of(&Room(self.to_owned())).into()
///     }
/// }
///
/// let rooms: Groups<Room> = Groups::new();
/// let broadcast = rooms.broadcast("lobby", "hello");
/// # drop(broadcast);
/// ```
pub trait Names<K> {
    /// Returns the topic of the key that equals `self`; `of` returns that of a key.
    fn topic(&self, of: fn(&K) -> Cow<'_, [u8]>) -> Vec<u8>;
}

impl<K> Names<K> for K {
    fn topic(&self, of: fn(&K) -> Cow<'_, [u8]>) -> Vec<u8> {
        of(self).into()
    }
}

/// What borrowed data lives for ever has the topic of any that is equal.
impl Names<&'static Self> for str {
    fn topic(&self, _: for<'a> fn(&'a &'static Self) -> Cow<'a, [u8]>) -> Vec<u8> {
        self.into()
    }
}

impl Names<&'static Self> for [u8] {
    fn topic(&self, _: for<'a> fn(&'a &'static Self) -> Cow<'a, [u8]>) -> Vec<u8> {
        self.into()
    }
}

macro_rules! names {
    ($($name:ty => $($key:ty),+;)+) => {$($(
        impl Names<$key> for $name {
            fn topic(&self, of: fn(&$key) -> Cow<'_, [u8]>) -> Vec<u8> {
                of(&self.into()).into()
            }
        }
    )+)+};
}

names! {
    str => String, Box<str>, Arc<str>, Utf8Bytes;
    Path => PathBuf, Box<Path>, Arc<Path>;
    OsStr => OsString, Box<OsStr>, Arc<OsStr>;
}

macro_rules! names_slices {
    ($($key:ty),+) => {$(
        impl<T: Clone> Names<$key> for [T] {
            fn topic(&self, of: fn(&$key) -> Cow<'_, [u8]>) -> Vec<u8> {
                of(&self.into()).into()
            }
        }
    )+};
}

names_slices!(Vec<T>, Box<[T]>, Arc<[T]>);

impl Names<Bytes> for [u8] {
    fn topic(&self, of: fn(&Bytes) -> Cow<'_, [u8]>) -> Vec<u8> {
        of(&Bytes::copy_from_slice(self)).into()
    }
}

impl<B: ToOwned + ?Sized> Names<Cow<'static, B>> for B {
    fn topic(&self, of: for<'a> fn(&'a Cow<'static, B>) -> Cow<'a, [u8]>) -> Vec<u8> {
        of(&Cow::Owned(self.to_owned())).into()
    }
}
