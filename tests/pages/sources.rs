//! What the files of `src` import, without their tests.
//!
//! This reads Rust as far as it has to: modules, `use`, and paths that begin with `crate`, `super` or `self`
//! or with a module beside them. A name that a module only passes on, by `pub use`, counts as its owner's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, slice,
};

use crate::{read, root};

/// The sources, by their paths below `src`.
pub(crate) struct Sources {
    modules: BTreeMap<Path, Module>,
    imports: Vec<Import>,
}

/// The names of a module and of those around it, from the crate on.
type Path = Vec<String>;

/// A module: a file, or two where a feature chooses between them.
#[derive(Default)]
struct Module {
    files: Vec<String>,
    /// What is in scope because of a `use`, and where it is from.
    names: BTreeMap<String, Path>,
    /// Where everything is taken from.
    globs: Vec<Path>,
    /// What is declared.
    items: BTreeSet<String>,
    uses: Vec<Use>,
}

/// A path that stands somewhere in a file.
struct Use {
    file: String,
    line: usize,
    path: Path,
    /// The name that a `use` gives it; `None` for a path in the midst of code.
    name: Option<String>,
    is_public: bool,
}

/// One file makes use of another.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Import {
    pub(crate) from: String,
    pub(crate) line: usize,
    pub(crate) to: String,
    /// As it is written, from the crate on.
    pub(crate) path: String,
    /// Whether a module passes on what is below it.
    pub(crate) is_passed_on: bool,
}

impl Sources {
    /// Reads those of this crate.
    pub(crate) fn read() -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![root().join("src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let path = path.strip_prefix(root()).unwrap().to_str().unwrap();
                    files.insert(path["src/".len()..].to_owned(), read(path));
                }
            }
        }
        Self::of(&files)
    }

    /// Follows the modules from `lib.rs` on.
    pub(crate) fn of(files: &BTreeMap<String, String>) -> Self {
        let mut modules = BTreeMap::new();
        let mut found = vec![(vec!["crate".to_owned()], "lib.rs".to_owned())];
        while let Some((path, file)) = found.pop() {
            let text = flat(without_tests(&without_comments(&files[&file])));
            let module: &mut Module = modules.entry(path.clone()).or_default();
            module.files.push(file.clone());
            found.extend(children(&text, &path, &file, files));
            module.items.extend(items(&text));
            module
                .uses
                .extend(uses(&without_strings(&text), &path, &file));
        }
        let mut sources = Self {
            modules,
            imports: vec![],
        };
        sources.find_beside();
        sources.name();
        sources.follow();
        sources
    }

    pub(crate) fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// Every path that leads into the crate: its file, its line, and its parts.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&str, usize, &[String])> {
        let uses = self.modules.values().flat_map(|module| &module.uses);
        uses.map(|one| (&*one.file, one.line, &*one.path))
    }

    /// Which names of the crate's first floor are modules.
    pub(crate) fn has_module(&self, name: &str) -> bool {
        self.modules
            .contains_key(&vec!["crate".to_owned(), name.to_owned()])
    }

    /// Paths that begin with a module beside them or with a name of another crate: keeps the first.
    fn find_beside(&mut self) {
        let known: BTreeSet<Path> = self.modules.keys().cloned().collect();
        for (path, module) in &mut self.modules {
            module.uses.retain_mut(|one| {
                if one.path[0] == "crate" {
                    return true;
                }
                one.path.splice(0..0, path.iter().cloned());
                known.contains(&one.path[..=path.len()])
            });
        }
    }

    fn name(&mut self) {
        for module in self.modules.values_mut() {
            for one in &module.uses {
                match one.name.as_deref() {
                    Some("*") => module.globs.push(one.path.clone()),
                    Some(name) => drop(module.names.insert(name.to_owned(), one.path.clone())),
                    None => {}
                }
            }
        }
    }

    fn follow(&mut self) {
        let mut imports = BTreeSet::new();
        for (path, module) in &self.modules {
            for one in &module.uses {
                let Some(owner) = self.owner(&one.path, 0) else {
                    continue;
                };
                for to in &self.modules[&owner].files {
                    if *to != one.file {
                        imports.insert(Import {
                            from: one.file.clone(),
                            line: one.line,
                            to: to.clone(),
                            path: one.path.join("::"),
                            is_passed_on: one.is_public && owner.starts_with(path),
                        });
                    }
                }
            }
        }
        self.imports = imports.into_iter().collect();
    }

    /// The module in which a path ends, behind all that is passed on.
    fn owner(&self, path: &[String], depth: usize) -> Option<Path> {
        let mut at = vec![path.first()?.clone()];
        for (number, name) in path.iter().enumerate().skip(1) {
            let below = [&at[..], slice::from_ref(name)].concat();
            if self.modules.contains_key(&below) {
                at = below;
                continue;
            }
            let module = &self.modules[&at];
            let from = module.names.get(name).cloned().or_else(|| {
                let mut globs = module.globs.iter();
                let glob = globs.find(|glob| {
                    self.modules
                        .get(*glob)
                        .is_some_and(|module| module.items.contains(name))
                })?;
                Some([&glob[..], slice::from_ref(name)].concat())
            });
            // A name may be that of a `use` and of an item: what leads back here is the item.
            return match from.filter(|from| depth < 16 && from[..] != path[..=number]) {
                Some(from) if !module.items.contains(name) => {
                    self.owner(&[&from[..], &path[number + 1..]].concat(), depth + 1)
                }
                _ => Some(at),
            };
        }
        Some(at)
    }
}

/// The modules that a file declares outside of tests, and their files.
fn children(
    text: &str,
    path: &Path,
    file: &str,
    files: &BTreeMap<String, String>,
) -> Vec<(Path, String)> {
    let (folder, name) = file
        .rsplit_once('/')
        .map_or(("", file), |(folder, name)| (folder, name));
    let prefix = |part: &str| {
        if part.is_empty() {
            String::new()
        } else {
            format!("{part}/")
        }
    };
    let stem = name.trim_end_matches(".rs");
    let own = if ["lib", "mod"].contains(&stem) {
        String::new()
    } else {
        stem.to_owned()
    };
    let below = prefix(folder) + &prefix(&own);
    let mut found = vec![];
    let mut elsewhere = None;
    for line in text.lines().map(str::trim) {
        if let Some(named) = line.strip_prefix("#[path = \"") {
            elsewhere = Some(prefix(folder) + named.trim_end_matches("\"]"));
        } else if let Some(name) = line.strip_suffix(';').and_then(declared) {
            let usual = [format!("{below}{name}.rs"), format!("{below}{name}/mod.rs")];
            let usual = usual.into_iter().find(|file| files.contains_key(file));
            let found_at = elsewhere.take().or(usual);
            let found_at = found_at
                .unwrap_or_else(|| panic!("src/{file} declares `{name}`, which has no file"));
            found.push(([&path[..], &[name.to_owned()]].concat(), found_at));
        }
    }
    found
}

/// The name in `pub(crate) mod name`.
fn declared(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.strip_prefix(' ')?,
        None => line,
    };
    line.strip_prefix("mod ")
        .filter(|name| name.chars().all(is_word))
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// What a file declares, wherever in it.
fn items(text: &str) -> BTreeSet<String> {
    const KINDS: [&str; 9] = [
        "struct",
        "enum",
        "union",
        "fn",
        "trait",
        "type",
        "const",
        "static",
        "macro_rules!",
    ];
    let words: Vec<&str> = text.split_whitespace().collect();
    let items = words.windows(2).filter(|pair| KINDS.contains(&pair[0]));
    items
        .map(|pair| {
            pair[1]
                .split(|char| !is_word(char))
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// All paths of a file that may lead somewhere in the crate, made absolute where they are `crate::…`,
/// `super::…` or `self::…`.
fn uses(text: &str, path: &Path, file: &str) -> Vec<Use> {
    let mut found = vec![];
    let mut rest = String::new();
    let mut at = 0;
    let line_of = |offset: usize| text[..offset].matches('\n').count() + 1;
    while let Some(start) = text[at..].find("use ").map(|start| at + start) {
        let before = text[..start].chars().next_back();
        let end = start + text[start..].find(';').unwrap_or(text.len() - start);
        if before.is_some_and(|char| is_word(char) || char == '<') || text[start..end].contains('>')
        {
            // Part of a word, or of a type: `impl Future + use<'a>`.
            rest += &text[at..start + 4];
            at = start + 4;
            continue;
        }
        rest += &text[at..start];
        let line = text[..start].rfind('\n').map_or(0, |end| end + 1);
        let is_public = text[line..start].trim_start().starts_with("pub");
        let mut leaves = vec![];
        expand(&text[start + 4..end], start + 4, &[], &mut leaves);
        for (offset, parts, name) in leaves {
            found.push((line_of(offset), parts, Some(name), is_public));
        }
        // The lines stay where they are.
        rest.extend(text[start..end].chars().filter(|char| *char == '\n'));
        at = end;
    }
    rest += &text[at..];
    found.extend(
        inline(&rest)
            .into_iter()
            .map(|(line, parts)| (line, parts, None, false)),
    );
    let made = found
        .into_iter()
        .filter_map(|(line, parts, name, is_public)| {
            Some(Use {
                file: file.to_owned(),
                line,
                path: absolute(parts, path)?,
                name,
                is_public,
            })
        });
    made.collect()
}

/// The leaves of a `use`, each with its place, its path and its name.
fn expand(tree: &str, offset: usize, before: &[String], leaves: &mut Vec<(usize, Path, String)>) {
    if let Some((head, list)) = tree.split_once('{') {
        let mut before = before.to_vec();
        before.extend(
            head.split("::")
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned),
        );
        let list = &list[..list.rfind('}').unwrap_or(list.len())];
        let (mut depth, mut start) = (0, 0);
        let inside = offset + head.len() + 1;
        for (index, char) in list.char_indices().chain([(list.len(), ',')]) {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&list[start..index], inside + start, &before, leaves);
                    start = index + 1;
                }
                _ => {}
            }
        }
        return;
    }
    if tree.trim().is_empty() {
        return;
    }
    let blank = tree.len() - tree.trim_start().len();
    let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
    let mut parts = before.to_vec();
    parts.extend(
        path.split("::")
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty()),
    );
    if parts.len() > 1 && parts.last().is_some_and(|last| last == "self") {
        parts.pop();
    }
    let Some(last) = parts.last().cloned() else {
        return;
    };
    if last == "*" {
        parts.pop();
    }
    let name = if name.is_empty() {
        last
    } else {
        name.trim().to_owned()
    };
    leaves.push((offset + blank, parts, name));
}

/// Paths in the midst of code: of two parts at least.
fn inline(text: &str) -> Vec<(usize, Path)> {
    let mut found = vec![];
    for (number, line) in text.lines().enumerate() {
        // Who may see an item is no import.
        let (before, after) = line.split_once("pub(in ").unwrap_or((line, ")"));
        let line = format!(
            "{before}{}",
            after.split_once(')').map_or("", |(_, rest)| rest)
        );
        for word in line.split(|char: char| !is_word(char) && char != ':' && char != '$') {
            let parts: Vec<&str> = word.split("::").collect();
            let is_path = parts.len() > 1 && !word.starts_with([':', '$']);
            // What begins with a capital is a type.
            if is_path && parts[0].starts_with(|char: char| char.is_lowercase()) {
                let parts = parts
                    .iter()
                    .filter(|part| !part.is_empty() && !part.contains(':'));
                found.push((number + 1, parts.map(|part| (*part).to_owned()).collect()));
            }
        }
    }
    found
}

/// From the crate on, if it begins with `crate`, `super` or `self`; as it is otherwise.
fn absolute(mut parts: Path, module: &Path) -> Option<Path> {
    let mut at = module.clone();
    match parts.first()?.as_str() {
        "crate" => return Some(parts),
        "self" => {
            parts.remove(0);
        }
        "super" => {
            while parts.first().is_some_and(|part| part == "super") {
                parts.remove(0);
                at.pop()?;
            }
        }
        _ => return Some(parts),
    }
    at.extend(parts);
    Some(at)
}

/// Makes blanks of comments.
fn without_comments(text: &str) -> String {
    blanked(text, true)
}

/// Makes blanks of what is in quotes.
fn without_strings(text: &str) -> String {
    blanked(text, false)
}

/// Makes blanks of comments or of strings, and leaves the lines where they are.
fn blanked(text: &str, comments: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let (len, is_blank) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), comments)
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), comments)
        } else if let Some(len) = string_len(rest, &out) {
            (len, !comments)
        } else {
            (char.len_utf8(), false)
        };
        let (token, after) = rest.split_at(len);
        if is_blank {
            out.extend(
                token
                    .chars()
                    .map(|char| if char == '\n' { '\n' } else { ' ' }),
            );
        } else {
            out += token;
        }
        rest = after;
    }
    out
}

/// How long the string or the character is that stands here.
fn string_len(rest: &str, before: &str) -> Option<usize> {
    let in_word = before
        .chars()
        .next_back()
        .is_some_and(|char| is_word(char) && char != 'b' && char != 'c');
    if rest.starts_with('r') && !in_word {
        let hashes = rest[1..].chars().take_while(|char| *char == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            return Some(
                rest[start..]
                    .find(&end)
                    .map_or(rest.len(), |at| start + at + end.len()),
            );
        }
    }
    if rest.starts_with('"') {
        let mut escaped = false;
        for (at, char) in rest.char_indices().skip(1) {
            match char {
                '"' if !escaped => return Some(at + 1),
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        return Some(rest.len());
    }
    let mut chars = rest.strip_prefix('\'')?.chars();
    match (chars.next()?, chars.next()?) {
        ('\\', _) => rest[3..].find('\'').map(|at| at + 4),
        (char, '\'') => Some(char.len_utf8() + 2),
        _ => None,
    }
}

/// Makes blanks of what is there for tests alone.
fn without_tests(text: &str) -> String {
    let mut out = text.to_owned();
    let mut at = 0;
    while let Some(start) = out[at..].find("#[cfg(").map(|start| at + start) {
        let end = start + out[start..].find(")]").map_or(0, |end| end + 2);
        let condition: String = out[start + 6..end - 2].split_whitespace().collect();
        let all = condition
            .strip_prefix("all(")
            .and_then(|all| all.strip_suffix(')'));
        let parts = all.unwrap_or(&condition).split(',');
        if !parts.clone().any(|part| part == "test") {
            at = end;
            continue;
        }
        let bare = without_strings(&out[end..]);
        let (semicolon, brace) = (bare.find(';'), bare.find('{'));
        let len = match (semicolon, brace) {
            (Some(semicolon), Some(brace)) if brace < semicolon => closed(&bare, brace),
            (Some(semicolon), _) => semicolon + 1,
            (None, Some(brace)) => closed(&bare, brace),
            (None, None) => bare.len(),
        };
        let blank: String = out[start..end + len]
            .chars()
            .map(|char| if char == '\n' { '\n' } else { ' ' })
            .collect();
        at = start + blank.len();
        out.replace_range(start..end + len, &blank);
    }
    out
}

/// Makes one module of a file: in a `mod name { … }` of its own, `super` is the file.
fn flat(mut text: String) -> String {
    let mut at = 0;
    while let Some(start) = text[at..].find("mod ").map(|start| at + start) {
        at = start + 4;
        let opens = text[at..].find([';', '{']).map(|end| at + end);
        let Some(brace) = opens.filter(|brace| text[*brace..].starts_with('{')) else {
            continue;
        };
        if text[at..brace].trim().chars().all(is_word) {
            let end = closed(&without_strings(&text), brace);
            let inside = text[brace..end].replace("super::super::", "\0");
            let inside = inside.replace("super::", "self::").replace('\0', "super::");
            text.replace_range(brace..end, &inside);
        }
    }
    text
}

/// Where the brace at `start` is closed.
fn closed(text: &str, start: usize) -> usize {
    let mut depth = 0;
    for (at, char) in text.char_indices().skip_while(|(at, _)| *at < start) {
        match char {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}
