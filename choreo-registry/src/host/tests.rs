use proptest::prelude::*;

use super::*;

#[test]
fn pasted_hosts_are_brought_to_one_spelling() {
    for (input, expected) in [
        ("registry.example.com", "registry.example.com"),
        (
            " https://Registry.Example.com:443/ \n",
            "registry.example.com",
        ),
        ("http://registry.example.com:80", "registry.example.com:80"),
        ("oci://ghcr.io", "ghcr.io"),
        ("docker://ghcr.io", "ghcr.io"),
        ("HTTPS://GHCR.IO/v2/", "ghcr.io"),
        ("example.com.", "example.com"),
        ("example.com:00080", "example.com:80"),
        ("localhost", "localhost"),
        ("localhost:5000", "localhost:5000"),
        ("registry:5000", "registry:5000"),
        ("registry:443", "registry:443"),
        ("192.168.1.1:5000", "192.168.1.1:5000"),
        ("[2001:DB8:0::1]:5000", "[2001:db8::1]:5000"),
        ("[::1]", "[::1]"),
        ("[::ffff:192.0.2.1]", "[0:0:0:0:0:ffff:c000:201]"),
        ("xn--n3h.com", "xn--n3h.com"),
        ("docker.io", "docker.io"),
        ("docker.io:443", "docker.io"),
        ("index.docker.io/v1/", "docker.io"),
        ("https://index.docker.io/v1", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("registry.hub.docker.com", "docker.io"),
        ("registry.docker.com", "docker.io"),
        ("docker.io:5000", "docker.io:5000"),
    ] {
        let host: RegistryHost = input.parse().unwrap_or_else(|e| panic!("{input}: {e}"));
        assert_eq!(host.as_str(), expected, "{input}");
        assert_eq!(
            host.as_str().parse::<RegistryHost>().unwrap(),
            host,
            "{input}"
        );
    }
}

#[test]
fn refusals_say_what_to_do() {
    let long_label = format!("{}.com", "a".repeat(64));
    let long_host = format!("{}com", "a.".repeat(126));
    for (input, rule) in [
        ("", "it is empty: write a host such as registry.example.com"),
        (
            "https://",
            "it is empty: write a host such as registry.example.com",
        ),
        ("a.com b.com", "blanks are not allowed: write one host"),
        (
            "a.com,b.com",
            "character ',' is not allowed: a host is letters, digits, hyphens and dots",
        ),
        (
            "registry",
            "a host without a dot needs a port, or image references take it for a namespace of \
             Docker Hub: write \"registry:443\", or its full name",
        ),
        (&long_host, "a host is at most 253 characters long"),
        ("-a.com", "no part of a host begins or ends with a hyphen"),
        (
            "999.1.1.1",
            "it ends in a number and is no IPv4 address: write four numbers from 0 to 255, \
             without leading zeros",
        ),
        (
            "0x7f.1",
            "it ends in a number and is no IPv4 address: write four numbers from 0 to 255, \
             without leading zeros",
        ),
        (
            "[:::]",
            "the brackets do not contain an IPv6 address: write [2001:db8::1]:5000",
        ),
        (
            "[::1",
            "the brackets do not contain an IPv6 address: write [2001:db8::1]:5000",
        ),
        (
            "[::1]x",
            "the brackets do not contain an IPv6 address: write [2001:db8::1]:5000",
        ),
        (
            "[fe80::1%eth0]",
            "image references know no IPv6 zone: write the address without '%'",
        ),
        (
            "2001:db8::1",
            "an IPv6 address needs brackets: write [2001:db8::1]:5000",
        ),
        (
            "a..com",
            "it has an empty part: write single dots between names",
        ),
        (
            &long_label,
            "each part of a host is at most 63 characters long",
        ),
        (
            "☃.com",
            "write an international name in its ASCII form, which begins with xn--",
        ),
        (
            "ghcr.io/acme/app",
            "a host has no path: write \"ghcr.io\", the rest belongs to the image",
        ),
        ("a.com:0", "the port must be a number from 1 to 65535"),
        ("a.com:65536", "the port must be a number from 1 to 65535"),
        ("a.com:+80", "the port must be a number from 1 to 65535"),
        ("a.com:", "the port must be a number from 1 to 65535"),
        ("a.com:80:80", "the port must be a number from 1 to 65535"),
        (
            "ftp://a.com",
            "the scheme is unknown: write the host without it",
        ),
        (
            "${HOST}",
            "a variable was not replaced by its value: replace it first",
        ),
        (
            "exa_mple.com",
            "image references allow no underscore in a host: use another DNS name for it",
        ),
        (
            "hub.docker.com",
            "this is Docker Hub's web site: write docker.io",
        ),
        (
            "https://hub.docker.com/",
            "this is Docker Hub's web site: write docker.io",
        ),
        (
            "https://Hub.Docker.com/r/acme/app",
            "this is Docker Hub's web site: write docker.io",
        ),
    ] {
        let error = input.parse::<RegistryHost>().unwrap_err();
        let quoted = crate::quote::Quoted::new(input);
        assert_eq!(
            error.to_string(),
            format!("invalid registry host {quoted}: {rule}")
        );
    }
}

#[test]
fn a_pasted_credential_is_never_repeated() {
    for input in [
        "https://alice:hunter2@registry.example.com",
        "hunter2@registry.example.com",
        "hunter2@a b",
        "ftp://hunter2@x",
        "x/hunter2@y",
    ] {
        let error = input.parse::<RegistryHost>().unwrap_err();
        assert!(error.carries_credential(), "{input}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{input}");
    }
    let error = "registry.example.com/a/b".parse::<RegistryHost>();
    assert!(!error.unwrap_err().carries_credential());
}

#[test]
fn what_may_be_a_secret_is_not_repeated() {
    let dotless = "a host without a dot needs a port, or image references take it for a namespace \
                   of Docker Hub: write host:443, or its full name";
    let path = "a host has no path: write the host alone, the rest belongs to the image";
    for (input, why) in [
        // A suggestion would also repeat the input.
        ("hunter2hunter2hunter2", dotless),
        ("https://hunter2hunter2hunter2/", dotless),
        ("hunter2hunter2hunter2/acme", path),
        ("https://alice:hunter2/acme", path),
        (
            "ghcr.io?token=hunter2",
            "a host has no path: write \"ghcr.io\", the rest belongs to the image",
        ),
        (
            "ghcr.io/#hunter2",
            "a host has no path: write \"ghcr.io\", the rest belongs to the image",
        ),
        ("alice:hunter2", "the port must be a number from 1 to 65535"),
        (
            "https://alice:hunter2/v2/",
            "the port must be a number from 1 to 65535",
        ),
        (
            "hunter2%40ghcr.io",
            "character '%' is not allowed: a host is letters, digits, hyphens and dots",
        ),
        (
            "ghp_hunter2hunter2",
            "image references allow no underscore in a host: use another DNS name for it",
        ),
    ] {
        let error = input.parse::<RegistryHost>().unwrap_err();
        assert_eq!(error.to_string(), format!("invalid registry host: {why}"));
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    for shown in ["a.com:80:80", "[::1]:x", "an_other.host", "fifteen_letters"] {
        let text = shown.parse::<RegistryHost>().unwrap_err().to_string();
        assert!(text.contains(shown), "{text}");
    }
}

#[test]
fn a_host_is_suggested_where_it_is_obvious() {
    for (input, host) in [
        ("https://ghcr.io/acme", Some("ghcr.io")),
        ("a..b/acme", None),
        ("registry", Some("registry:443")),
        ("hub.docker.com/r/acme", Some("docker.io")),
        ("a b", None),
        ("hunter2@ghcr.io/acme", None),
    ] {
        let error = input.parse::<RegistryHost>().unwrap_err();
        let host = host.map(|host| host.parse().unwrap());
        assert_eq!(error.suggestion(), host, "{input}");
        assert_eq!(
            error.into_unquoted().suggestion().is_some(),
            input.starts_with("hub.")
        );
    }
}

#[test]
fn what_may_be_anything_is_not_repeated() {
    for (input, rule) in [
        (
            "a.com,b.com",
            "it contains a character that is not allowed: a host is letters, digits, hyphens and dots",
        ),
        (
            "registry",
            "a host without a dot needs a port, or image references take it for a namespace of \
             Docker Hub: write host:443, or its full name",
        ),
        (
            "ghcr.io/acme",
            "a host has no path: write the host alone, the rest belongs to the image",
        ),
        ("a.com:0", "the port must be a number from 1 to 65535"),
    ] {
        let error = input.parse::<RegistryHost>().unwrap_err().into_unquoted();
        assert_eq!(error.to_string(), format!("invalid registry host: {rule}"));
        assert!(!format!("{error:?}").contains(input));
    }
}

#[test]
fn loopback_is_told_apart() {
    for (host, loopback) in [
        ("localhost:5000", true),
        ("127.0.0.2", true),
        ("[::1]:5000", true),
        ("[::ffff:127.0.0.1]", true),
        ("registry.example.com", false),
        ("[2001:db8::1]", false),
    ] {
        assert_eq!(
            host.parse::<RegistryHost>().unwrap().is_loopback(),
            loopback,
            "{host}"
        );
    }
}

proptest! {
    #[test]
    fn any_string_is_parsed_or_refused(input in ".{0,80}") {
        if let Ok(host) = input.parse::<RegistryHost>() {
            prop_assert_eq!(host.as_str().parse::<RegistryHost>().unwrap(), host);
        }
    }

    /// An accepted host is valid before a repository, and is parsed again as the domain.
    #[test]
    fn an_accepted_host_is_an_image_domain(
        name in "[a-z0-9.-]{1,12}|\\[[0-9a-f:.]{1,12}\\]", port in proptest::option::of(0u32..70_000),
    ) {
        let input = match port { Some(port) => format!("{name}:{port}"), None => name };
        if let Ok(host) = input.parse::<RegistryHost>() {
            let image: ImageReference =
                format!("{}/acme/app", host.image_domain()).parse().unwrap();
            prop_assert_eq!(image.domain(), host.image_domain());
        }
    }
}

#[test]
fn the_api_is_asked_at_the_host_itself_and_for_docker_hub_elsewhere() {
    for (host, api) in [
        ("ghcr.io", "ghcr.io"),
        ("registry.example.com:5000", "registry.example.com:5000"),
        ("docker.io", "registry-1.docker.io"),
        ("registry.hub.docker.com", "registry-1.docker.io"),
    ] {
        assert_eq!(host.parse::<RegistryHost>().unwrap().api_host(), api);
    }
}
