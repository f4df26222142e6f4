//! A proxy, by its URI.

use std::{error, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use crate::client::request::{authority, split_zone};

/// A proxy, and how it is asked.
pub(in crate::client) struct Proxy {
    pub(super) kind: Kind,
    /// As URIs have it, an address of IPv6 in brackets.
    pub(super) host: Box<str>,
    /// The zone of an address of IPv6, as that of a server.
    zone: Option<Box<str>>,
    port: u16,
}

pub(super) enum Kind {
    /// HTTP's `CONNECT`, over TLS or not, with these credentials.
    Http {
        tls: bool,
        credentials: Option<HeaderValue>,
    },
    /// SOCKS5 with these names of user and password; names of servers are resolved here or there.
    Socks {
        local_names: bool,
        credentials: Option<(Vec<u8>, Vec<u8>)>,
    },
}

/// The reason why a text names no proxy that a client can use.
///
/// Its message does not repeat the text, which may have a password.
///
/// ```
/// use tower_websocket::client::Client;
///
/// let error = Client::new().proxy("ftp://user:secret@proxy.example").unwrap_err();
/// assert!(!error.to_string().contains("secret"));
/// ```
#[derive(Debug)]
pub struct InvalidProxy {
    why: Why,
    /// Which variable of the environment it was read from.
    variable: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum Why {
    Malformed,
    Scheme,
    Host,
    Path,
    Credentials,
}

impl InvalidProxy {
    /// Says where it was read.
    pub(super) fn read_from(mut self, variable: &'static str) -> Self {
        self.variable = Some(variable);
        self
    }

    pub(super) fn malformed() -> Self {
        Why::Malformed.into()
    }
}

impl From<Why> for InvalidProxy {
    fn from(why: Why) -> Self {
        Self {
            why,
            variable: None,
        }
    }
}

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Why::Malformed => {
                "the proxy's URI is malformed (what is no letter, digit, -, ., _ or ~ in user and password is \
                 written as %XX)"
            }
            Why::Scheme => {
                "the proxy's URI begins with none of http://, https://, socks5:// and socks5h://"
            }
            Why::Host => "the proxy's URI has no host",
            Why::Path => "the proxy's URI has a path: it is that of a page, not of a proxy",
            Why::Credentials => {
                "user or password of a SOCKS proxy have more than 255 bytes, or the user has none"
            }
        })?;
        match self.variable {
            Some(variable) => write!(f, ", in the environment's {variable}"),
            None => Ok(()),
        }
    }
}

impl error::Error for InvalidProxy {}

impl Proxy {
    /// Reads a proxy's URI; without a scheme it is one of HTTP.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidProxy> {
        let text = text.trim();
        // It would begin a fragment, and what stands before it would be taken for the host.
        if text.contains('#') {
            return Err(Why::Malformed.into());
        }
        let text = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        if lacks_host(&text) {
            return Err(Why::Host.into());
        }
        let uri: Uri = text.parse().map_err(|_| Why::Malformed)?;
        let (user, host) = match uri.authority().map(|authority| authority.as_str()) {
            Some(authority) => authority.rsplit_once('@').unwrap_or(("", authority)),
            None => return Err(Why::Host.into()),
        };
        if uri.host().is_none_or(str::is_empty) {
            return Err(Why::Host.into());
        }
        if uri
            .path_and_query()
            .is_some_and(|path| path.as_str() != "/")
        {
            return Err(Why::Path.into());
        }
        let port = uri.port_u16();
        if port.is_none() && uri.host() != Some(host.trim_end_matches(':')) {
            return Err(Why::Malformed.into());
        }
        let (kind, default) = Kind::of(uri.scheme_str().unwrap_or_default(), user)?;
        let (host, zone) = split_zone(uri.host().unwrap_or_default());
        Ok(Self {
            kind,
            host,
            zone,
            port: port.unwrap_or(default),
        })
    }
}

impl Proxy {
    /// Returns where a stream to it is to lead, as HTTP has it.
    pub(in crate::client) fn http_uri(&self) -> Result<Uri, http::Error> {
        let authority = authority(&self.host, self.zone.as_deref(), self.port);
        let uri = Uri::builder().scheme("http").authority(authority);
        uri.path_and_query("/").build()
    }
}

impl Kind {
    /// Returns the kind that a scheme names, and its port where none is given.
    fn of(scheme: &str, user: &str) -> Result<(Self, u16), InvalidProxy> {
        Ok(match scheme.to_ascii_lowercase().as_str() {
            "http" => (Self::http(false, user), 80),
            "https" => (Self::http(true, user), 443),
            "socks5" => (Self::socks(true, user)?, 1080),
            "socks5h" => (Self::socks(false, user)?, 1080),
            _ => return Err(Why::Scheme.into()),
        })
    }

    /// In the `Basic` scheme (RFC 7617 §2).
    fn http(tls: bool, user: &str) -> Self {
        let credentials = (!user.is_empty()).then(|| {
            let (user, password) = credentials(user);
            let text = STANDARD.encode([&user[..], b":", &password].concat());
            HeaderValue::try_from(format!("Basic {text}")).ok()
        });
        let mut credentials = credentials.flatten();
        if let Some(value) = &mut credentials {
            value.set_sensitive(true);
        }
        Self::Http { tls, credentials }
    }

    /// Both have one to 255 bytes (RFC 1929 §2); a password that is empty is taken by most.
    fn socks(local_names: bool, user: &str) -> Result<Self, InvalidProxy> {
        let credentials = (!user.is_empty()).then(|| credentials(user));
        if let Some((user, password)) = &credentials
            && (user.is_empty() || user.len() > 255 || password.len() > 255)
        {
            return Err(Why::Credentials.into());
        }
        Ok(Self::Socks {
            local_names,
            credentials,
        })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nobody is to find a password in a log.
        f.debug_struct("Proxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Reports whether a text with a scheme has nothing where a host belongs.
fn lacks_host(text: &str) -> bool {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.is_empty() || host.starts_with(':')
}

/// Takes user and password apart.
fn credentials(text: &str) -> (Vec<u8>, Vec<u8>) {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    (
        percent_decode_str(user).collect(),
        percent_decode_str(password).collect(),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        let proxy = Proxy::parse(text).unwrap();
        let kind = match proxy.kind {
            Kind::Http { tls, credentials } => {
                let credentials = credentials.map(|value| value.to_str().unwrap().to_owned());
                format!("tls={tls} {}", credentials.unwrap_or_default())
            }
            Kind::Socks {
                local_names,
                credentials,
            } => {
                let text = |bytes| String::from_utf8(bytes).unwrap();
                let (user, password) = credentials.unwrap_or_default();
                format!("local={local_names} {}:{}", text(user), text(password))
            }
        };
        format!("{}:{} {kind}", proxy.host, proxy.port)
    }

    #[test]
    fn proxy_is_named_by_a_uri() {
        for (uri, expected) in [
            ("http://proxy", "proxy:80 tls=false "),
            ("HTTP://proxy:3128/", "proxy:3128 tls=false "),
            ("proxy:3128", "proxy:3128 tls=false "),
            ("10.0.0.1:3128", "10.0.0.1:3128 tls=false "),
            (" proxy.example ", "proxy.example:80 tls=false "),
            ("https://proxy", "proxy:443 tls=true "),
            ("socks5://[::1]", "[::1]:1080 local=true :"),
            ("socks5h://proxy:9", "proxy:9 local=false :"),
            ("SOCKS5H://a:b@proxy", "proxy:1080 local=false a:b"),
            (
                "socks5://a%40b:%3a%2f@proxy",
                "proxy:1080 local=true a@b::/",
            ),
            // RFC 7617 §2
            (
                "http://Aladdin:open%20sesame@proxy",
                "proxy:80 tls=false Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            ("user:@proxy:1", "proxy:1 tls=false Basic dXNlcjo="),
        ] {
            assert_eq!(parsed(uri), expected, "{uri}");
        }
    }

    #[test]
    fn zone_of_a_proxy_is_where_to_connect_and_not_its_name() {
        for (uri, expected) in [
            (
                "http://[fe80::1%25eth0]:3128",
                "http://[fe80::1%eth0]:3128/",
            ),
            ("https://[fe80::1%eth0]", "http://[fe80::1%eth0]:443/"),
            ("socks5h://u%40:p@[fe80::1%252]", "http://[fe80::1%2]:1080/"),
            ("http://[fe80::1]", "http://[fe80::1]:80/"),
        ] {
            let proxy = Proxy::parse(uri).unwrap();
            assert_eq!(&*proxy.host, "[fe80::1]", "{uri}");
            assert_eq!(proxy.http_uri().unwrap(), expected, "{uri}");
        }
    }

    #[test]
    fn what_names_no_proxy_is_told_without_its_password() {
        for (uri, expected) in [
            ("", "has no host"),
            ("http://", "has no host"),
            ("socks5:///", "has no host"),
            ("http://secret@", "has no host"),
            ("http://user:secret@:3128", "has no host"),
            ("http://bob#1:secret@proxy:3128", "malformed"),
            ("http://user:123#45secret@proxy:8080", "malformed"),
            ("user:123#secret@proxy", "malformed"),
            ("http://proxy#secret", "malformed"),
            ("ftp://secret@proxy", "begins with none of http://"),
            ("socks4://secret@proxy", "begins with none of http://"),
            ("ws://secret@proxy", "begins with none of http://"),
            ("http://secret@proxy/proxy.pac", "has a path"),
            ("http://secret@proxy/?a", "has a path"),
            ("http://sec ret@proxy", "malformed"),
            ("http://secret@proxy:99999", "malformed"),
            (&format!("socks5://{}:secret@proxy", "u".repeat(256)), "255"),
            (&format!("socks5://u:{}@proxy", "secret".repeat(43)), "255"),
            ("socks5://:secret@proxy", "255"),
        ] {
            let error = Proxy::parse(uri).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(expected), "{uri}: {said}");
            assert!(!format!("{error:?}{said}").contains("secret"), "{said}");
        }
    }

    #[test]
    fn proxy_does_not_show_its_password() {
        for scheme in ["http", "https", "socks5", "socks5h"] {
            let proxy = Proxy::parse(&format!("{scheme}://user:secret@proxy")).unwrap();
            let shown = format!("{proxy:?}");
            assert!(
                !shown.contains("secret") && !shown.contains("user"),
                "{shown}"
            );
        }
    }
}
