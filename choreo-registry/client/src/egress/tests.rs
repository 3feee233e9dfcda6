use choreo_registry::vendor_table::{HostPattern, Vendor};

use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn host(text: &str) -> RegistryHost {
    text.parse().unwrap()
}

fn reason(egress: &Egress, text: &str) -> Option<BlockedReason> {
    egress
        .check_url(&url(text))
        .err()
        .map(|blocked| blocked.reason())
}

/// Each spelling is one that URL parsers accept and naive guards compare as text.
const INSIDE: [&str; 27] = [
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "127.1",
    "127.000.000.001",
    "0177.0.0.1",
    "017700000001",
    "①②⑦.⓪.⓪.①",
    "２１３０７０６４３３",
    "0x7f000001.",
    "127.0.0.1",
    "127.0.0.1.",
    "0",
    "0.0.0.0",
    "169。254。169。254",
    "169.254.169.254.",
    "10.0.0.7",
    "[::1]",
    "[::]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "168.63.129.16",
    "100.100.100.200",
];

#[test]
fn every_spelling_of_an_inside_address_is_blocked_for_tenants() {
    for spelling in INSIDE {
        assert_eq!(
            reason(&Egress::tenant(), &format!("https://{spelling}/v2/")),
            Some(BlockedReason::Address),
            "{spelling}"
        );
    }
}

/// The control: the guard tells inside from outside, it does not refuse everything.
#[test]
fn public_addresses_and_names_pass() {
    for spelling in [
        "1.1.1.1",
        "16843009",
        "[2606:4700::1111]",
        "[::ffff:1.1.1.1]",
        "ghcr.io",
    ] {
        assert_eq!(
            reason(&Egress::tenant(), &format!("https://{spelling}/v2/")),
            None,
            "{spelling}"
        );
    }
}

#[test]
fn the_operator_reaches_private_addresses_but_none_that_is_no_host() {
    let egress = Egress::operator();
    for spelling in [
        "127.0.0.1",
        "10.0.0.7",
        "169.254.169.254",
        "[::1]",
        "[fd00:ec2::254]",
    ] {
        assert_eq!(
            reason(&egress, &format!("https://{spelling}/")),
            None,
            "{spelling}"
        );
    }
    for spelling in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "[ff02::1]"] {
        let found = reason(&egress, &format!("https://{spelling}/"));
        assert_eq!(found, Some(BlockedReason::Address), "{spelling}");
    }
}

#[test]
fn an_allowed_network_opens_itself_and_nothing_else() {
    let egress = Egress::tenant().allow_network("127.0.0.0/8".parse().unwrap());
    for spelling in ["127.0.0.1", "2130706433", "127.9.9.9", "[::ffff:127.0.0.1]"] {
        assert_eq!(
            reason(&egress, &format!("https://{spelling}/")),
            None,
            "{spelling}"
        );
    }
    for spelling in ["10.0.0.1", "[::1]", "169.254.169.254"] {
        let found = reason(&egress, &format!("https://{spelling}/"));
        assert_eq!(found, Some(BlockedReason::Address), "{spelling}");
    }
}

#[test]
fn no_network_opens_the_metadata_service_to_tenants() {
    let egress = Egress::tenant()
        .allow_network("169.254.0.0/16".parse().unwrap())
        .allow_network("169.254.169.254/32".parse().unwrap());
    assert_eq!(
        reason(&egress, "https://169.254.169.254/"),
        Some(BlockedReason::Address)
    );
    assert_eq!(reason(&egress, "https://169.254.1.1/"), None);
}

#[test]
fn schemes_and_user_names_are_judged() {
    let egress = Egress::tenant().allow_plain_http(host("registry.lab.example:5000"));
    let table = [
        ("https://ghcr.io/", None),
        ("http://ghcr.io/", Some(BlockedReason::PlainHttp)),
        ("http://registry.lab.example:5000/", None),
        (
            "http://registry.lab.example:5001/",
            Some(BlockedReason::PlainHttp),
        ),
        (
            "http://registry.lab.example/",
            Some(BlockedReason::PlainHttp),
        ),
        ("ftp://ghcr.io/", Some(BlockedReason::Scheme)),
        ("file:///etc/passwd", Some(BlockedReason::Scheme)),
        ("https://user@ghcr.io/", Some(BlockedReason::UserInfo)),
        ("https://user:pw@ghcr.io/", Some(BlockedReason::UserInfo)),
        (
            "https://1.1.1.1 &@2.2.2.2# @3.3.3.3/",
            Some(BlockedReason::UserInfo),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(reason(&egress, text), expected, "{text}");
    }
}

/// Guards that a name longer than DNS allows is neither resolved nor kept as evidence.
#[test]
fn a_name_that_is_too_long_is_no_host() {
    let name = |count: usize| format!("https://{}.b/", "a".repeat(count - 2));
    let dotted = name(253).replace("b/", "b./");
    assert_eq!(reason(&Egress::tenant(), &name(253)), None);
    assert_eq!(reason(&Egress::tenant(), &dotted), None);
    let unreadable = Some(BlockedReason::Unreadable);
    assert_eq!(reason(&Egress::tenant(), &name(254)), unreadable);

    // Proxies remove the dots and find an address, or a name of the inside.
    let proxy = "http://proxy.example:3128".parse().unwrap();
    let behind = Egress::tenant().through_proxy(proxy);
    for host in [
        "169.254.169.254..",
        "10.0.0.1...",
        "localhost..",
        "metadata.google.internal..",
        "redis..",
        "a..b",
        ".a",
        "..",
    ] {
        let url = format!("https://{host}/");
        assert_eq!(reason(&behind, &url), unreadable, "{host}");
        assert_eq!(reason(&Egress::tenant(), &url), unreadable, "{host}");
    }
    for host in ["169.254.169.254.", "localhost.", "redis."] {
        let address = Some(BlockedReason::Address);
        assert_eq!(
            reason(&behind, &format!("https://{host}/")),
            address,
            "{host}"
        );
    }
}

#[test]
fn plain_http_does_not_open_the_address() {
    let egress = Egress::tenant().allow_plain_http(host("127.0.0.1:5000"));
    assert_eq!(
        reason(&egress, "http://127.0.0.1:5000/"),
        Some(BlockedReason::Address)
    );
}

#[test]
fn one_forbidden_address_refuses_the_whole_set() {
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let egress = Egress::tenant();
    let public = [address("1.1.1.1:443"), address("[2606:4700::1111]:443")];
    assert_eq!(
        egress.check_addresses("registry.example.com", &public),
        Ok(())
    );

    let mixed = [address("1.1.1.1:443"), address("10.0.0.7:443")];
    let blocked = egress
        .check_addresses("registry.example.com", &mixed)
        .unwrap_err();
    assert_eq!(
        blocked.to_string(),
        r#"host "registry.example.com" is not at a public address"#
    );
}

#[test]
fn realms_are_trusted_by_origin_by_table_or_by_the_operator() {
    let plain = Egress::tenant().allow_plain_http(host("lab.example:5000"));
    let operator = Egress::tenant()
        .allow_plain_http(host("lab.example:5000"))
        .allow_plain_http(host("lab.example:5001"))
        .trust_realm(host("registry.example.com"), host("login.example.com"))
        .trust_realm(host("lab.example:5000"), host("lab.example:5001"));
    let table = [
        (
            &plain,
            "registry.example.com",
            "https://registry.example.com/token",
            true,
        ),
        (
            &plain,
            "registry.example.com",
            "https://registry.example.com:443/token",
            true,
        ),
        (
            &plain,
            "registry.example.com",
            "https://registry.example.com:8443/token",
            false,
        ),
        (
            &plain,
            "registry.example.com",
            "http://registry.example.com/token",
            false,
        ),
        (
            &plain,
            "registry.example.com",
            "https://login.example.com/token",
            false,
        ),
        (
            &plain,
            "registry.example.com",
            "https://evil.example/registry.example.com",
            false,
        ),
        (&plain, "docker.io", "https://auth.docker.io/token", true),
        (
            &plain,
            "docker.io",
            "https://auth.docker.io:8443/token",
            false,
        ),
        (&plain, "docker.io", "http://auth.docker.io/token", false),
        (
            &plain,
            "docker.io",
            "https://auth.docker.io.evil.example/token",
            false,
        ),
        (
            &plain,
            "registry.gitlab.com",
            "https://gitlab.com/jwt/auth",
            true,
        ),
        (
            &plain,
            "registry.digitalocean.com",
            "https://api.digitalocean.com/v2/token",
            true,
        ),
        (
            &plain,
            "registry.example.com",
            "https://auth.docker.io/token",
            false,
        ),
        (
            &plain,
            "lab.example:5000",
            "http://lab.example:5000/token",
            true,
        ),
        (
            &plain,
            "lab.example:5000",
            "http://lab.example:5001/token",
            false,
        ),
        (
            &operator,
            "lab.example:5000",
            "http://lab.example:5001/token",
            true,
        ),
        (
            &operator,
            "registry.example.com",
            "https://login.example.com/token",
            true,
        ),
        (
            &operator,
            "registry.example.com",
            "http://login.example.com/token",
            false,
        ),
        (
            &operator,
            "registry.example.com",
            "https://login.example.com:8443/token",
            false,
        ),
        (
            &operator,
            "other.example.com",
            "https://login.example.com/token",
            false,
        ),
    ];
    for (egress, registry, realm, expected) in table {
        let registry = host(registry);
        let base = egress.base_url(&registry).unwrap();
        let found = egress.trusts_realm(&registry, &base, &url(realm));
        assert_eq!(found, expected, "{registry} -> {realm}");
    }
}

#[test]
fn messages_name_the_host_and_no_address_behind_it() {
    let table = [
        (
            "https://127.1/",
            r#"host "127.0.0.1" is not at a public address"#,
        ),
        (
            "http://ghcr.io/",
            r#"plain http to "ghcr.io" is not allowed"#,
        ),
        ("ftp://ghcr.io/", r#"only https leads to "ghcr.io""#),
        (
            "https://u@ghcr.io/",
            r#"the url of "ghcr.io" has a user name in it"#,
        ),
    ];
    for (text, expected) in table {
        assert_eq!(
            Egress::tenant()
                .check_url(&url(text))
                .unwrap_err()
                .to_string(),
            expected
        );
    }
}

#[test]
fn addresses_of_a_uri_are_judged_as_the_operator_opened_its_host() {
    let egress = Egress::tenant()
        .allow_host(host("registry.corp.example:5000"))
        .allow_plain_http(host("registry.corp.example:5000"));
    let judge = |uri: &str, addresses: &[&str]| {
        let addresses: Vec<IpAddr> = addresses.iter().map(|it| it.parse().unwrap()).collect();
        let judged = egress.check_addresses_of(&uri.parse().unwrap(), &addresses);
        judged.err().map(|blocked| blocked.reason())
    };
    let (opened, other) = (
        "https://registry.corp.example:5000/",
        "https://registry.corp.example/",
    );
    let blocked = Some(BlockedReason::Address);
    for scheme in ["https", "http"] {
        let opened = format!("{scheme}://REGISTRY.corp.example:5000/");
        assert_eq!(judge(&opened, &["10.0.0.7", "8.8.8.8"]), None);
    }
    assert_eq!(judge(opened, &["10.0.0.7", "169.254.169.254"]), blocked);
    assert_eq!(judge(other, &["8.8.8.8"]), None);
    assert_eq!(judge(other, &["8.8.8.8", "10.0.0.7"]), blocked);
    let plain = judge("http://registry.corp.example/", &["8.8.8.8"]);
    assert_eq!(plain, Some(BlockedReason::PlainHttp));
}

/// A sample for each vendor whose token server is another host than its registries, as their
/// challenges name it: the registry, its token server, and one that only looks like it.
const TOKEN_SERVERS: &[(&str, &str, &str)] = &[
    (
        "registry-intl.ap-southeast-1.aliyuncs.com",
        "https://dockerauth.ap-southeast-1.aliyuncs.com/auth",
        "https://dockerauth.ap-southeast-1.aliyuncs.com.evil.example/auth",
    ),
    (
        "crpi-lx9i6atrn34g.cn-hangzhou.personal.cr.aliyuncs.com",
        "https://dockerauth.cn-hangzhou.aliyuncs.com/auth",
        "https://dockerauth.cn-hangzhou.evil.example/auth",
    ),
    (
        "registry.digitalocean.com",
        "https://api.digitalocean.com/v2/registry/auth",
        "https://api.digitalocean.com:8443/v2/registry/auth",
    ),
    (
        "docker.io",
        "https://auth.docker.io/token",
        "https://auth.docker.io.evil.example/token",
    ),
    (
        "docker.elastic.co",
        "https://docker-auth.elastic.co/auth",
        "https://evil.elastic.co/auth",
    ),
    (
        "registry.gitlab.com",
        "https://gitlab.com/jwt/auth",
        "https://gitlab.example/jwt/auth",
    ),
    (
        "rg.fr-par.scw.cloud",
        "https://api.scaleway.com/registry-internal/v1/regions/fr-par/tokens",
        "http://api.scaleway.com/registry-internal/v1/regions/fr-par/tokens",
    ),
    (
        "ecr-public.aws.com",
        "https://public.ecr.aws/token/",
        "https://ecr.aws/token/",
    ),
];

fn trusts(egress: &Egress, host: &str, realm: &str) -> bool {
    let host: RegistryHost = host.parse().unwrap();
    let base = egress.base_url(&host).unwrap();
    egress.trusts_realm(&host, &base, &realm.parse().unwrap())
}

#[test]
fn each_vendor_has_its_token_server_and_no_other() {
    let egress = Egress::tenant();
    for (host, realm, other) in TOKEN_SERVERS {
        assert!(trusts(&egress, host, realm), "{host} {realm}");
        assert!(!trusts(&egress, host, other), "{host} {other}");
        // The realms of a vendor are not trusted for other registries.
        assert!(!trusts(&egress, "registry.example.com", realm), "{realm}");
    }
}

#[test]
fn each_token_server_of_the_table_has_a_sample() {
    for vendor in VendorTable::built_in().iter() {
        let Some(realm) = vendor.token_realm() else {
            continue;
        };
        let realm = realm.replace('*', "x");
        let realm = realm.trim_start_matches("https://");
        let (name, _) = realm.split_once('/').unwrap();
        let server: RegistryHost = name.parse().unwrap();
        let is_own = |host: &HostPattern| host.matches(&server);
        let samples = TOKEN_SERVERS
            .iter()
            .filter(|(host, ..)| VendorTable::built_in().of(&host.parse().unwrap()) == vendor);
        assert!(
            vendor.hosts().iter().all(is_own) || samples.count() > 0,
            "{vendor} needs a sample"
        );
    }
}

/// A row of the operator's counts with the policy that knows its table.
#[test]
fn a_row_of_the_operators_brings_its_token_server() {
    let acme = Vendor::new("acme", "Acme")
        .unwrap()
        .with_host("*.registry.acme.example".parse().unwrap())
        .with_token_realm("https://*.login.acme.example/token")
        .unwrap();
    let (host, realm) = (
        "eu.registry.acme.example",
        "https://eu.login.acme.example/token",
    );
    assert!(!trusts(&Egress::tenant(), host, realm));
    let egress = Egress::tenant().with_vendors(VendorTable::built_in().with(acme));
    assert!(trusts(&egress, host, realm));
    assert!(!trusts(&egress, host, "https://login.acme.example/token"));
}
