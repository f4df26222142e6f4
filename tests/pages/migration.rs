//! The pages `migration` have the programs that `tests/migration/run` runs, and all of them.

use std::{collections::BTreeSet, fs};

use crate::{read, root};

const PAGES: [&str; 5] = [
    "src/book/migration.md",
    "src/book/migration/node.md",
    "src/book/migration/others.md",
    "src/book/migration/rust.md",
    "src/book/migration/tungstenite.md",
];

#[test]
fn programs_on_the_pages_are_those_that_are_run() {
    let mut quoted = BTreeSet::new();
    for page in PAGES {
        for part in read(page).split("<!-- tests/migration/").skip(1) {
            let (file, rest) = part.split_once(" -->\n```").expect("a file, and a block");
            let block = rest.split_once("\n```").expect("the block has an end").0;
            let text = block.split_once('\n').expect("the block has lines").1;
            let program = read(&format!("tests/migration/{file}"));
            assert_eq!(text, program.trim_end(), "{page}: {file}");
            assert!(quoted.insert(file.to_owned()), "{file} stands there twice");
        }
    }
    let mut files = BTreeSet::new();
    for side in ["before", "after"] {
        for file in fs::read_dir(root().join("tests/migration").join(side)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            files.insert(format!("{side}/{name}"));
        }
    }
    assert_eq!(quoted, files);
}
