//! When a server wants to be asked again.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderValue,
    header::{DATE, RETRY_AFTER},
};

/// Reads `Retry-After` (RFC 9110 §10.2.3): seconds, or a date, from which that of the response is
/// subtracted; where it has none, the time of this machine. A date that has passed is zero.
///
/// Returns `None` if there is none, more than one, or one that is malformed.
pub(super) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = only(headers.get_all(RETRY_AFTER).iter())?;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What is beyond a number is beyond every bound, too.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let then = httpdate::parse_http_date(text).ok()?;
    let date = only(headers.get_all(DATE).iter());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let now = date.unwrap_or_else(SystemTime::now);
    Some(then.duration_since(now).unwrap_or_default())
}

fn only<'a>(mut values: impl Iterator<Item = &'a HeaderValue>) -> Option<&'a str> {
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(http::HeaderName, &'static str)]) -> Option<Duration> {
        let headers = headers.iter().cloned();
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        super::read(&map)
    }

    #[test]
    fn seconds_are_read() {
        for (text, seconds) in [
            ("0", 0),
            ("120", 120),
            ("007", 7),
            ("18446744073709551616", u64::MAX),
        ] {
            let read = read(&[(RETRY_AFTER, text)]);
            assert_eq!(read, Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn date_counts_from_that_of_the_response() {
        const NOW: &str = "Fri, 31 Dec 1999 23:58:59 GMT";
        for (text, seconds) in [
            ("Fri, 31 Dec 1999 23:59:59 GMT", 60),
            ("Friday, 31-Dec-99 23:59:09 GMT", 10),
            ("Fri Dec 31 23:59:00 1999", 1),
            ("Fri, 31 Dec 1999 23:58:59 GMT", 0),
            ("Fri, 31 Dec 1999 22:58:59 GMT", 0),
        ] {
            let read = read(&[(RETRY_AFTER, text), (DATE, NOW)]);
            assert_eq!(read, Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn date_counts_from_now_where_the_response_has_none() {
        assert_eq!(
            read(&[(RETRY_AFTER, "Fri, 31 Dec 1999 23:59:59 GMT")]),
            Some(Duration::ZERO)
        );
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(7200));
        let headers = HeaderMap::from_iter([(
            RETRY_AFTER,
            HeaderValue::try_from(later).expect("a date is a header"),
        )]);
        let read = super::read(&headers).expect("a date is read");
        let two_hours = Duration::from_secs(7190)..=Duration::from_secs(7200);
        assert!(two_hours.contains(&read), "{read:?}");
    }

    #[test]
    fn what_says_nothing_is_passed_over() {
        for text in [
            "",
            " ",
            "-1",
            "+1",
            "1.5",
            "1 2",
            "soon",
            "Fri, 31 Dec 1999",
        ] {
            assert_eq!(read(&[(RETRY_AFTER, text)]), None, "{text}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[(RETRY_AFTER, "1"), (RETRY_AFTER, "2")]), None);
    }
}
