//! The page *Comparison* says of this crate what a test holds: those it names exist, and no row of tables is cut short.

use crate::{read, security::exists};

#[test]
fn tests_that_are_named_exist() {
    let page = read("src/book/comparison.md");
    let named: Vec<_> = page
        .split('`')
        .filter(|text| text.starts_with("it::"))
        .collect();
    let missing: Vec<_> = named.iter().filter(|name| !exists(name)).collect();
    assert!(named.len() > 30, "{}", named.len());
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn rows_have_a_cell_for_each_library() {
    let page = read("src/book/comparison.md");
    let mut columns = None;
    for line in page.lines() {
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        let cells = line.split('|').count();
        assert_eq!(*columns.get_or_insert(cells), cells, "{line}");
    }
}

#[test]
fn libraries_of_this_repository_have_the_versions_of_the_page() {
    let page = read("src/book/comparison.md");
    let page = page.replace('\n', " ");
    let locks = [
        ("benches/compare/Cargo.lock", "axum"),
        ("benches/compare/Cargo.lock", "tokio-tungstenite"),
        ("benches/compare/Cargo.lock", "fastwebsockets"),
        ("benches/compare/Cargo.lock", "tokio-websockets"),
        ("benches/compare/Cargo.lock", "sockudo-ws"),
        ("benches/compare/Cargo.lock", "yawc"),
        ("tests/matrix/Cargo.lock", "yawc"),
        ("tests/matrix/Cargo.lock", "actix-ws"),
        ("tests/matrix/Cargo.lock", "actix-http"),
    ];
    for (lock, name) in locks {
        let lock = read(lock);
        let entry = format!("name = \"{name}\"\nversion = \"");
        let after = lock.split(&entry).skip(1);
        let versions: Vec<_> = after.filter_map(|rest| rest.split('"').next()).collect();
        let said = |version: &&str| page.contains(&format!("{name} {version}"));
        assert!(
            versions.iter().any(said),
            "{name} {versions:?}: ask it again"
        );
    }
}
