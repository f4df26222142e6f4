//! What is wrong with a JSON text, and where, without what it says.

use std::{
    error::Error,
    fmt::{self, Write},
    sync::LazyLock,
};

use serde::Deserialize;
use serde_json::Deserializer;
use serde_path_to_error::{Path, Segment};

use crate::protocol::{
    close::{CloseCode, CloseFrame},
    utf8::Utf8Bytes,
};

/// A message that is not the JSON that was expected, or a value that has no JSON.
///
/// It says what is wrong and where, and may be logged or sent back. It has none of the message's strings, even if one
/// is no known variant. Of names of fields and of numbers it has at most 32 characters each, without line breaks. Its
/// text has about 600 characters at most. What an application's own `Deserialize` puts between quotes is left out,
/// too.
///
/// If `recv_json` of a server's socket returned it, its [`source`](Error::source) is a [`CloseFrame`] with
/// 1007, as RFC 6455 §7.4.1 says for data that does not fit its type: a handler that returns the error closes with
/// that code. Any other JSON may have another source than the peer, and such a handler closes with 1011.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidJson {
    reason: Box<str>,
    path: Box<str>,
    line: usize,
    column: usize,
    of_client: bool,
}

impl InvalidJson {
    /// Returns the path to the value, such as `orders[2].pieces`; empty if the whole is meant.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the line of the message, from 1; 0 for a value that has no JSON.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the column in its line, in bytes, from 1; 0 if the line has ended before.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// Takes note why a value has no JSON.
    pub(super) fn unserializable(error: &serde_json::Error) -> Self {
        Self::new(error, String::new())
    }

    /// Takes note that the client of a handler has sent it.
    #[cfg(any(feature = "layer", test))]
    pub(super) fn of_client(mut self, is_so: bool) -> Self {
        self.of_client = is_so;
        self
    }

    fn at(path: &Path, error: &serde_json::Error) -> Self {
        Self::new(error, spell(path))
    }

    fn new(error: &serde_json::Error, path: String) -> Self {
        let (line, column) = (error.line(), error.column());
        let mut told = Told::default();
        // It fails where there is enough of it.
        let _full = write!(told, "{error}");
        Self {
            reason: told.finish(&format!(" at line {line} column {column}")),
            path: path.into(),
            line,
            column,
            of_client: false,
        }
    }
}

impl fmt::Display for InvalidJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if !self.path.is_empty() {
            write!(f, ", at {}", self.path)?;
        }
        if self.line > 0 {
            write!(f, " (line {}, column {})", self.line, self.column)?;
        }
        Ok(())
    }
}

impl Error for InvalidJson {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.of_client.then_some(&*CLOSE)
    }
}

/// Reads a value. What is wrong is looked for once it is known that something is: names of fields cost time.
pub(super) fn parse<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, InvalidJson> {
    // An error may be many times as large as the message: there is one at a time.
    if let Ok(value) = serde_json::from_slice(payload) {
        return Ok(value);
    }
    explain(payload)
}

#[cold]
fn explain<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, InvalidJson> {
    let mut json = Deserializer::from_slice(payload);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| InvalidJson::at(error.path(), error.inner()))?;
    let end = json.end();
    end.map_err(|error| InvalidJson::new(&error, String::new()))?;
    Ok(value)
}

/// Writes the way to a value, of which a peer may have chosen the names.
fn spell(path: &Path) -> String {
    let mut spelling = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => spelling.push_str(&format!("[{index}]")),
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                if !spelling.is_empty() {
                    spelling.push('.');
                }
                push_name(&mut spelling, name.chars());
            }
            // The value itself is unknown: it is no name.
            Segment::Unknown => {}
        }
        if spelling.len() > MOST {
            spelling.push('…');
            break;
        }
    }
    spelling
}

/// Takes the text of an error as it is written, without what is between quotes, and the beginning of names.
#[derive(Default)]
struct Told {
    text: String,
    within: Within,
}

/// What the next character belongs to.
#[derive(Default)]
enum Within {
    #[default]
    Words,
    /// A string as `Debug` writes it.
    Text { escaped: bool },
    /// What is between backticks, of which so many characters were told.
    Name(usize),
}

impl Told {
    /// Takes the beginning of a message that has a name of the peer's. That may have any character: it ends where
    /// serde's own words follow for the last time. One for a variant may be any string of the message.
    fn begin<'a>(&mut self, message: &'a str) -> &'a str {
        for (words, is_told) in [("unknown field `", true), ("unknown variant `", false)] {
            let Some(rest) = message.strip_prefix(words) else {
                continue;
            };
            let ends = ["`, expected ", "`, there are no "].map(|own| rest.rfind(own));
            let end = ends.into_iter().flatten().max().unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            self.text.push_str(words);
            if is_told {
                push_name(&mut self.text, name.chars());
            } else {
                self.text.push('…');
            }
            self.within = Within::Name(usize::MAX);
            return rest;
        }
        message
    }

    fn push(&mut self, char: char) {
        match (&mut self.within, char) {
            (Within::Words, '"') => {
                self.text.push_str("\"…\"");
                self.within = Within::Text { escaped: false };
            }
            (Within::Words, '`') => {
                self.text.push('`');
                self.within = Within::Name(0);
            }
            (Within::Words, char) => push_printable(&mut self.text, char),
            (Within::Text { escaped }, _) if *escaped => *escaped = false,
            (Within::Text { escaped }, '\\') => *escaped = true,
            (Within::Text { .. }, '"') => self.within = Within::Words,
            (Within::Text { .. }, _) => {}
            (Within::Name(_), '`') => {
                self.text.push('`');
                self.within = Within::Words;
            }
            (Within::Name(told), char) => {
                if *told < LONGEST_NAME {
                    push_printable(&mut self.text, char);
                } else if *told == LONGEST_NAME {
                    self.text.push('…');
                }
                *told = told.saturating_add(1);
            }
        }
    }

    /// Returns the text, without the place behind it.
    fn finish(mut self, place: &str) -> Box<str> {
        if let Within::Name(_) = self.within {
            self.text.push('`');
        }
        if self.text.ends_with(place) {
            self.text.truncate(self.text.len() - place.len());
        }
        if self.text.len() > MOST {
            self.text.truncate(self.text.floor_char_boundary(MOST));
            self.text.push('…');
        }
        self.text.into()
    }
}

impl Write for Told {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        // serde_json writes what serde says in one piece.
        let rest = if self.text.is_empty() {
            self.begin(piece)
        } else {
            piece
        };
        for char in rest.chars() {
            if self.text.len() > MOST + LONGEST_PLACE {
                return Err(fmt::Error);
            }
            self.push(char);
        }
        Ok(())
    }
}

/// Adds the beginning of a name. All of it is taken.
fn push_name(to: &mut String, mut name: impl Iterator<Item = char>) {
    for char in name.by_ref().take(LONGEST_NAME) {
        push_printable(to, char);
    }
    if name.by_ref().next().is_some() {
        to.push('…');
        name.for_each(drop);
    }
}

/// Adds a character that may stand in a line of a log.
fn push_printable(to: &mut String, char: char) {
    if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') {
        to.push('\u{fffd}');
    } else {
        to.push(char);
    }
}

/// More of a name, in characters, is not told.
const LONGEST_NAME: usize = 32;

/// With more bytes than this a path or a reason ends soon.
const MOST: usize = 200;

/// More than ` at line … column …` has with any numbers.
const LONGEST_PLACE: usize = 64;

/// What a peer is told whose message was not what the handler expected.
static CLOSE: LazyLock<CloseFrame> = LazyLock::new(|| {
    let reason = Utf8Bytes::from_static("not the JSON that was expected");
    CloseFrame::new(CloseCode::INVALID_PAYLOAD, reason)
});

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
