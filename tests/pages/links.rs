//! Links of the pages lead somewhere: to files, to sections, and from what this crate says of errors.
//!
//! Two kinds of texts are read. Files of Markdown are seen on a repository's host: their links lead to files, and to
//! headings by GitHub's names. The pages of the documentation, `src/book`, are seen in rustdoc: their links lead to
//! items, which rustdoc looks up by itself, and to headings by its names, which it does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use crate::{
    markdown::{Link, Markdown, Slugs},
    read, root,
};

#[test]
fn links_of_files_lead_to_files_and_to_headings_that_exist() {
    let wrong = Texts::read().wrong_of_files();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn links_of_pages_and_of_comments_lead_to_headings_that_exist() {
    let wrong = Texts::read().wrong_of_docs();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tables_of_contents_name_every_section() {
    let wrong = Texts::read().wrong_contents();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sections_that_messages_name_exist() {
    let wrong = Texts::read().wrong_names();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The texts of the repository, by their paths.
struct Texts {
    /// All files of Markdown, those of `src/book` as well.
    files: BTreeMap<String, String>,
    /// Everything else that a link may lead to.
    others: BTreeSet<String>,
    /// The files of Rust in `src`.
    sources: BTreeMap<String, String>,
}

impl Texts {
    fn read() -> Self {
        let (mut files, mut others, mut sources) =
            <(BTreeMap<_, _>, BTreeSet<_>, BTreeMap<_, _>)>::default();
        let mut folders = vec![root().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                let relative = path
                    .strip_prefix(root())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                if ["target", ".git", "node_modules", "corpus"].contains(&name) {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path.clone());
                }
                if name.ends_with(".md") {
                    files.insert(relative, read_path(&path));
                } else if relative.starts_with("src/") && name.ends_with(".rs") {
                    sources.insert(relative.clone(), read_path(&path));
                    others.insert(relative);
                } else {
                    others.insert(relative);
                }
            }
        }
        Self {
            files,
            others,
            sources,
        }
    }

    /// The pages of the documentation by their names, each of one file or more.
    fn pages(&self) -> BTreeMap<String, String> {
        let book = &self.sources["src/book/mod.rs"];
        let (mut pages, mut text) = (BTreeMap::new(), String::new());
        for line in book.lines() {
            if let Some((_, file)) = line.split_once("#[doc = include_str!(\"") {
                let file = file.split('"').next().unwrap_or_default();
                let added = self.files.get(&format!("src/book/{file}"));
                // As rustdoc does, which passes over the blank lines at the ends.
                text += added.map_or("", |text| text.trim_matches('\n'));
                text.push('\n');
            } else if line.starts_with("#[doc = \"\"]") {
                text.push('\n');
            } else if let Some(name) = line.strip_prefix("pub mod ") {
                let name = name.split([' ', ';']).next().unwrap_or_default();
                pages.insert(name.to_owned(), std::mem::take(&mut text));
            }
        }
        pages
    }

    fn wrong_of_files(&self) -> Vec<String> {
        let mut wrong = vec![];
        for (file, text) in self
            .files
            .iter()
            .filter(|(file, _)| !file.starts_with("src/book/"))
        {
            for link in Markdown::of(text).links {
                let problem = self.problem_of_file(file, &link.target);
                wrong.extend(problem.map(|problem| told(file, &link, &problem)));
            }
        }
        wrong
    }

    /// What is wrong with a link that is seen on a repository's host.
    fn problem_of_file(&self, file: &str, target: &str) -> Option<String> {
        let (path, anchor) = split(target);
        if is_elsewhere(path) {
            return None;
        }
        let there = match path {
            "" => file.to_owned(),
            path => joined(file, path),
        };
        match (self.files.get(&there), anchor) {
            (None, None) if there.is_empty() || self.others.contains(&there) => None,
            (None, _) => Some("does not exist".to_owned()),
            (Some(_), None) => None,
            (Some(text), Some(anchor)) => lacks(&Markdown::of(text), Slugs::GitHub, anchor),
        }
    }

    fn wrong_of_docs(&self) -> Vec<String> {
        let pages: BTreeMap<_, _> = self.pages().into_iter().collect();
        let pages: BTreeMap<_, _> = pages
            .iter()
            .map(|(name, text)| (&**name, Markdown::of(text)))
            .collect();
        let comments = self
            .sources
            .iter()
            .map(|(file, text)| (&**file, Markdown::of(&comments(text))));
        let comments: Vec<_> = comments.collect();
        let sections: BTreeSet<_> = comments
            .iter()
            .flat_map(|(_, text)| text.slugs(Slugs::Rustdoc))
            .collect();
        let mut wrong = vec![];
        let texts = pages.iter().map(|(name, text)| (*name, text));
        for (name, text) in texts.chain(comments.iter().map(|(file, text)| (*file, text))) {
            for link in &text.links {
                let problem = problem_of_docs(&pages, &sections, name, &link.target);
                wrong.extend(problem.map(|problem| told(name, link, &problem)));
            }
        }
        wrong
    }

    /// Pages that link to several of their own sections before the second have to name all but the first, which is in
    /// sight there.
    fn wrong_contents(&self) -> Vec<String> {
        let mut wrong = vec![];
        for (name, text) in self.pages() {
            let text = Markdown::of(&text);
            let slugs = text.slugs(Slugs::Rustdoc);
            let sections: Vec<_> = text
                .headings
                .iter()
                .zip(slugs)
                .filter(|(it, _)| it.level == 1)
                .collect();
            let Some((second, _)) = sections.get(1) else {
                continue;
            };
            let links = text.links.iter().filter(|link| link.line < second.line);
            let links = links.filter_map(|link| link.target.strip_prefix('#'));
            let contents: BTreeSet<_> = links.collect();
            if contents.len() > 1 {
                let missing = sections
                    .iter()
                    .skip(1)
                    .filter(|(_, slug)| !contents.contains(&**slug));
                wrong.extend(
                    missing.map(|(_, slug)| format!("{name}: its contents do not name #{slug}")),
                );
            }
        }
        wrong
    }

    /// What stands between backticks as `page#section`, in strings and in comments.
    fn wrong_names(&self) -> Vec<String> {
        let mut wrong = vec![];
        let pages = self.pages();
        for (file, text) in &self.sources {
            for name in text.split('`') {
                let Some((page, anchor)) = name.split_once('#') else {
                    continue;
                };
                // What a test makes up of parts is none that is read here.
                if let Some(text) = pages.get(page).filter(|_| !anchor.contains('{')) {
                    let problem = lacks(&Markdown::of(text), Slugs::Rustdoc, anchor);
                    wrong.extend(problem.map(|problem| format!("{file}: `{name}` {problem}")));
                }
            }
        }
        wrong
    }
}

/// What is wrong with a link that is seen in rustdoc, of a page or of a file of the sources.
fn problem_of_docs(
    pages: &BTreeMap<&str, Markdown>,
    sections: &BTreeSet<String>,
    of: &str,
    target: &str,
) -> Option<String> {
    let (path, anchor) = split(target);
    if is_elsewhere(path) {
        return None;
    }
    if path.contains('/') || path.ends_with(".md") {
        return Some("is no link of rustdoc's".to_owned());
    }
    let anchor = anchor?;
    let path = path.split_once('@').map_or(path, |(_, path)| path);
    let path = path
        .trim_start_matches("crate::")
        .trim_start_matches("super::");
    let page = if path.is_empty() { of } else { path };
    match pages.get(page) {
        Some(page) => lacks(page, Slugs::Rustdoc, anchor),
        // What rustdoc names by itself, such as `method.new` and `impl-Clone-for-Config`.
        None if anchor.contains('.') || anchor.starts_with("impl-") => None,
        None if sections.contains(anchor) => None,
        None => Some(format!("no comment has the section #{anchor}")),
    }
}

fn lacks(text: &Markdown, by: Slugs, anchor: &str) -> Option<String> {
    let is_there = text.slugs(by).iter().any(|slug| slug == anchor);
    (!is_there).then(|| format!("has no section #{anchor}"))
}

fn told(file: &str, link: &Link, problem: &str) -> String {
    format!("{file}:{}: {} {problem}", link.line, link.target)
}

fn split(target: &str) -> (&str, Option<&str>) {
    target
        .split_once('#')
        .map_or((target, None), |(path, anchor)| (path, Some(anchor)))
}

fn is_elsewhere(path: &str) -> bool {
    ["https:", "http:", "mailto:"]
        .iter()
        .any(|scheme| path.starts_with(scheme))
}

/// The path that a link of a file leads to.
fn joined(file: &str, path: &str) -> String {
    let mut there = PathBuf::from(file);
    there.pop();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(there.pop()),
            Component::Normal(name) => there.push(name),
            _ => {}
        }
    }
    there.to_str().unwrap().to_owned()
}

/// The documentation that stands in a file of the sources, on its lines.
fn comments(source: &str) -> String {
    let lines = source.lines().map(|line| {
        let line = line.trim_start();
        let text = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"));
        let text = text.unwrap_or_default();
        text.strip_prefix(' ').unwrap_or(text).to_owned() + "\n"
    });
    lines.collect()
}

fn read_path(path: &Path) -> String {
    read(path.strip_prefix(root()).unwrap().to_str().unwrap())
}

/// A repository of two files, two pages and one file of sources, each with what is wrong with it.
fn planted() -> Texts {
    let owned = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
        all.iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect()
    };
    Texts {
        files: owned(&[
            (
                "README.md",
                "# One\n[a](a/b.md#two) [b](a/b.md#three) [c](c.md) [d](#one) [e](#two) [f](a) [g](https://x.y/z)\n",
            ),
            (
                "a/b.md",
                "## Two\n[a](../README.md) [b](../src/lib.rs) [c](../src/no.rs)\n",
            ),
            (
                "src/book/deployment.md",
                "[a](#nginx) [b](#caddy)\n\n# nginx\n\n# Caddy\n\n# AWS\n[a](other.md)\n",
            ),
            (
                "src/book/tuning.md",
                "# Cost\n[a](crate::deployment#nginx) [b](deployment#apache) [c](Config#time) [d](Config#no)\n\n<svg></svg>\n",
            ),
            ("src/book/million.md", "\n# Million\n[a](#million)\n"),
        ]),
        others: ["a", "src/lib.rs"].map(str::to_owned).into(),
        sources: owned(&[
            (
                "src/book/mod.rs",
                "#[doc = include_str!(\"deployment.md\")]\n#[doc = \"\"]\npub mod deployment {\n}\n\
                 #[doc = include_str!(\"tuning.md\")]\n#[doc = include_str!(\"million.md\")]\npub mod tuning;\n",
            ),
            (
                "src/lib.rs",
                "/// # Time\n/// [a](crate::tuning#costs) [b](Config#method.new)\n\
                 fn f() { \"see `deployment#nginx` and `deployment#squid`, not `x#y` or `deployment#{one}`\" }\n",
            ),
        ]),
    }
}

#[test]
fn links_that_lead_nowhere_are_seen() {
    let files = [
        "README.md:2: a/b.md#three has no section #three",
        "README.md:2: c.md does not exist",
        "README.md:2: #two has no section #two",
        "a/b.md:2: ../src/no.rs does not exist",
    ];
    assert_eq!(planted().wrong_of_files(), files);
    let docs = [
        "deployment:8: other.md is no link of rustdoc's",
        "tuning:2: deployment#apache has no section #apache",
        "tuning:2: Config#no no comment has the section #no",
        "tuning:6: #million has no section #million",
        "src/lib.rs:2: crate::tuning#costs has no section #costs",
    ];
    assert_eq!(planted().wrong_of_docs(), docs);
}

#[test]
fn contents_and_messages_that_miss_a_section_are_seen() {
    assert_eq!(
        planted().wrong_contents(),
        ["deployment: its contents do not name #aws"]
    );
    assert_eq!(
        planted().wrong_names(),
        ["src/lib.rs: `deployment#squid` has no section #squid"]
    );
}
