//! The page `troubleshooting` names tests that reproduce what it says.

use crate::{read, security::exists};

#[test]
fn every_test_on_the_page_exists() {
    let page = read("src/book/troubleshooting.md");
    let names = page
        .split('`')
        .filter(|name| name.starts_with("it::") && *name != "it::");
    let names: Vec<_> = names.collect();
    assert!(names.len() >= 15, "{names:?}");
    let unknown: Vec<_> = names.into_iter().filter(|name| !exists(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
