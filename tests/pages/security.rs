//! The page *Security* says what is so: each of its rows names tests, and they exist.

use crate::{read, root};

/// How many classes of attacks there are.
const ROWS: usize = 72;

/// Rows whose defence is being built.
const PENDING: [usize; 0] = [];

#[test]
fn every_row_names_tests_that_exist() {
    let page = read("src/book/security.md");
    let rows = page.lines().filter(|line| line.starts_with("| T"));
    let mut missing = vec![];
    let mut number = 0;
    for row in rows {
        number += 1;
        assert!(row.starts_with(&format!("| T{number} | ")), "{row}");
        let cells: Vec<_> = row.split(" | ").collect();
        assert_eq!(cells.len(), 5, "{row}");
        let names = names(cells[4]);
        if names.is_empty() && !PENDING.contains(&number) {
            missing.push(format!("T{number} names no test"));
        }
        let unknown = names.iter().filter(|name| !exists(name));
        missing.extend(unknown.map(|name| format!("T{number} names {name}, which does not exist")));
    }
    assert_eq!(number, ROWS);
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn tests_that_do_not_exist_are_seen() {
    for name in [
        "it::session::turns::nothing_of_the_kind",
        "it::no_module::every_turn_ends_whatever_the_handler_the_input_and_the_transport_do",
        "it::session::turns::every_turn_ends",
        // A function, and no test.
        "it::session::support::echo",
        "lib::protocol::mask::tests::nothing_of_the_kind",
        "memory::alone",
        "instructions::nothing of the kind",
    ] {
        assert!(!exists(name), "{name}");
    }
}

/// What is between backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

pub(crate) fn exists(name: &str) -> bool {
    let (target, path) = name.split_once("::").unwrap_or((name, ""));
    match target {
        "it" => is_test("tests/it", "main", path),
        "memory_budget" => is_test("tests", "memory_budget", path),
        "lib" => is_test("src", "lib", path),
        // One test, whose parts are functions that it calls.
        "memory" => read("tests/memory/main.rs").contains(&format!("    {path}();")),
        "instructions" => read("tests/instructions.rs").contains(&format!("(\"{path}\", |")),
        _ => false,
    }
}

/// Whether there is such a test below a file, with every module on the way to it declared.
fn is_test(folder: &str, file: &str, path: &str) -> bool {
    let (mut folder, mut source) = (folder.to_owned(), read(&format!("{folder}/{file}.rs")));
    let mut parts = path.split("::").peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return has_test(&source, part);
        }
        let declared = |end| {
            source
                .lines()
                .any(|line| line.trim().ends_with(&format!("mod {part}{end}")))
        };
        if declared(" {") {
            // It goes on in the same file.
            continue;
        }
        if !declared(";") {
            return false;
        }
        folder = format!("{folder}/{part}");
        source = [format!("{folder}.rs"), format!("{folder}/mod.rs")]
            .iter()
            .find(|path| root().join(path).is_file())
            .map_or_else(String::new, |path| read(path));
    }
    false
}

fn has_test(source: &str, name: &str) -> bool {
    let mut attributes = vec![];
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            attributes.push(line);
        } else if !line.is_empty() {
            let declares = line.contains(&format!("fn {name}("));
            let is = |test: &str| {
                attributes
                    .iter()
                    .any(|attribute| attribute.starts_with(test))
            };
            if declares && (is("#[test]") || is("#[tokio::test")) && !is("#[ignore") {
                return true;
            }
            attributes.clear();
        }
    }
    false
}
