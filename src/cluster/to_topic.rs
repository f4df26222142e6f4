//! Keys of groups, as an engine knows them.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

use crate::protocol::Utf8Bytes;

/// A key of groups that can be a part of a topic.
///
/// For strings and bytes the part is they themselves, for integers their decimal digits. A key can be seen in the
/// engine: it must be no secret.
///
/// ```
/// # #[cfg(feature = "cluster")]
/// # {
/// use std::borrow::Cow;
/// use tower_websocket::cluster::ToTopic;
///
/// #[derive(Clone, Eq, Hash, PartialEq)]
/// struct Seat { row: u8, place: u8 }
///
/// impl ToTopic for Seat {
///     fn to_topic(&self) -> Cow<'_, [u8]> {
///         format!("{}-{}", self.row, self.place).into_bytes().into()
///     }
/// }
///
/// assert_eq!(Seat { row: 3, place: 14 }.to_topic(), &b"3-14"[..]);
/// assert_eq!(42_u32.to_topic(), &b"42"[..]);
/// # }
/// ```
pub trait ToTopic {
    /// Returns bytes that are different for each key, and the same on every node: 512 at most.
    ///
    /// It runs under a lock, as [`Key`](crate::groups::Key)'s methods do.
    fn to_topic(&self) -> Cow<'_, [u8]>;
}

macro_rules! as_bytes {
    ($($key:ty),+) => {$(
        impl ToTopic for $key {
            fn to_topic(&self) -> Cow<'_, [u8]> {
                let bytes: &[u8] = self.as_ref();
                bytes.into()
            }
        }
    )+};
}

as_bytes!(str, String, [u8], Vec<u8>, Bytes, Utf8Bytes);

macro_rules! in_digits {
    ($($key:ty),+) => {$(
        impl ToTopic for $key {
            fn to_topic(&self) -> Cow<'_, [u8]> {
                self.to_string().into_bytes().into()
            }
        }
    )+};
}

in_digits!(
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, char
);

macro_rules! as_inner {
    ($($key:ty),+) => {$(
        impl<T: ToTopic + ?Sized> ToTopic for $key {
            fn to_topic(&self) -> Cow<'_, [u8]> {
                (**self).to_topic()
            }
        }
    )+};
}

as_inner!(&T, Box<T>, Arc<T>);

impl<const N: usize> ToTopic for [u8; N] {
    fn to_topic(&self) -> Cow<'_, [u8]> {
        self[..].into()
    }
}

impl<B: ToTopic + ToOwned + ?Sized> ToTopic for Cow<'_, B> {
    fn to_topic(&self) -> Cow<'_, [u8]> {
        (**self).to_topic()
    }
}
