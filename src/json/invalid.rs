//! What is wrong with a JSON text, and where, without what it says.

use std::{error::Error, fmt, sync::LazyLock};

use serde::Deserialize;
use serde_json::Deserializer;
use serde_path_to_error::{Path, Segment};

use crate::protocol::{
    close::{CloseCode, CloseFrame},
    utf8::Utf8Bytes,
};

/// A message that is not the JSON that was expected, or a value that has no JSON.
///
/// It says what is wrong and where, and may be logged or sent back: it has none of the message's strings, and of
/// names and numbers at most 32 characters each, without line breaks. Its text has about 600 characters at most. What
/// an application's own `Deserialize` puts between quotes is left out, too.
///
/// Of a message that was received its [`source`](Error::source) is a [`CloseFrame`] with 1007, as RFC 6455 §7.4.1 has
/// it for data that does not fit its type: a handler that fails with the error closes so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidJson {
    reason: Box<str>,
    path: Box<str>,
    line: usize,
    column: usize,
    received: bool,
}

impl InvalidJson {
    /// Returns the way to the value, such as `orders[2].pieces`; empty where the whole is meant.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the line of the message, from 1; 0 for a value that has no JSON.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the column in its line, in bytes, from 1; 0 where the line has ended before.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// Takes note why a value has no JSON.
    pub(super) fn unserializable(error: &serde_json::Error) -> Self {
        Self::new(error, String::new(), false)
    }

    fn at(path: &Path, error: &serde_json::Error) -> Self {
        Self::new(error, spell(path), true)
    }

    fn new(error: &serde_json::Error, path: String, received: bool) -> Self {
        let (line, column) = (error.line(), error.column());
        let told = error.to_string();
        let place = format!(" at line {line} column {column}");
        let reason = told.strip_suffix(&place).unwrap_or(&told);
        Self {
            reason: without_values(reason).into(),
            path: path.into(),
            line,
            column,
            received,
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
        self.received.then_some(&*CLOSE)
    }
}

/// Reads a value. What is wrong is looked for once it is known that something is: names of fields cost time.
pub(super) fn parse<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, InvalidJson> {
    serde_json::from_slice(payload).or_else(|_| explain(payload))
}

#[cold]
fn explain<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, InvalidJson> {
    let mut json = Deserializer::from_slice(payload);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| InvalidJson::at(error.path(), error.inner()))?;
    let end = json.end();
    end.map_err(|error| InvalidJson::new(&error, String::new(), true))?;
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

/// Leaves out what is between quotes, and cuts what is between backticks.
fn without_values(message: &str) -> String {
    let mut told = String::new();
    let mut chars = message.chars();
    while let Some(char) = chars.next() {
        if told.len() > MOST {
            told.push('…');
            break;
        }
        match char {
            '"' => {
                skip_string(&mut chars);
                told.push_str("\"…\"");
            }
            '`' => {
                told.push('`');
                push_name(&mut told, chars.by_ref().take_while(|&char| char != '`'));
                told.push('`');
            }
            char => push_printable(&mut told, char),
        }
    }
    told
}

/// Skips a string as `Debug` writes it, of which the first quote was read.
fn skip_string(chars: &mut impl Iterator<Item = char>) {
    while let Some(char) = chars.next() {
        match char {
            '\\' => drop(chars.next()),
            '"' => return,
            _ => {}
        }
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

/// What a peer is told whose message was not what the handler expected.
static CLOSE: LazyLock<CloseFrame> = LazyLock::new(|| {
    let reason = Utf8Bytes::from_static("not the JSON that was expected");
    CloseFrame::new(CloseCode::INVALID_PAYLOAD, reason)
});

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
