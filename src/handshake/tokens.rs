//! Comma-separated lists of tokens, and the lines of a header field.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Reports whether this is a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_tchar)
}

pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Reports whether a list contains `token`, in any case, on any of its lines.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list(headers, name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// Iterates over the elements of a list, on all of its lines (RFC 9110 §5.6.1).
///
/// Elements come without the white space around them and are not checked; empty ones are left out.
pub(super) fn list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        // A header value holds no other white space than space and tab.
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Copies a list, its elements joined by commas; `None` if one of them is not a token.
pub(super) fn joined_tokens(headers: &HeaderMap, name: &HeaderName) -> Option<Box<str>> {
    let mut joined = String::new();
    for element in list(headers, name) {
        let token = str::from_utf8(element).ok();
        let token = token.filter(|token| is_token(token.as_bytes()))?;
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(token);
    }
    Some(joined.into())
}

/// The lines of a field that should have one.
pub(super) enum Lines<'a> {
    None,
    One(&'a HeaderValue),
    Several,
}

impl<'a> Lines<'a> {
    pub(super) fn of(headers: &'a HeaderMap, name: &HeaderName) -> Self {
        let mut lines = headers.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::None,
            (Some(line), None) => Self::One(line),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONNECTION;

    use super::*;

    fn lines(lines: &[&str]) -> HeaderMap {
        let lines = lines.iter().map(|line| HeaderValue::from_str(line));
        lines
            .map(|line| (CONNECTION, line.expect("a header value")))
            .collect()
    }

    fn elements(headers: &HeaderMap) -> Vec<&str> {
        let elements = list(headers, &CONNECTION).map(str::from_utf8);
        elements.collect::<Result<_, _>>().expect("ASCII")
    }

    #[test]
    fn token_may_have_every_tchar_and_nothing_else() {
        let tchars: Vec<u8> = (0..=u8::MAX).filter(|&byte| is_token(&[byte])).collect();
        assert_eq!(
            tchars,
            b"!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
        );
    }

    #[test]
    fn token_has_a_character_and_no_other_than_tchars() {
        assert!(is_token(b"v2.chat"));
        assert!(!is_token(b""));
        assert!(!is_token(b"v2 chat"));
    }

    #[test]
    fn list_goes_over_all_lines_in_order() {
        assert_eq!(elements(&lines(&["a, b", "c"])), ["a", "b", "c"]);
    }

    #[test]
    fn list_drops_white_space_and_empty_elements() {
        assert_eq!(
            elements(&lines(&["", ",, a\t ,\t, b c ,", " "])),
            ["a", "b c"]
        );
    }

    #[test]
    fn token_is_found_in_any_case_on_any_line() {
        assert!(has_token(
            &lines(&["keep-alive, UPgrade"]),
            &CONNECTION,
            "upgrade"
        ));
        assert!(has_token(
            &lines(&["keep-alive", "x,upgrade"]),
            &CONNECTION,
            "upgrade"
        ));
    }

    #[test]
    fn part_of_an_element_is_not_the_token() {
        assert!(!has_token(&lines(&["notupgrade"]), &CONNECTION, "upgrade"));
        assert!(!has_token(
            &lines(&["upgrade/1, up, grade"]),
            &CONNECTION,
            "upgrade"
        ));
        assert!(!has_token(&HeaderMap::new(), &CONNECTION, "upgrade"));
    }

    /// Together with a fixed token to compare with, this makes a search linear.
    #[test]
    fn each_byte_of_a_long_list_belongs_to_one_element_at_most() {
        for piece in ["a,", ",", " ", "a b, \t"] {
            let headers = lines(&[piece.repeat((64 << 10) / piece.len()).as_str()]);
            let mut end = headers[CONNECTION].as_bytes().as_ptr();
            for element in list(&headers, &CONNECTION) {
                let range = element.as_ptr_range();
                assert!(range.start >= end, "{piece:?} goes back");
                end = range.end;
            }
        }
    }

    #[test]
    fn lines_are_counted() {
        assert!(matches!(Lines::of(&lines(&[]), &CONNECTION), Lines::None));
        assert!(matches!(Lines::of(&lines(&["a"]), &CONNECTION), Lines::One(line) if line == "a"));
        assert!(matches!(
            Lines::of(&lines(&["a", "a"]), &CONNECTION),
            Lines::Several
        ));
    }
}
