use std::panic::catch_unwind;

use super::*;
use crate::handshake::requests::*;

/// Applies a policy to a request for `host` with these `Origin` lines.
fn allows(policy: &OriginPolicy, host: &str, origins: &[&str]) -> bool {
    let origins: Vec<&[u8]> = origins.iter().map(|origin| origin.as_bytes()).collect();
    let target = Authority::parse(host).expect("a host");
    let verdict = policy.check(&with(h1(), &[("origin", &origins)]), &target);
    assert!(matches!(verdict, Ok(()) | Err(Rejection::OriginRefused)));
    verdict.is_ok()
}

#[test]
fn same_host_allows_pages_of_the_host_of_the_request() {
    let table = [
        ("same", "a.example", "https://a.example"),
        ("case of the host", "A.Example", "https://a.eXample"),
        ("case of the scheme", "a.example", "HTTPS://a.example"),
        (
            "default port of https, missing in the host",
            "a.example",
            "https://a.example:443",
        ),
        (
            "default port of https, missing in the origin",
            "a.example:443",
            "https://a.example",
        ),
        (
            "default port of http, missing in the host",
            "a.example",
            "http://a.example:80",
        ),
        (
            "default port of http, missing in the origin",
            "a.example:80",
            "http://a.example",
        ),
        ("default port of wss", "a.example:443", "wss://a.example"),
        ("default port of ws", "a.example:80", "ws://a.example"),
        ("another port", "a.example:8080", "http://a.example:8080"),
        ("IPv4", "127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("IPv6", "[::1]:8080", "http://[::1]:8080"),
        ("IPv6 spelled out", "[0:0:0:0:0:0:0:1]", "http://[::1]"),
    ];
    for (name, host, origin) in table {
        assert!(allows(&OriginPolicy::SameHost, host, &[origin]), "{name}");
    }
}

#[test]
fn same_host_refuses_all_other_pages() {
    let table = [
        ("other host", "a.example", "https://b.example"),
        ("subdomain", "a.example", "https://www.a.example"),
        ("parent domain", "www.a.example", "https://a.example"),
        ("suffix", "a.example", "https://evila.example"),
        ("prefix", "a.example", "https://a.example.evil"),
        ("trailing dot", "a.example", "https://a.example."),
        ("other port", "a.example:8080", "http://a.example:8081"),
        (
            "port in the origin only",
            "a.example",
            "https://a.example:8443",
        ),
        (
            "port in the host only",
            "a.example:8443",
            "https://a.example",
        ),
        (
            "port of the other scheme",
            "a.example:443",
            "http://a.example",
        ),
        (
            "port of the other scheme, twice",
            "a.example:80",
            "https://a.example",
        ),
        (
            "scheme without a port",
            "localhost",
            "capacitor://localhost",
        ),
        (
            "scheme without a port, one given",
            "localhost:80",
            "capacitor://localhost:80",
        ),
        ("other IPv6", "[::1]", "http://[::2]"),
        ("IPv6 and a name", "[::1]", "http://localhost"),
        ("null", "null", "null"),
    ];
    for (name, host, origin) in table {
        assert!(!allows(&OriginPolicy::SameHost, host, &[origin]), "{name}");
    }
}

/// What each of these would mean, leniently read, is allowed.
const MALFORMED: [(&str, &str); 11] = [
    ("null", "null"),
    ("nothing", ""),
    ("no scheme", "a.example"),
    ("no authority", "https:a.example"),
    ("userinfo", "https://user@a.example"),
    ("userinfo with a colon", "https://a.example:443@a.example"),
    ("path", "https://a.example/"),
    ("query", "https://a.example?"),
    ("two in one line", "https://a.example https://a.example"),
    ("a list", "https://a.example, https://a.example"),
    ("port past 65535", "https://a.example:65979"),
];

#[test]
fn malformed_origins_are_refused_by_same_host_and_list() {
    let list = OriginPolicy::list(["https://a.example"]);
    for (name, origin) in MALFORMED {
        assert!(
            !allows(&OriginPolicy::SameHost, "a.example", &[origin]),
            "{name}"
        );
        assert!(!allows(&list, "a.example", &[origin]), "{name}, list");
    }
}

#[test]
fn origin_that_is_not_ascii_is_refused() {
    let head = with(h1(), &[("origin", &[b"https://a.example\xff"])]);
    let target = Authority::parse("a.example").expect("a host");
    assert_eq!(
        OriginPolicy::SameHost.check(&head, &target),
        Err(Rejection::OriginRefused)
    );
}

#[test]
fn request_without_origin_is_allowed_by_every_policy() {
    let refuse = OriginPolicy::predicate(|_, _| false);
    let empty = OriginPolicy::list([""; 0]);
    let local = OriginPolicy::SameHostOrLocalhost;
    for policy in [
        OriginPolicy::SameHost,
        local,
        OriginPolicy::Any,
        empty,
        refuse,
    ] {
        assert!(allows(&policy, "a.example", &[]), "{policy:?}");
    }
}

#[test]
fn two_origin_lines_are_refused_by_all_but_any() {
    let origins = ["https://a.example", "https://a.example"];
    let list = OriginPolicy::list(["https://a.example"]);
    let allow = OriginPolicy::predicate(|_, _| true);
    let or = OriginPolicy::same_host_or(["https://a.example, https://a.example"]);
    for policy in [OriginPolicy::SameHost, list, or, allow] {
        assert!(allows(&policy, "a.example", &origins[..1]), "{policy:?}");
        assert!(!allows(&policy, "a.example", &origins), "{policy:?}");
    }
    assert!(allows(&OriginPolicy::Any, "a.example", &origins));
}

#[test]
fn any_allows_every_origin() {
    for (name, origin) in MALFORMED {
        assert!(allows(&OriginPolicy::Any, "b.example", &[origin]), "{name}");
    }
}

#[test]
fn list_allows_its_origins_in_any_spelling() {
    let origins = [
        "https://A.example",
        "http://[::1]:80",
        "chrome-extension://abc",
    ];
    let list = OriginPolicy::list(origins);
    for origin in [
        "https://a.example:443",
        "HTTPS://a.EXAMPLE",
        "http://[0::1]",
    ] {
        assert!(allows(&list, "b.example", &[origin]), "{origin}");
    }
    assert!(allows(&list, "b.example", &["chrome-extension://abc"]));
}

#[test]
fn list_refuses_other_schemes_hosts_and_ports() {
    let list = OriginPolicy::list(["https://a.example", "chrome-extension://abc"]);
    let table = [
        "http://a.example",
        "wss://a.example",
        "https://b.example",
        "https://a.example:80",
        "https://a.example:44",
        "http://a.example:443",
        "chrome-extension://abd",
        "chrome-extension://abc:1",
    ];
    for origin in table {
        assert!(!allows(&list, "a.example", &[origin]), "{origin}");
    }
}

/// What apps and devices send, and what is malformed in other ways: none of it is an origin.
const INVENTED: [&str; 12] = [
    "null",
    "file://",
    "file:///index.html",
    "https:a.example",
    "a.example",
    "a.example:8080",
    "https://user@a.example",
    "https://a.example/app",
    "https://a.example?",
    "https://a.example, https://b.example",
    "https://a.example:65979",
    "http://b\u{fc}cher.example",
];

#[test]
fn list_allows_other_text_letter_by_letter() {
    let list = OriginPolicy::list(INVENTED);
    let table = [
        "",
        "NULL",
        "file:/",
        "file:///",
        "https://a.example",
        "https://a.example/",
        "https://a.example/App",
        "A.example",
        "https://b.example",
        "https://user@A.example",
    ];
    for policy in [list, OriginPolicy::same_host_or(INVENTED)] {
        for origin in INVENTED {
            assert!(allows(&policy, "c.example", &[origin]), "{origin}");
        }
        for origin in table {
            assert!(!allows(&policy, "c.example", &[origin]), "{origin}");
        }
    }
}

#[test]
fn list_reads_an_origin_with_a_slash_as_what_browsers_send() {
    let list = OriginPolicy::list([" https://a.example/ ", "capacitor://localhost/"]);
    for origin in [
        "https://a.example",
        "HTTPS://A.example:443",
        "https://a.example/",
        "capacitor://localhost",
    ] {
        assert!(allows(&list, "b.example", &[origin]), "{origin}");
    }
    for origin in [
        "https://a.example//",
        "https://a.example:443/",
        "http://a.example",
    ] {
        assert!(!allows(&list, "b.example", &[origin]), "{origin}");
    }
}

#[test]
fn list_panics_on_what_nothing_would_match() {
    for entry in [
        "",
        " ",
        "*",
        "https://*.example.com",
        "https://a.example\nhttps://b.example",
    ] {
        let list = catch_unwind(|| OriginPolicy::list(["https://a.example", entry]));
        let why = list.expect_err(entry);
        let why = why.downcast_ref::<String>().expect("a message");
        assert!(
            why.contains(&format!("{:?} allows no page: ", entry.trim())),
            "{why}"
        );
        assert!(catch_unwind(|| OriginPolicy::same_host_or([entry])).is_err());
    }
}

#[test]
fn same_host_or_allows_the_host_and_the_list() {
    let policy = OriginPolicy::same_host_or(["https://front.example", "file://"]);
    for origin in ["https://a.example", "https://FRONT.example:443", "file://"] {
        assert!(allows(&policy, "a.example", &[origin]), "{origin}");
    }
    for origin in [
        "https://b.example",
        "https://a.example:8443",
        "http://front.example",
        "null",
    ] {
        assert!(!allows(&policy, "a.example", &[origin]), "{origin}");
    }
}

#[test]
fn pages_of_this_machine_may_ask_this_machine_from_any_port() {
    let local = [
        "localhost",
        "LOCALHOST:8080",
        "app.localhost",
        "127.0.0.1:1",
        "127.9.9.9",
        "[::1]:3000",
    ];
    for host in local {
        for page in local {
            let origin = format!("http://{page}");
            assert!(
                allows(&OriginPolicy::SameHostOrLocalhost, host, &[&origin]),
                "{host} {page}"
            );
        }
    }
}

#[test]
fn pages_of_this_machine_are_refused_by_other_hosts_and_others_by_it() {
    let table = [
        ("a public host", "a.example", "http://localhost"),
        (
            "a public host that sounds alike",
            "localhost.example",
            "http://localhost:5173",
        ),
        (
            "a public name that sounds alike",
            "notlocalhost",
            "http://localhost:5173",
        ),
        (
            "an address in the network",
            "192.168.1.2",
            "http://localhost:5173",
        ),
        ("any address", "0.0.0.0", "http://localhost:5173"),
        ("a trailing dot", "localhost.", "http://localhost:5173"),
        ("another page", "localhost:8080", "https://evil.example"),
        (
            "another page that sounds alike",
            "localhost:8080",
            "https://localhost.evil.example",
        ),
        (
            "another page with such a user",
            "localhost:8080",
            "https://localhost@evil.example",
        ),
        (
            "a page in the network",
            "127.0.0.1:8080",
            "http://192.168.1.2:5173",
        ),
        (
            "a number that is no address",
            "127.0.0.1:8080",
            "http://127.1:5173",
        ),
        ("an app", "localhost:8080", "capacitor://localhost"),
        ("null", "localhost:8080", "null"),
    ];
    for (name, host, origin) in table {
        assert!(
            !allows(&OriginPolicy::SameHostOrLocalhost, host, &[origin]),
            "{name}"
        );
    }
    assert!(allows(
        &OriginPolicy::SameHostOrLocalhost,
        "a.example",
        &["https://a.example"]
    ));
}

#[test]
fn predicate_sees_the_line_and_the_head() {
    let policy = OriginPolicy::predicate(|origin, head| {
        origin == "null" && head.uri.path() == "/chat" && head.headers.contains_key("host")
    });
    assert!(allows(&policy, "a.example", &["null"]));
    assert!(!allows(&policy, "a.example", &["https://a.example"]));
}

#[test]
fn default_is_same_host() {
    assert!(matches!(OriginPolicy::default(), OriginPolicy::SameHost));
}

#[test]
fn debug_output_lists_the_origins() {
    let list = OriginPolicy::list(["https://a.example"]);
    assert_eq!(
        format!("{list:?}"),
        r#"List(OriginList(["https://a.example:443"]))"#
    );
    let predicate = OriginPolicy::predicate(|_, _| true);
    assert_eq!(format!("{predicate:?}"), "Predicate(OriginPredicate(..))");
}
