//! The place of what Unix knows of a file, on other systems.

use std::fs::Metadata;

pub(super) type Identity = ();

pub(super) fn of(_: &Metadata) -> Identity {}
