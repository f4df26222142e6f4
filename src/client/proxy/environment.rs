//! Proxies that the environment names, as curl reads it.

use std::{ffi::OsString, fmt};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::uri::{InvalidProxy, Proxy};

/// Which proxy leads where, by the environment's variables.
pub(crate) struct Environment {
    /// Those for `ws` and for `wss`.
    plain: Option<Proxy>,
    tls: Option<Proxy>,
    /// Intercepts what is not reached without.
    reached: Matcher,
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
            .filter(|name| !is_cgi || **name != "HTTP_PROXY");
        let no_proxy = text(&read, NO_PROXY.iter())?;
        Ok(Self {
            plain: proxy(&read, plain)?,
            tls: proxy(&read, TLS.iter())?,
            reached: Matcher::builder()
                .all("http://proxy")
                .no(no_proxy.map(|(_, text)| text).unwrap_or_default())
                .build(),
        })
    }

    /// Returns the proxy for a server with or without TLS.
    pub(super) fn proxy(&self, tls: bool, uri: &Uri) -> Option<&Proxy> {
        let proxy = if tls { &self.tls } else { &self.plain };
        proxy
            .as_ref()
            .filter(|_| self.reached.intercept(uri).is_some())
    }
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
        let tls = uri.starts_with("https");
        let proxy = environment.proxy(tls, &uri.parse().unwrap());
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
                "plain",
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
        let none = environment(&[("all_proxy", "proxy"), ("no_proxy", "*")]).unwrap();
        assert_eq!(way(&none, "http://server/"), "");
    }

    #[test]
    fn variable_that_names_no_proxy_is_an_error_that_names_it() {
        let error = environment(&[("HTTPS_PROXY", "ftp://user:secret@proxy")]).unwrap_err();
        let said = error.to_string();
        assert!(said.ends_with("in the environment's HTTPS_PROXY"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}
