//! The request to the upstream, made of the client's.

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version,
    header::{FORWARDED, HOST, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, VIA},
    request::Parts,
    uri::PathAndQuery,
};

use super::{
    failure::Failure,
    headers::{is_hop_by_hop, pass_on},
    settings::Settings,
};
use crate::{handshake::passed::PassedExtensions, service::hook::Handshake};

/// Makes the request to the upstream.
pub(super) fn upstream_request(
    settings: &Settings,
    handshake: &Handshake,
) -> Result<Request<()>, Failure> {
    let head = &handshake.head;
    if has_passed(&head.headers, &settings.pseudonym) {
        return Err(Failure::Loop);
    }
    let mut request = Request::new(());
    *request.uri_mut() = joined(&settings.uri, &head.uri)?;
    let headers = request.headers_mut();
    headers.clone_from(&settings.own_headers);
    pass_on(&head.headers, &settings.headers, headers);
    tell_client(settings, handshake, headers);
    append(headers, &head.headers, VIA, &via(head.version, settings));
    if settings.preserve_host
        && let Some(host) = host(head)
    {
        headers.insert(HOST, host);
    }
    if let Some(hook) = &settings.on_request {
        hook(head, &mut request);
    }
    let headers = request.headers_mut();
    for name in headers.keys().cloned().collect::<Vec<_>>() {
        // A host of one's own, or the client's, was asked for.
        if is_hop_by_hop(&name) && name != HOST {
            headers.remove(name);
        }
    }
    offer_subprotocols(handshake, headers);
    if settings.end_to_end {
        let offered = head.headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
        let passed = PassedExtensions(offered.iter().cloned().collect());
        request.extensions_mut().insert(passed);
    }
    Ok(request)
}

/// Offers what the client does. What a client sends are tokens, or its handshake is refused before.
fn offer_subprotocols(handshake: &Handshake, headers: &mut HeaderMap) {
    let names: Vec<_> = handshake.offered_subprotocols().collect();
    if !names.is_empty()
        && let Ok(names) = HeaderValue::try_from(names.join(", "))
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, names);
    }
}

/// Says who the client is, as far as that was asked for.
fn tell_client(settings: &Settings, handshake: &Handshake, headers: &mut HeaderMap) {
    let head = &handshake.head;
    let peer = handshake.peer_addr();
    if settings.x_forwarded_for {
        let name = HeaderName::from_static("x-forwarded-for");
        let client = peer.map(|peer| peer.ip().to_canonical().to_string());
        let client = client.unwrap_or_else(|| "unknown".to_owned());
        append(headers, &head.headers, name, &client);
    }
    if settings.forwarded {
        let mut element = format!("for={}", node(peer));
        if let Some(host) = host(head)
            && let Ok(host) = host.to_str()
            && !host.contains(['"', '\\'])
        {
            element.push_str(&format!(";host=\"{host}\""));
        }
        append(headers, &head.headers, FORWARDED, &element);
    }
}

/// Reports whether no quoted string of a line is left open (RFC 7239 §4): what follows would be taken for a part of it.
fn closes_quotes(line: &[u8]) -> bool {
    let (mut quoted, mut bytes) = (false, line.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                let _escaped = bytes.next();
            }
            // Nothing is escaped there, and who reads it may think so.
            b'\\' => return false,
            _ => {}
        }
    }
    !quoted
}

/// Returns an address as a node of RFC 7239 §6.
fn node(peer: Option<SocketAddr>) -> String {
    match peer.map(|peer| peer.ip().to_canonical()) {
        None => "unknown".to_owned(),
        Some(ip) if ip.is_ipv6() => format!("\"[{ip}]\""),
        Some(ip) => ip.to_string(),
    }
}

/// Appends an element to a list that the client's request may have begun.
fn append(headers: &mut HeaderMap, from: &HeaderMap, name: HeaderName, element: &str) {
    headers.remove(&name);
    for line in from.get_all(&name) {
        if name != FORWARDED || closes_quotes(line.as_bytes()) {
            headers.append(name.clone(), line.clone());
        }
    }
    // Made of what fits in a header.
    if let Ok(element) = HeaderValue::try_from(element) {
        headers.append(name, element);
    }
}

/// Returns what this gateway adds to `Via` (RFC 9110 §7.6.3).
fn via(version: Version, settings: &Settings) -> String {
    let version = match version {
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        _ => "3",
    };
    format!("{version} {}", settings.pseudonym)
}

/// Reports whether a request has passed this gateway before.
fn has_passed(headers: &HeaderMap, pseudonym: &str) -> bool {
    let mut lines = headers.get_all(VIA).iter();
    lines.any(|line| {
        let mut words = line.as_bytes().split(|byte| b" ,\t".contains(byte));
        words.any(|word| word == pseudonym.as_bytes())
    })
}

/// Returns the host that the client has asked for.
fn host(head: &Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => {
            let host = authority.as_str().rsplit('@').next()?;
            HeaderValue::try_from(host).ok()
        }
        None => head.headers.get(HOST).cloned(),
    }
}

/// Puts path and query of a client's request behind those of the upstream.
fn joined(upstream: &Uri, client: &Uri) -> Result<Uri, Failure> {
    let prefix = upstream.path().trim_end_matches('/');
    let path = client.path();
    if !prefix.is_empty() && leads_out(path) {
        return Err(Failure::Path);
    }
    let mut target = prefix.to_owned();
    target.push_str(path);
    for (query, mark) in [(upstream.query(), '?'), (client.query(), '&')] {
        if let Some(query) = query {
            target.push(if target.contains('?') { mark } else { '?' });
            target.push_str(query);
        }
    }
    let mut parts = upstream.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| Failure::Path)?);
    Uri::from_parts(parts).map_err(|_| Failure::Path)
}

/// Reports whether a path has a segment that means the one above, as some servers read it.
fn leads_out(path: &str) -> bool {
    if !path.contains("..") && !path.contains("%2") {
        return false;
    }
    let mut path = path.to_ascii_lowercase();
    for (escaped, meant) in [
        ("%2e", "."),
        ("%2f", "/"),
        ("%5c", "/"),
        ("\\", "/"),
        ("%3b", ";"),
    ] {
        path = path.replace(escaped, meant);
    }
    // What some servers take for parameters of the segment is left out.
    path.split('/')
        .any(|segment| segment.split(';').next() == Some(".."))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    fn join(upstream: &'static str, client: &'static str) -> Option<String> {
        let joined = joined(&Uri::from_static(upstream), &Uri::from_static(client));
        joined.ok().map(|uri| uri.to_string())
    }

    #[test]
    fn path_and_query_go_behind_those_of_the_upstream() {
        for (upstream, client, expected) in [
            ("ws://a:1/", "/", "ws://a:1/"),
            ("ws://a:1", "/chat?x=1", "ws://a:1/chat?x=1"),
            ("ws://a:1/v2", "/chat?x=1", "ws://a:1/v2/chat?x=1"),
            ("ws://a:1/v2/", "/chat", "ws://a:1/v2/chat"),
            ("ws://a:1/v2?k=1", "/chat?x=1", "ws://a:1/v2/chat?k=1&x=1"),
            ("ws://a:1/v2?k=1", "/", "ws://a:1/v2/?k=1"),
            ("ws://a:1/", "https://other/chat", "ws://a:1/chat"),
            ("ws://a:1/", "/../x", "ws://a:1/../x"),
            ("ws://a:1/v2", "/a..b/...", "ws://a:1/v2/a..b/..."),
            ("ws://a:1/v2", "/%20", "ws://a:1/v2/%20"),
        ] {
            assert_eq!(join(upstream, client).as_deref(), Some(expected));
        }
    }

    #[test]
    fn path_does_not_lead_out_of_that_of_the_upstream() {
        for path in [
            "/..",
            "/../x",
            "/a/../../x",
            "/%2e%2E/x",
            "/.%2e/x",
            "/a%2f..%2fx",
            "/a%5C..%5cx",
            "/..\\x",
            "/..;/x",
            "/a/%2e.;x=1/x",
            "/..%3b/x",
            "/..%3B/x",
        ] {
            let path: Uri = path.parse().unwrap();
            assert!(joined(&Uri::from_static("ws://a/v2"), &path).is_err());
        }
    }

    #[test]
    fn quoted_strings_are_closed() {
        for line in ["", "for=a", "for=\"a\"", "for=\"a\\\"\", by=\"b;\""] {
            assert!(closes_quotes(line.as_bytes()), "{line}");
        }
        for line in ["for=\"a", "for=\"a\\\"", "\"\\", "a\"\"\"", "\\\"a\""] {
            assert!(!closes_quotes(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn addresses_are_nodes() {
        let node = |text: &str| node(Some(text.parse().unwrap()));
        assert_eq!(node("192.0.2.1:80"), "192.0.2.1");
        assert_eq!(node("[::ffff:192.0.2.1]:80"), "192.0.2.1");
        assert_eq!(node("[2001:db8::1]:80"), "\"[2001:db8::1]\"");
        assert_eq!(super::node(None), "unknown");
    }

    #[test]
    fn gateway_knows_itself_among_others() {
        let headers = |line| HeaderMap::from_iter([(VIA, HeaderValue::from_static(line))]);
        assert!(has_passed(&headers("1.1 other, 2 me"), "me"));
        assert!(has_passed(&headers("1.1 me (a comment),1.1 other"), "me"));
        assert!(!has_passed(&headers("1.1 other, 2 meet"), "me"));
    }
}
