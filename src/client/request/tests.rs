use super::*;

/// Kept out of logs, and of the tables of HTTP/2 (RFC 7541 §7.1.3).
#[test]
fn credentials_are_sensitive() {
    let request = "ws://me:secret@localhost/".into_request().unwrap();
    let head = head(request, &HeaderMap::new()).unwrap();
    assert!(head.headers[AUTHORIZATION].is_sensitive());
    assert!(!format!("{:?}", head.headers).contains("Basic"));
}
