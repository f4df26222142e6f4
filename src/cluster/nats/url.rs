//! From URLs to servers, and how to log in there.

use std::{error::Error, fmt};

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

/// Where a server is, and how to log in there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Server {
    /// Has no user and no password in it: it is logged.
    pub(super) address: ServerAddr,
    /// What its URL says.
    pub(super) login: Option<Login>,
}

/// How to log in. Its `Debug` has no secret.
#[derive(Clone, Eq, PartialEq)]
pub(super) enum Login {
    User { name: String, password: String },
    Token(String),
}

impl Server {
    /// Reads URLs with commas between them.
    pub(super) fn parse_all(urls: &str) -> Result<Vec<Self>, NatsUrlError> {
        let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
        let servers = urls.map(Self::parse).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(NatsUrlError::Missing);
        }
        Ok(servers)
    }

    /// Reads a URL; one without a scheme is `nats://`.
    fn parse(url: &str) -> Result<Self, NatsUrlError> {
        if let Some((scheme, _)) = url.split_once("://")
            && !["nats", "tls"].contains(&scheme.to_ascii_lowercase().as_str())
        {
            return Err(NatsUrlError::Scheme);
        }
        let address = url
            .parse::<ServerAddr>()
            .map_err(|_| NatsUrlError::Syntax)?;
        if address.host().is_empty() {
            return Err(NatsUrlError::Host);
        }
        let login = login(&address)?;
        let port = address.port();
        let mut url = address.into_inner();
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(NatsUrlError::Rest);
        }
        url.set_path("");
        // With the port in each, two are the same if they look the same. It fails only without a host.
        let set = url
            .set_username("")
            .and_then(|()| url.set_password(None))
            .and_then(|()| url.set_port(Some(port)));
        set.map_err(|()| NatsUrlError::Host)?;
        let address = ServerAddr::from_url(url).map_err(|_| NatsUrlError::Scheme)?;
        Ok(Self { address, login })
    }

    /// Returns a server that this one has named: host and port. The scheme and the login are the same.
    pub(super) fn named(&self, host_and_port: &str) -> Option<Self> {
        let url = format!("{}://{host_and_port}", self.address.scheme());
        let server = Self::parse(&url).ok()?;
        Some(Self {
            login: self.login.clone(),
            ..server
        })
    }
}

/// Reads how to log in; what stands alone is a token.
fn login(address: &ServerAddr) -> Result<Option<Login>, NatsUrlError> {
    Ok(match (address.username(), address.password()) {
        (None, None) => None,
        (Some(token), None) => Some(Login::Token(decoded(token)?)),
        (name, Some(password)) => Some(Login::User {
            name: decoded(name.unwrap_or_default())?,
            password: decoded(password)?,
        }),
    })
}

fn decoded(text: &str) -> Result<String, NatsUrlError> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(String::from).map_err(|_| NatsUrlError::Login)
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.host() {
            host if host.contains(':') => write!(f, "[{host}]:{}", self.address.port()),
            host => write!(f, "{host}:{}", self.address.port()),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { name, .. } => f
                .debug_struct("User")
                .field("name", name)
                .finish_non_exhaustive(),
            Self::Token(_) => f.debug_struct("Token").finish_non_exhaustive(),
        }
    }
}

/// The errors of the URLs of a NATS.
///
/// They do not contain the URL, which may have a password in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NatsUrlError {
    /// A URL begins with another scheme than `nats://` and `tls://`.
    Scheme,
    /// A text is no URL.
    Syntax,
    /// A URL has no host.
    Host,
    /// User, password or token is not UTF-8 when decoded.
    Login,
    /// A URL has something behind the host and the port.
    Rest,
    /// There is no URL at all.
    Missing,
}

impl fmt::Display for NatsUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the URL of a NATS server begins with nats:// or tls://",
            Self::Syntax => "not a URL such as nats://user:password@host:4222",
            Self::Host => "the URL of a NATS server needs a host",
            Self::Login => {
                "user and password in the URL of a NATS server are UTF-8, percent-encoded"
            }
            Self::Rest => "the URL of a NATS server ends with its port",
            Self::Missing => "at least one URL is needed",
        })
    }
}

impl Error for NatsUrlError {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> Option<Login> {
        Some(Login::User {
            name: name.into(),
            password: password.into(),
        })
    }

    #[test]
    fn url_says_where_the_server_is_and_how_to_log_in() {
        let token = Some(Login::Token("s3cret".into()));
        for (url, shown, scheme, login) in [
            ("nats://h", "h:4222", "nats", None),
            ("nats://h:5/", "h:5", "nats", None),
            ("TLS://h", "h:4222", "tls", None),
            ("localhost:4333", "localhost:4333", "nats", None),
            ("h", "h:4222", "nats", None),
            ("nats://[::1]:7", "[::1]:7", "nats", None),
            ("nats://u:p@h", "h:4222", "nats", user("u", "p")),
            ("u:p@h:6", "h:6", "nats", user("u", "p")),
            ("nats://s3cret@h", "h:4222", "nats", token),
            (
                "nats://a%40b:p%3A%2C%C3%A9@h",
                "h:4222",
                "nats",
                user("a@b", "p:,\u{e9}"),
            ),
            ("nats://:p@h", "h:4222", "nats", user("", "p")),
        ] {
            let server = Server::parse(url).unwrap();
            assert_eq!(server.to_string(), shown, "{url}");
            assert_eq!(server.address.scheme(), scheme, "{url}");
            assert_eq!(server.login, login, "{url}");
        }
    }

    #[test]
    fn wrong_url_is_an_error_with_words() {
        for (urls, error) in [
            ("", NatsUrlError::Missing),
            (" , ", NatsUrlError::Missing),
            ("redis://h", NatsUrlError::Scheme),
            ("ws://h", NatsUrlError::Scheme),
            ("nats://h, http://i", NatsUrlError::Scheme),
            ("nats://", NatsUrlError::Host),
            ("nats:///", NatsUrlError::Host),
            ("nats://:4222", NatsUrlError::Syntax),
            ("nats://h:port", NatsUrlError::Syntax),
            ("nats://h:70000", NatsUrlError::Syntax),
            ("nats://a b", NatsUrlError::Syntax),
            ("nats://u:%ff@h", NatsUrlError::Login),
            ("nats://h/0", NatsUrlError::Rest),
            ("nats://h?tls=1", NatsUrlError::Rest),
            ("nats://h#x", NatsUrlError::Rest),
        ] {
            assert_eq!(Server::parse_all(urls).unwrap_err(), error, "{urls:?}");
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn urls_have_commas_between_them() {
        let servers = Server::parse_all("nats://a:1, nats://b:2,tls://c:3,").unwrap();
        let shown: Vec<_> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn server_is_the_same_with_and_without_the_port_of_nats() {
        assert_eq!(Server::parse("nats://h"), Server::parse("h:4222"));
        assert_ne!(Server::parse("nats://h"), Server::parse("h:4223"));
    }

    #[test]
    fn no_secret_is_shown_or_stays_in_the_address() {
        for url in ["nats://u:s3cret@h", "nats://s3cret@h"] {
            let server = Server::parse(url).unwrap();
            let shown = format!("{server} {server:?} {}", server.address.as_url_str());
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn named_server_is_logged_in_to_likewise() {
        let server = Server::parse("tls://u:p@h").unwrap();
        let named = server.named("10.0.0.2:4223").unwrap();
        assert_eq!(named.to_string(), "10.0.0.2:4223");
        assert_eq!(named.address.scheme(), "tls");
        assert_eq!(named.login, user("u", "p"));
        assert_eq!(server.named("").map(|server| server.to_string()), None);
    }
}
