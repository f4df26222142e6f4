use super::*;

#[test]
fn host_of_a_uri_is_the_name_in_a_certificate() {
    for (host, is_address) in [
        ("example.com", false),
        ("127.0.0.1", true),
        ("[::1]", true),
        ("[2001:db8::1]", true),
    ] {
        let name = name(host).unwrap();
        let found = matches!(name, ServerName::IpAddress(_));
        assert_eq!(found, is_address, "{host}");
    }
    name("a b").unwrap_err();
}
