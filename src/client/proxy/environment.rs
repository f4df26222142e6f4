//! Proxies that the environment names, as curl reads it.

use std::{ffi::OsString, fmt};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::uri::{InvalidProxy, Proxy};
use crate::client::request::Server;

/// Which proxy leads where, by the environment's variables.
pub(crate) struct Environment {
    /// Those for `ws` and for `wss`.
    plain: Option<Proxy>,
    tls: Option<Proxy>,
    /// Intercepts what is not reached without; there is none where everything is.
    reached: Option<Matcher>,
}

impl Environment {
    /// Reads the variables.
    pub(super) fn read(
        read: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, InvalidProxy> {
        // A web server hands a header `Proxy` on as `HTTP_PROXY` to what it runs for a request.
        let is_cgi = read("REQUEST_METHOD").is_some();
        let plain = PLAIN
            .iter()
            .filter(|name| !is_cgi || !may_be_header(name, cfg!(windows)));
        let no_proxy = text(&read, NO_PROXY.iter())?;
        Ok(Self {
            plain: proxy(&read, plain)?,
            tls: proxy(&read, TLS.iter())?,
            reached: reached(&no_proxy.map(|(_, text)| text).unwrap_or_default()),
        })
    }

    /// Returns the proxy for a server, if it is not reached without.
    pub(super) fn proxy(&self, server: &Server) -> Option<&Proxy> {
        let proxy = if server.tls { &self.tls } else { &self.plain };
        let reached = self.reached.as_ref()?;
        // A name with the dot of the root is the same one, and here the host has no zone.
        let host = server.host.strip_suffix('.').unwrap_or(&server.host);
        let uri = Uri::builder().scheme("http").authority(host);
        let uri = uri.path_and_query("/").build();
        let is_passed = uri.is_ok_and(|uri| reached.intercept(&uri).is_none());
        proxy.as_ref().filter(|_| !is_passed)
    }
}

/// Reports whether a CGI script's variable of this name may be a header. On Windows names have no case.
fn may_be_header(name: &str, is_windows: bool) -> bool {
    name == "HTTP_PROXY" || is_windows && name.eq_ignore_ascii_case("HTTP_PROXY")
}

/// Reads which servers are reached without a proxy; commas and blanks stand between them.
fn reached(no_proxy: &str) -> Option<Matcher> {
    let entries = no_proxy.split(|c: char| c == ',' || c.is_whitespace());
    let entries: Vec<_> = entries
        .map(|entry| entry.strip_suffix('.').unwrap_or(entry))
        .collect();
    // The matcher takes it for all names, and for no address.
    if entries.contains(&"*") {
        return None;
    }
    let matcher = Matcher::builder().all("http://proxy");
    Some(matcher.no(entries.join(",")).build())
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("ws", &self.plain)
            .field("wss", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Reads a proxy out of the first of these variables that has something in it.
fn proxy<'a>(
    read: &impl Fn(&'static str) -> Option<OsString>,
    names: impl Iterator<Item = &'a &'static str>,
) -> Result<Option<Proxy>, InvalidProxy> {
    let Some((name, text)) = text(read, names)? else {
        return Ok(None);
    };
    let proxy = Proxy::parse(&text).map_err(|error| error.read_from(name))?;
    Ok(Some(proxy))
}

fn text<'a>(
    read: &impl Fn(&'static str) -> Option<OsString>,
    names: impl Iterator<Item = &'a &'static str>,
) -> Result<Option<(&'static str, String)>, InvalidProxy> {
    for name in names {
        let Some(text) = read(name).filter(|text| !text.is_empty()) else {
            continue;
        };
        let text = text.into_string();
        let text = text.map_err(|_| InvalidProxy::malformed().read_from(name))?;
        return Ok(Some((name, text)));
    }
    Ok(None)
}

const PLAIN: [&str; 6] = [
    "ws_proxy",
    "WS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "all_proxy",
    "ALL_PROXY",
];
const TLS: [&str; 6] = [
    "wss_proxy",
    "WSS_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    fn environment(variables: &[(&'static str, &str)]) -> Result<Environment, InvalidProxy> {
        Environment::read(|name| {
            let mut found = variables.iter().filter(|(found, _)| *found == name);
            found.next().map(|(_, text)| text.into())
        })
    }

    /// Which host leads to this server.
    fn way<'a>(environment: &'a Environment, uri: &str) -> &'a str {
        let server = Server::of(&uri.parse().unwrap()).unwrap();
        let proxy = environment.proxy(&server);
        proxy.map_or("", |proxy| &proxy.host)
    }

    #[test]
    fn variables_are_read_in_the_order_of_curl() {
        type Case<'a> = (&'a [(&'static str, &'a str)], &'a str, &'a str);
        let cases: [Case<'_>; 11] = [
            (&[], "", ""),
            (&[("all_proxy", "all")], "all", "all"),
            (&[("ALL_PROXY", "all")], "all", "all"),
            (
                &[("HTTPS_PROXY", "tls"), ("ALL_PROXY", "all")],
                "all",
                "tls",
            ),
            (&[("https_proxy", "low"), ("HTTPS_PROXY", "up")], "", "low"),
            (&[("https_proxy", ""), ("HTTPS_PROXY", "up")], "", "up"),
            (&[("HTTP_PROXY", "plain")], "plain", ""),
            (&[("wss_proxy", "own"), ("https_proxy", "tls")], "", "own"),
            (&[("WS_PROXY", "own"), ("http_proxy", "plain")], "own", ""),
            (
                &[("HTTP_PROXY", "a-header"), ("REQUEST_METHOD", "GET")],
                "",
                "",
            ),
            (
                &[("http_proxy", "plain"), ("REQUEST_METHOD", "GET")],
                if cfg!(windows) { "" } else { "plain" },
                "",
            ),
        ];
        for (variables, ws, wss) in cases {
            let environment = environment(variables).unwrap();
            assert_eq!(way(&environment, "http://server/"), ws, "{variables:?}");
            assert_eq!(way(&environment, "https://server/"), wss, "{variables:?}");
        }
    }

    #[test]
    fn header_has_another_name_where_names_have_case() {
        for (name, is_windows, expected) in [
            ("HTTP_PROXY", false, true),
            ("HTTP_PROXY", true, true),
            ("http_proxy", false, false),
            ("http_proxy", true, true),
            ("all_proxy", true, false),
            ("ws_proxy", true, false),
        ] {
            assert_eq!(may_be_header(name, is_windows), expected, "{name}");
        }
    }

    #[test]
    fn some_servers_are_reached_without() {
        let list = "localhost, .corp.example,10.0.0.0/8,::1";
        let with_list = environment(&[("all_proxy", "proxy"), ("NO_PROXY", list)]).unwrap();
        for (host, expected) in [
            ("localhost", ""),
            ("LOCALHOST", ""),
            ("corp.example", ""),
            ("a.corp.example", ""),
            ("notcorp.example", "proxy"),
            ("10.1.2.3", ""),
            ("11.1.2.3", "proxy"),
            ("[::1]", ""),
            ("[::3]", "proxy"),
            ("server", "proxy"),
        ] {
            let uri = format!("https://{host}:8443/");
            assert_eq!(way(&with_list, &uri), expected, "{host}");
        }
    }

    #[test]
    fn a_star_is_every_server() {
        for list in ["*", "server,*", "server *", " * ", "*,server"] {
            let none = environment(&[("all_proxy", "proxy"), ("no_proxy", list)]).unwrap();
            for host in ["server", "127.0.0.1", "[::1]", "[fe80::1%25eth0]", "a."] {
                let uri = format!("http://{host}:8080/");
                assert_eq!(way(&none, &uri), "", "{list}: {host}");
            }
        }
        let all = environment(&[("all_proxy", "proxy"), ("no_proxy", "*.example")]).unwrap();
        assert_eq!(way(&all, "http://127.0.0.1/"), "proxy");
    }

    #[test]
    fn servers_are_told_apart_by_commas_and_blanks() {
        let list = "\tlocalhost  corp.example,fe80::/10\n10.0.0.1 , root.example. ";
        let environment = environment(&[("all_proxy", "proxy"), ("no_proxy", list)]).unwrap();
        for (host, expected) in [
            ("localhost", ""),
            ("localhost.", ""),
            ("corp.example", ""),
            ("corp.example.", ""),
            ("a.corp.example.", ""),
            ("root.example", ""),
            ("10.0.0.1", ""),
            ("10.0.0.2", "proxy"),
            ("[fe80::1]", ""),
            ("[fe80::1%25eth0]", ""),
            ("[2001:db8::1]", "proxy"),
            ("server.", "proxy"),
        ] {
            let uri = format!("https://{host}:8443/");
            assert_eq!(way(&environment, &uri), expected, "{host}");
        }
    }

    #[test]
    fn variable_that_names_no_proxy_is_an_error_that_names_it() {
        let error = environment(&[("HTTPS_PROXY", "ftp://user:secret@proxy")]).unwrap_err();
        let said = error.to_string();
        assert!(said.ends_with("in the environment's HTTPS_PROXY"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}
