use super::*;

/// Kept out of logs, and of the tables of HTTP/2 (RFC 7541 §7.1.3).
#[test]
fn credentials_are_sensitive() {
    let request = "ws://me:secret@localhost/".into_request().unwrap();
    let head = head(request, &HeaderMap::new());
    assert!(head.headers[AUTHORIZATION].is_sensitive());
    assert!(!format!("{:?}", head.headers).contains("Basic"));
}

/// RFC 6874 §2: `getaddrinfo` wants the zone behind a percent sign, certificates do not know it.
#[test]
fn zone_is_for_connecting_alone() {
    for (uri, host, target) in [
        (
            "wss://[fe80::1%25eth0]/",
            "[fe80::1]",
            "https://[fe80::1%eth0]:443/",
        ),
        (
            "ws://[fe80::1%eth0]:81/",
            "[fe80::1]",
            "http://[fe80::1%eth0]:81/",
        ),
        (
            "ws://[fe80::1%25en%2D1]",
            "[fe80::1]",
            "http://[fe80::1%en-1]:80/",
        ),
        ("ws://[::1]/", "[::1]", "http://[::1]:80/"),
        ("ws://a:/", "a", "http://a:80/"),
    ] {
        let server = Server::of(&uri.parse().unwrap()).unwrap();
        assert_eq!(&*server.host, host, "{uri}");
        assert_eq!(
            server.http_uri(server.tls).unwrap().to_string(),
            target,
            "{uri}"
        );
    }
}
