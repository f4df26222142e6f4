//! Which headers pass a gateway.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT_LANGUAGE, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
        COOKIE, HOST, LOCATION, ORIGIN, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RETRY_AFTER,
        SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
        WWW_AUTHENTICATE,
    },
};

use crate::handshake::tokens::has_token;

/// Those of a client's request that are passed on by default.
pub(super) const PASSED: [HeaderName; 5] =
    [ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, ORIGIN, USER_AGENT];

/// Those of an upstream's response that are passed back by default.
pub(super) const PASSED_BACK: [HeaderName; 6] = [
    CONTENT_ENCODING,
    CONTENT_TYPE,
    LOCATION,
    RETRY_AFTER,
    SET_COOKIE,
    WWW_AUTHENTICATE,
];

/// Reports whether a header says something of one connection, of its handshake, or of where its bytes end, and so
/// never passes a gateway (RFC 9110 §7.6.1, §7.2).
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 15] = [
        CONNECTION,
        CONTENT_LENGTH,
        HOST,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
    ];
    NAMES.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Passes the listed headers of a client's request on.
pub(super) fn pass_on(from: &HeaderMap, listed: &[HeaderName], to: &mut HeaderMap) {
    for name in listed {
        let passes = !is_hop_by_hop(name) && !has_token(from, &CONNECTION, name.as_str());
        // The gateway's own word counts.
        if !passes || to.contains_key(name) {
            continue;
        }
        let lines = from.get_all(name).iter();
        if *name == COOKIE {
            // One line for HTTP/1.1, however many HTTP/2 has made of it (RFC 9113 §8.2.3).
            let lines: Vec<_> = lines.map(HeaderValue::as_bytes).collect();
            if let Ok(cookies) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
                && !lines.is_empty()
            {
                to.insert(COOKIE, cookies);
            }
            continue;
        }
        for line in lines {
            to.append(name, line.clone());
        }
    }
}

/// Passes the listed headers of an upstream's response back; of one that accepts none about its body.
pub(super) fn pass_back(
    from: &HeaderMap,
    listed: &[HeaderName],
    accepts: bool,
    to: &mut HeaderMap,
) {
    for name in listed {
        let about_body = name.as_str().starts_with("content-");
        if is_hop_by_hop(name)
            || has_token(from, &CONNECTION, name.as_str())
            || (accepts && about_body)
        {
            continue;
        }
        for line in from.get_all(name) {
            to.append(name, line.clone());
        }
    }
}

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
