//! From a URL to a server, and how to log in there.

use std::{error::Error, fmt, sync::Arc};

use percent_encoding::percent_decode_str;

/// What a URL says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct RedisUrl {
    pub(super) server: Server,
    pub(super) login: Login,
    pub(super) database: u32,
}

/// Where a server is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Server {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// How to log in. Its `Debug` does not have the password.
#[derive(Clone, Default, Eq, PartialEq)]
pub(super) struct Login {
    pub(super) user: Option<Box<str>>,
    pub(super) password: Option<Box<str>>,
}

impl RedisUrl {
    /// Reads a URL; `port` is that of a URL without one.
    pub(super) fn parse(text: &str, port: u16) -> Result<Self, RedisUrlError> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let tls = match scheme.map(str::to_ascii_lowercase).as_deref() {
            Some("redis" | "valkey") => false,
            Some("rediss" | "valkeys") => true,
            _ => return Err(RedisUrlError::Scheme),
        };
        let url = ::redis::parse_redis_url(text).ok_or(RedisUrlError::Syntax)?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(RedisUrlError::Host)?;
        let known = url.query_pairs().all(|(name, _)| name == "protocol");
        if !known || url.fragment().is_some() {
            return Err(RedisUrlError::Parameter);
        }
        let database = match url.path().trim_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| RedisUrlError::Database)?,
        };
        let server = Server {
            // Only a URL has brackets around IPv6 addresses (RFC 3986 §3.2.2).
            host: host.trim_matches(['[', ']']).into(),
            port: url.port().unwrap_or(port),
            tls,
        };
        let login = Login {
            user: decoded(Some(url.username()).filter(|user| !user.is_empty()))?,
            password: decoded(url.password())?,
        };
        Ok(Self {
            server,
            login,
            database,
        })
    }
}

fn decoded(text: Option<&str>) -> Result<Option<Box<str>>, RedisUrlError> {
    let decode = |text| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(|text| text.into_owned().into_boxed_str())
    };
    let decoded = text.map(decode).transpose();
    decoded.map_err(|_| RedisUrlError::Login)
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.host {
            host if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut login = f.debug_struct("Login");
        login.field("user", &self.user).finish_non_exhaustive()
    }
}

/// The errors of the URL of a Redis.
///
/// They do not contain the URL, which may have a password in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RedisUrlError {
    /// The URL begins with none of `redis://`, `rediss://`, `valkey://` and `valkeys://`.
    Scheme,
    /// The text is no URL.
    Syntax,
    /// The URL has no host.
    Host,
    /// The text behind the host is not the number of a database.
    Database,
    /// User or password is not UTF-8 when decoded.
    Login,
    /// The URL has parameters or a fragment, which have no meaning here.
    Parameter,
    /// There is no URL at all.
    Missing,
}

impl fmt::Display for RedisUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the URL of a Redis begins with redis:// or rediss://",
            Self::Syntax => "not a URL such as redis://user:password@host:6379/",
            Self::Host => "the URL of a Redis needs a host",
            Self::Database => "the path in the URL of a Redis is the number of a database",
            Self::Login => "user and password in the URL of a Redis are UTF-8, percent-encoded",
            Self::Parameter => "the URL of a Redis takes no parameters and no fragment",
            Self::Missing => "at least one URL is needed",
        })
    }
}

impl Error for RedisUrlError {}

/// The port of a Redis.
pub(super) const PORT: u16 = 6379;

/// The port of a Sentinel.
pub(super) const SENTINEL_PORT: u16 = 26379;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (String, bool, Option<String>, Option<String>, u32) {
        let url = RedisUrl::parse(url, PORT).unwrap();
        let [user, password] =
            [url.login.user, url.login.password].map(|text| text.map(String::from));
        (
            url.server.to_string(),
            url.server.tls,
            user,
            password,
            url.database,
        )
    }

    #[test]
    fn a_url_says_where_the_server_is_and_how_to_log_in() {
        let some = |text: &str| Some(text.to_owned());
        for (url, expected) in [
            ("redis://h", ("h:6379", false, None, None, 0)),
            ("redis://h/", ("h:6379", false, None, None, 0)),
            ("rediss://h:1/3", ("h:1", true, None, None, 3)),
            ("valkey://h", ("h:6379", false, None, None, 0)),
            ("valkeys://h", ("h:6379", true, None, None, 0)),
            ("REDIS://h", ("h:6379", false, None, None, 0)),
            (
                "redis://:p@10.0.0.1",
                ("10.0.0.1:6379", false, None, some("p"), 0),
            ),
            ("redis://u:@h", ("h:6379", false, some("u"), None, 0)),
            (
                "redis://u:p%40%3a@h",
                ("h:6379", false, some("u"), some("p@:"), 0),
            ),
            (
                "redis://u:p^ä@h",
                ("h:6379", false, some("u"), some("p^ä"), 0),
            ),
            ("redis://[::1]:7", ("[::1]:7", false, None, None, 0)),
            ("redis://h?protocol=resp3", ("h:6379", false, None, None, 0)),
        ] {
            let (server, tls, user, password, database) = expected;
            let expected = (server.to_owned(), tls, user, password, database);
            assert_eq!(parsed(url), expected, "{url}");
        }
        assert_eq!(
            &*RedisUrl::parse("redis://[::1]", PORT).unwrap().server.host,
            "::1"
        );
    }

    #[test]
    fn a_wrong_url_is_refused_with_the_reason() {
        for (url, expected) in [
            ("", RedisUrlError::Scheme),
            ("h", RedisUrlError::Scheme),
            ("h:6379", RedisUrlError::Scheme),
            ("http://h", RedisUrlError::Scheme),
            ("unix:///run/redis.sock", RedisUrlError::Scheme),
            ("redis://", RedisUrlError::Host),
            ("redis:///0", RedisUrlError::Host),
            ("redis://h:x", RedisUrlError::Syntax),
            ("redis://h:70000", RedisUrlError::Syntax),
            ("redis://a b", RedisUrlError::Syntax),
            ("redis://h/x", RedisUrlError::Database),
            ("redis://h/1/2", RedisUrlError::Database),
            ("redis://:%ff@h", RedisUrlError::Login),
            ("rediss://h#insecure", RedisUrlError::Parameter),
            ("redis://h?timeout=1", RedisUrlError::Parameter),
        ] {
            assert_eq!(RedisUrl::parse(url, PORT), Err(expected), "{url}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        let url = RedisUrl::parse("redis://user:hunter2@h/", PORT).unwrap();
        assert!(!format!("{url:?} {url:#?} {}", url.server).contains("hunter2"));
    }
}
