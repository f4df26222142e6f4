//! The page `deployment` has the configurations that `tests/deploy/run` runs, and all of them.

use std::{collections::BTreeSet, fs};

use crate::{read, root};

#[test]
fn configurations_on_the_page_are_those_that_are_run() {
    let page = read("src/book/deployment.md");
    let mut quoted = BTreeSet::new();
    for part in page.split("<!-- tests/deploy/").skip(1) {
        let (file, rest) = part.split_once(" -->\n```").expect("a file, and a block");
        let block = rest.split_once("\n```").expect("the block has an end").0;
        let text = block.split_once('\n').expect("the block has lines").1;
        assert_eq!(
            text,
            read(&format!("tests/deploy/{file}")).trim_end(),
            "{file}"
        );
        quoted.insert(file.to_owned());
    }
    let files = fs::read_dir(root().join("tests/deploy")).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files
        .filter(|file| file != "run" && !file.ends_with(".rs"))
        .collect();
    assert_eq!(quoted, files);
}
