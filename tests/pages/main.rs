//! What the pages of this repository say about its sources is so.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod architecture;
mod comparison;
mod links;
mod markdown;
mod quoted;
mod security;
mod sources;
mod troubleshooting;

use std::{fs, path::Path};

/// Reads a file of the repository.
fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the repository is around the tests")
}
