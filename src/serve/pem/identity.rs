//! What Unix knows of a file beside its time and length.

use std::{fs::Metadata, os::unix::fs::MetadataExt};

/// The inode, and when that was changed last: a file that has taken the place of another has one of its own, and
/// nobody sets that time.
pub(super) type Identity = (u64, i64, i64);

pub(super) fn of(file: &Metadata) -> Identity {
    (file.ino(), file.ctime(), file.ctime_nsec())
}
