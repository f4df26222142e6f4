//! `ARCHITECTURE.md` says which part of the sources knows which, and it is so.
//!
//! Three kinds of blocks of that page are read:
//!
//! - `arrows`: `service -> session protocol`, for each folder of `src`, or file beside them, what it imports
//!   from; `arrows session` is the same for what is in `src/session`;
//! - `circles`: `groups/group groups/member`, on each line what knows each other, files or folders.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    read,
    sources::{Import, Sources},
};

/// An arrow from one part to another, and an import that it stands for.
type Arrows<'a> = BTreeMap<(String, String), &'a Import>;

#[test]
fn folders_import_from_those_to_which_an_arrow_leads() {
    let (page, sources) = (Page::read(), Sources::read());
    let wrong = page.wrong_arrows(&sources);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_goes_in_a_circle_but_what_the_page_names() {
    let (page, sources) = (Page::read(), Sources::read());
    let wrong = page.wrong_circles(&sources);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn everything_is_imported_from_where_it_lives() {
    let wrong = through_the_roof(&Sources::read());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_arrow_that_only_the_page_or_only_a_file_has_is_seen() {
    let page = "```arrows\nservice -> session protocol\n```\n";
    let wrong = Page::of(page).wrong_arrows(&planted(&[
        (
            "lib.rs",
            "mod protocol;\nmod service;\nmod session;\npub use session::Sender;",
        ),
        (
            "protocol.rs",
            "pub(crate) struct Frame;\n#[cfg(test)]\nmod tests {\n    use crate::service::S;\n}",
        ),
        (
            "service.rs",
            "// use crate::protocol::Frame;\nuse std::fmt;\n\nuse crate::session::Sender;",
        ),
        ("session/mod.rs", "mod handle;\npub use handle::Sender;"),
        (
            "session/handle.rs",
            "pub struct Sender;\nfn f() { let _ = \"}\"; crate::protocol::Frame::new(); }",
        ),
    ]));
    assert_eq!(
        wrong,
        [
            "session -> protocol is not on the page: src/session/handle.rs:2 imports crate::protocol::Frame::new \
             from src/protocol.rs",
            "service -> protocol is on the page, and no file of service imports from protocol",
        ]
    );
}

#[test]
fn a_circle_of_folders_or_of_files_is_seen_and_so_is_one_that_is_gone() {
    let page = "```arrows\na -> b\nb -> a\n```\n```circles\na/x a/y\na/x a/z\n```\n";
    let wrong = Page::of(page).wrong_circles(&planted(&[
        ("lib.rs", "mod a;\nmod b;"),
        ("a/mod.rs", "mod x;\nmod y;\npub(crate) use x::X;"),
        ("a/x.rs", "use super::y::Y;\npub(crate) struct X;"),
        ("a/y.rs", "use crate::{a::X, b::B};\npub(crate) struct Y;"),
        ("b.rs", "pub(crate) struct B(crate::a::Z);"),
    ]));
    assert_eq!(
        wrong,
        [
            "a circle that the page does not name: a b",
            "    src/a/y.rs:1 imports crate::b::B from src/b.rs",
            "    src/b.rs:1 imports crate::a::Z from src/a/mod.rs",
            "the page names a circle that is none: a/x a/z",
        ]
    );
}

#[test]
fn a_way_through_the_roof_is_seen() {
    let sources = planted(&[
        (
            "lib.rs",
            "mod a;\nmod b;\npub use a::A;\n#[cfg(test)]\nmod c;",
        ),
        (
            "a.rs",
            "use crate::{\n    b::{B, other},\n    A,\n};\nuse crate::a::A as Same;",
        ),
        (
            "b.rs",
            "pub fn other() { let a: super::A = crate::a::A; crate::handler(a) }\npub struct B;",
        ),
        ("c.rs", "use crate::A;"),
    ]);
    assert_eq!(
        through_the_roof(&sources),
        [
            "src/a.rs:3 goes through the roof: crate::A",
            "src/b.rs:1 goes through the roof: crate::A",
            "src/b.rs:1 goes through the roof: crate::handler",
        ]
    );
}

fn planted(files: &[(&str, &str)]) -> Sources {
    let files = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    Sources::of(&files.collect())
}

/// What the page says.
struct Page {
    /// For each part whose insides are drawn, the arrows; the crate itself is "".
    drawings: BTreeMap<String, BTreeSet<(String, String)>>,
    circles: Vec<BTreeSet<String>>,
}

impl Page {
    fn read() -> Self {
        Self::of(&read("ARCHITECTURE.md"))
    }

    fn of(text: &str) -> Self {
        let mut page = Self {
            drawings: BTreeMap::new(),
            circles: vec![],
        };
        let mut block = None;
        for line in text.lines() {
            if let Some(language) = line.strip_prefix("```") {
                block = block.is_none().then(|| language.trim());
                if let Some(part) = block.and_then(|block| block.strip_prefix("arrows")) {
                    page.drawings.entry(part.trim().to_owned()).or_default();
                }
                continue;
            }
            let Some((language, part)) = block.map(|it| it.split_once(' ').unwrap_or((it, "")))
            else {
                continue;
            };
            let names = |text: &str| {
                text.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            match language {
                "arrows" => {
                    let (from, to) = line
                        .split_once(" ->")
                        .unwrap_or_else(|| panic!("no arrow: {line}"));
                    let drawing = page.drawings.entry(part.to_owned()).or_default();
                    for to in names(to) {
                        drawing.insert((from.trim().to_owned(), to));
                    }
                }
                "circles" => page.circles.push(names(line).into_iter().collect()),
                _ => {}
            }
        }
        assert!(page.drawings.contains_key(""), "the page has no arrows");
        page
    }

    fn wrong_arrows(&self, sources: &Sources) -> Vec<String> {
        let mut wrong = vec![];
        for (part, drawn) in &self.drawings {
            let there = arrows(sources, part);
            for ((from, to), import) in &there {
                if !drawn.contains(&(from.clone(), to.clone())) {
                    wrong.push(format!(
                        "{from} -> {to} is not on the page: {}",
                        told(import)
                    ));
                }
            }
            for (from, to) in drawn {
                if !there.contains_key(&(from.clone(), to.clone())) {
                    wrong.push(format!(
                        "{from} -> {to} is on the page, and no file of {from} imports from {to}"
                    ));
                }
            }
        }
        wrong
    }

    /// Circles of the parts of each drawing, and of all files.
    fn wrong_circles(&self, sources: &Sources) -> Vec<String> {
        let mut graphs: Vec<Arrows<'_>> = self
            .drawings
            .keys()
            .map(|part| arrows(sources, part))
            .collect();
        graphs.push(between_files(sources));
        let mut named: BTreeSet<_> = self.circles.iter().cloned().collect();
        let mut wrong = vec![];
        for graph in &graphs {
            for circle in circles(graph) {
                if named.remove(&circle) || self.circles.contains(&circle) {
                    continue;
                }
                let names = circle.iter().cloned().collect::<Vec<_>>().join(" ");
                wrong.push(format!("a circle that the page does not name: {names}"));
                let inside = graph
                    .iter()
                    .filter(|((from, to), _)| circle.contains(from) && circle.contains(to));
                wrong.extend(inside.map(|(_, import)| format!("    {}", told(import))));
            }
        }
        let gone = named
            .iter()
            .map(|circle| circle.iter().cloned().collect::<Vec<_>>().join(" "));
        wrong.extend(gone.map(|names| format!("the page names a circle that is none: {names}")));
        wrong
    }
}

fn told(import: &Import) -> String {
    format!(
        "src/{}:{} imports {} from src/{}",
        import.from, import.line, import.path, import.to
    )
}

/// What imports from what, of the parts of a folder, or of the crate, where `folder` is "".
fn arrows<'a>(sources: &'a Sources, folder: &str) -> Arrows<'a> {
    let part_of = |file: &str| {
        let inside = match folder {
            "" => file,
            folder => file.strip_prefix(folder)?.strip_prefix('/')?,
        };
        let part = inside.split('/').next()?.trim_end_matches(".rs");
        // The roof, and the page of a folder, pass things on.
        (!["lib", "mod"].contains(&part)).then(|| part.to_owned())
    };
    let mut found = Arrows::new();
    for import in sources.imports() {
        if let (Some(from), Some(to)) = (part_of(&import.from), part_of(&import.to))
            && from != to
        {
            found.entry((from, to)).or_insert(import);
        }
    }
    found
}

/// Which file imports from which, by their paths without `.rs`.
fn between_files(sources: &Sources) -> Arrows<'_> {
    let name = |file: &str| file.trim_end_matches(".rs").to_owned();
    let imports = sources.imports().iter();
    let imports = imports
        .filter(|import| import.from != "lib.rs" && import.to != "lib.rs" && !import.is_passed_on);
    imports
        .map(|import| ((name(&import.from), name(&import.to)), import))
        .collect()
}

/// The largest sets in which each is reached from each.
fn circles(arrows: &Arrows<'_>) -> BTreeSet<BTreeSet<String>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in arrows.keys() {
        next.entry(from).or_default().push(to);
    }
    let reached = |from| {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        let mut left: Vec<&str> = vec![from];
        while let Some(at) = left.pop() {
            let new = next.get(at).into_iter().flatten();
            left.extend(new.filter(|to| found.insert(**to)));
        }
        found
    };
    let reach: BTreeMap<_, _> = next.keys().map(|from| (*from, reached(*from))).collect();
    let circle = |one: &&str| {
        let both = reach[one]
            .iter()
            .filter(|other| reach.get(*other).is_some_and(|back| back.contains(one)));
        both.map(|name| (*name).to_owned()).collect::<BTreeSet<_>>()
    };
    reach
        .keys()
        .map(circle)
        .filter(|circle| circle.len() > 1)
        .collect()
}

/// Imports from `lib.rs`, which is for users: `use crate::Message`, or `crate::handler` in the midst of code.
/// The pages of `book` are for them, too, and link to what they see.
fn through_the_roof(sources: &Sources) -> Vec<String> {
    let paths = sources.paths().filter(|(file, _, path)| {
        let is_of_the_crate = path[0] == "crate" && !["lib.rs", "book/mod.rs"].contains(file);
        is_of_the_crate && path.get(1).is_none_or(|name| !sources.has_module(name))
    });
    let told = paths.map(|(file, line, path)| {
        format!(
            "src/{file}:{line} goes through the roof: {}",
            path.join("::")
        )
    });
    told.collect()
}
