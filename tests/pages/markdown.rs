//! Headings and links of Markdown, as far as the pages of this repository use it.

use std::collections::BTreeMap;

/// What a text has outside of its blocks of code.
pub(crate) struct Markdown {
    pub(crate) headings: Vec<Heading>,
    pub(crate) links: Vec<Link>,
}

pub(crate) struct Heading {
    pub(crate) line: usize,
    pub(crate) level: usize,
    /// As it is read: without backticks, stars and the targets of links.
    pub(crate) text: String,
}

pub(crate) struct Link {
    pub(crate) line: usize,
    pub(crate) target: String,
}

/// What makes the names of headings that links lead to.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Slugs {
    GitHub,
    Rustdoc,
}

impl Markdown {
    pub(crate) fn of(text: &str) -> Self {
        let prose = without_blocks(text);
        let mut above = "";
        let headings = prose.lines().enumerate().filter_map(|(index, line)| {
            let text = line.trim_start_matches('#');
            let level = line.len() - text.len();
            // Right behind HTML, such as a drawing, it would be none.
            let is_one =
                (1..=6).contains(&level) && text.starts_with(' ') && !above.starts_with('<');
            above = line.trim();
            is_one.then(|| Heading {
                line: index + 1,
                level,
                text: plain(text.trim()),
            })
        });
        Self {
            headings: headings.collect(),
            links: links(&without_spans(&prose)),
        }
    }

    /// The names of the headings, in their order.
    pub(crate) fn slugs(&self, by: Slugs) -> Vec<String> {
        let mut met: BTreeMap<String, usize> = BTreeMap::new();
        let name = |heading: &Heading| {
            let slug = slug(&heading.text, by);
            let times = met.entry(slug.clone()).or_default();
            *times += 1;
            match *times {
                1 => slug,
                times => format!("{slug}-{}", times - 1),
            }
        };
        self.headings.iter().map(name).collect()
    }
}

/// The name of a heading: rustdoc leaves letters as they are that are not of ASCII, GitHub makes all of them small.
fn slug(text: &str, by: Slugs) -> String {
    let mut slug = String::new();
    for letter in text.chars() {
        match letter {
            ' ' => slug.push('-'),
            _ if letter.is_ascii() || by == Slugs::Rustdoc => {
                let is_kept = letter.is_alphanumeric() || matches!(letter, '-' | '_');
                slug.extend(is_kept.then_some(letter.to_ascii_lowercase()));
            }
            _ if letter.is_alphanumeric() => slug.extend(letter.to_lowercase()),
            _ => {}
        }
    }
    slug
}

/// A line as it is read.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, (words, after))) = rest
        .split_once('[')
        .and_then(|(before, link)| Some((before, link.split_once("](")?)))
        && let Some((_, after)) = after.split_once(')')
    {
        plain += before;
        plain += words;
        rest = after;
    }
    plain += rest;
    plain.replace(['`', '*'], "")
}

/// The text with its lines, those of blocks of code empty.
fn without_blocks(text: &str) -> String {
    let mut prose = String::new();
    let mut fence = None;
    for line in text.lines() {
        let inner = line.trim_start();
        let mark = inner.chars().next().filter(|mark| "`~".contains(*mark));
        let len = mark.map_or(0, |mark| inner.len() - inner.trim_start_matches(mark).len());
        match fence {
            None if len >= 3 => fence = mark.zip(Some(len)),
            None => prose += line,
            Some((open, least)) => {
                let is_end = mark == Some(open) && len >= least && inner[len..].trim().is_empty();
                fence = fence.filter(|_| !is_end);
            }
        }
        prose.push('\n');
    }
    prose
}

/// The prose with code blanked that stands in a line.
fn without_spans(prose: &str) -> String {
    let mut text = String::new();
    let mut rest = prose;
    while let Some(start) = rest.find('`') {
        let (before, code) = rest.split_at(start);
        let ticks = code.len() - code.trim_start_matches('`').len();
        text += before;
        let inside = &code[ticks..];
        let Some(len) = closing(inside, ticks) else {
            text += &code[..ticks];
            rest = inside;
            continue;
        };
        let blank = |letter| if letter == '\n' { '\n' } else { ' ' };
        text.extend(inside[..len].chars().map(blank));
        rest = &inside[len + ticks..];
    }
    text + rest
}

/// Where as many backticks stand as there were, and no more.
fn closing(text: &str, ticks: usize) -> Option<usize> {
    let mut from = 0;
    while let Some(start) = text[from..].find('`') {
        let start = from + start;
        let len = text[start..].len() - text[start..].trim_start_matches('`').len();
        if len == ticks {
            return Some(start);
        }
        from = start + len;
    }
    None
}

/// The targets of `[…](target)`, of `[…]: target`, and of `href` and `src`.
fn links(prose: &str) -> Vec<Link> {
    let mut links = vec![];
    for (begin, end) in [("](", ')'), ("href=\"", '"'), ("src=\"", '"')] {
        let mut from = 0;
        while let Some(start) = prose[from..].find(begin) {
            from += start + begin.len();
            let Some(len) = prose[from..].find(end) else {
                break;
            };
            links.push(Link {
                line: prose[..from].matches('\n').count() + 1,
                target: prose[from..from + len].trim().to_owned(),
            });
        }
    }
    for (index, line) in prose.lines().enumerate() {
        let definition = line
            .strip_prefix('[')
            .and_then(|line| line.split_once("]: "));
        links.extend(definition.map(|(_, target)| Link {
            line: index + 1,
            target: target.trim().to_owned(),
        }));
    }
    links
}

#[test]
fn headings_and_links_are_found_and_code_is_passed_over() {
    let text = "# One, *two* & `three`\n\n```rust\n# fn no() {}\n[no](no)\n```\n\n\
                ## See [`four`](five#six)\n</p>\n# No\n`[no](no)` [`yes()`](yes)\n[d]: there\n## Schön Ä_b-c\n# One two  three\n";
    let found = Markdown::of(text);
    let targets: Vec<_> = found
        .links
        .iter()
        .map(|link| (link.line, &*link.target))
        .collect();
    assert_eq!(targets, [(8, "five#six"), (11, "yes"), (12, "there")]);
    let levels: Vec<_> = found
        .headings
        .iter()
        .map(|it| (it.line, it.level))
        .collect();
    assert_eq!(levels, [(1, 1), (8, 2), (13, 2), (14, 1)]);
    let github = [
        "one-two--three",
        "see-four",
        "schön-ä_b-c",
        "one-two--three-1",
    ];
    assert_eq!(found.slugs(Slugs::GitHub), github);
    let rustdoc = [
        "one-two--three",
        "see-four",
        "schön-Ä_b-c",
        "one-two--three-1",
    ];
    assert_eq!(found.slugs(Slugs::Rustdoc), rustdoc);
}
