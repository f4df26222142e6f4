//! Files that a page quotes, under a mark with their path, are quoted as they are; and all that are there for a page.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{read, root};

#[test]
fn files_are_on_their_pages_as_they_are_run() {
    let mut quoted = BTreeSet::new();
    for page in pages(&root().join("src/book")) {
        quote(&page, &mut quoted);
    }
    let configurations = files("tests/deploy").filter(|file| {
        let name = file.rsplit('/').next().expect("a name");
        name != "run" && !name.ends_with(".rs")
    });
    let files: BTreeSet<String> = configurations
        .chain(files("tests/libraries/programs"))
        .chain(files("tests/migration/before"))
        .chain(files("tests/migration/after"))
        .collect();
    assert_eq!(quoted, files);
}

/// Compares what a page quotes with the files, and adds their paths.
fn quote(page: &str, quoted: &mut BTreeSet<String>) {
    for part in page.split("<!-- ").skip(1) {
        let Some((file, rest)) = part.split_once(" -->\n```") else {
            continue; // another comment
        };
        let block = rest.split_once("\n```").expect("the block has an end").0;
        let text = block.split_once('\n').expect("the block has lines").1;
        assert_eq!(text, read(file).trim_end(), "{file}");
        quoted.insert(file.to_owned());
    }
}

/// The text of all pages of a folder.
fn pages(folder: &Path) -> Vec<String> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages.extend(self::pages(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(fs::read_to_string(path).unwrap());
        }
    }
    pages
}

/// The paths of what is in a folder.
fn files(folder: &'static str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    entries.map(move |entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        format!("{folder}/{name}")
    })
}
