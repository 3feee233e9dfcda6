use proptest::prelude::*;

use super::*;
use crate::RegistryHost;

fn image(text: &str) -> ImageReference {
    text.parse().unwrap()
}

fn lookup<'k>(keyring: &'k Keyring, name: &str) -> Vec<&'k str> {
    keyring.lookup(&image(name)).map(Entry::key).collect()
}

/// Returns the keys that the linear scan of an explanation finds.
fn scan<'k>(keyring: &'k Keyring, image: &ImageReference) -> Vec<&'k str> {
    keyring.explain(image).tool(Tool::Kubelet).keys().collect()
}

fn takes(tool: Tool, key: &str, name: &str) -> bool {
    Keyring::from_keys([key])
        .explain(&image(name))
        .tool(tool)
        .matches()
}

/// The tools that find Docker Hub's images, by key.
#[test]
fn spellings_of_docker_hub() {
    for (key, kubelet, docker, podman, oras) in [
        ("https://index.docker.io/v1/", true, true, true, true),
        ("http://index.docker.io/v1/", true, false, true, false),
        ("https://index.docker.io/v1", false, false, true, false),
        ("https://index.docker.io/v2/", true, false, true, false),
        ("https://index.docker.io", true, false, true, false),
        ("index.docker.io/v1/", true, false, false, false),
        ("index.docker.io", true, false, true, false),
        ("docker.io", true, false, true, false),
        ("https://docker.io/v1/", true, false, true, false),
        ("docker.io/acme", true, false, true, false),
        ("docker.io/ac", true, false, false, false),
        ("registry-1.docker.io", false, false, true, false),
        ("registry.hub.docker.com", false, false, false, false),
        ("registry.docker.com", false, false, false, false),
        ("*.docker.io", false, false, false, false),
        ("docker.*", true, false, false, false),
        ("*.io", true, false, false, false),
        ("index.docker.io:443", false, false, false, false),
    ] {
        let expected = [kubelet, docker, podman, oras];
        assert_eq!(
            Tool::ALL.map(|tool| takes(tool, key, "acme/app")),
            expected,
            "{key}"
        );
    }
}

#[test]
fn a_kubelet_tries_backwards_by_bytes() {
    let keyring = Keyring::from_keys([
        "*.io",
        "quay.*",
        "quay.io",
        "quay.io/",
        "quay.io:",
        "https://quay.io/v2/",
        "quay.io/a",
        "quay.io/ac",
        "quay.io/b",
        "quay.io/acme/app/x",
        "index.docker.io",
    ]);
    assert_eq!(
        lookup(&keyring, "quay.io/acme/app:1"),
        [
            "quay.io:",
            "quay.io/ac",
            "quay.io/a",
            "quay.io",
            "quay.io/",
            "https://quay.io/v2/",
            "quay.*",
            "*.io"
        ]
    );
    // The fallback matches no image that another key matches, and no other registry.
    assert_eq!(lookup(&keyring, "nginx"), ["*.io"]);
    assert!(lookup(&keyring, "registry.example.com/app").is_empty());
    let hub = Keyring::from_keys(["index.docker.io", "https://index.docker.io/v1/"]);
    assert_eq!(lookup(&hub, "nginx").len(), 2);
    // Docker Hub's credential also matches a host without dot and port: this is the kubelet's rule.
    assert_eq!(lookup(&hub, "localhost/app").len(), 2);
    assert!(lookup(&hub, "localhost:5000/app").is_empty());
}

#[test]
fn many_keys_of_one_image_are_found_in_order() {
    let path: String = "abcdefghijklmnopqrst".into();
    let mut keys: Vec<_> = (1..=path.len())
        .map(|end| format!("ghcr.io/{}", &path[..end]))
        .collect();
    let keyring = Keyring::from_keys(keys.iter().map(String::as_str));
    let name = format!("ghcr.io/{path}");
    keys.reverse();
    assert_eq!(lookup(&keyring, &name), keys);
    assert_eq!(lookup(&keyring, "ghcr.io/abd"), ["ghcr.io/ab", "ghcr.io/a"]);
    assert_eq!(keyring.lookup(&image(&name)).skip(3).count(), 17);
}

#[test]
fn paths_beyond_an_image_are_kept_and_never_found() {
    let longest = "a".repeat(255);
    let keyring = Keyring::from_keys([format!("ghcr.io/{longest}"), format!("ghcr.io/{longest}a")]);
    assert_eq!(keyring.entries().len(), 2);
    let found = lookup(&keyring, &format!("ghcr.io/{longest}")).len();
    assert_eq!(found, 1);
}

/// Go's `filepath.Match` returns the same for each of these.
#[test]
fn globs_are_those_of_go() {
    for (pattern, name, matched) in [
        ("abc", "abc", true),
        ("*", "abc", true),
        ("*", "", true),
        ("*c", "abc", true),
        ("a*", "a", true),
        ("a*", "ab/c", false),
        ("a*/b", "abc/b", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
        ("a*b?c*x", "abxbbxdbxebxczzx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("ab[c]", "abc", true),
        ("ab[b-d]", "abc", true),
        ("ab[e-g]", "abc", false),
        ("ab[^c]", "abc", false),
        ("ab[^b-d]", "abc", false),
        ("ab[^e-g]", "abc", true),
        ("ab[^e-g]", "ab", false),
        ("ab[c]", "ab", false),
        ("a\\*b", "a*b", true),
        ("a\\*b", "ab", false),
        ("a?b", "a☺b", true),
        ("a[^a]b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("a[^a][^a][^a]b", "a☺b", false),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        ("a?b", "a/b", false),
        ("a*b", "a/b", false),
        ("[\\]a]", "]", true),
        ("[\\-]", "-", true),
        ("[x\\-]", "x", true),
        ("[x\\-]", "-", true),
        ("[x\\-]", "z", false),
        ("[\\-x]", "a", false),
        ("[]a]", "]", false),
        ("[-]", "-", false),
        ("[x-]", "x", false),
        ("[-x]", "x", false),
        ("\\", "a", false),
        ("[a-b-c]", "a", false),
        ("[", "a", false),
        ("[^", "a", false),
        ("[^bc", "a", false),
        ("a[", "a", false),
        ("a[", "ab", false),
        ("a[", "x", false),
        ("*x", "xxx", true),
        ("?", "", false),
        ("", "", true),
        ("", "a", false),
        ("[a]/", "a/", true),
        ("**a", "bca", true),
    ] {
        assert_eq!(
            glob::matches(pattern.as_bytes(), name.as_bytes()),
            matched,
            "{pattern} and {name}"
        );
    }
    // An invalid byte is read as one character, U+FFFD, and does not match itself in a class.
    assert!(glob::matches(b"?", b"\xff"));
    assert!(glob::matches(b"\xff", b"\xff"));
    assert!(!glob::matches(b"[\xff]", b"\xff"));
    assert!(glob::matches(
        "[\u{fffd}]".as_bytes(),
        "\u{fffd}".as_bytes()
    ));
}

#[test]
fn each_reason_has_its_words() {
    let hub = "for Docker Hub only \"https://index.docker.io/v1/\" is looked for";
    for (tool, key, name, text) in [
        (Tool::Docker, "ghcr.io", "ghcr.io/a", "matches \"ghcr.io\""),
        (
            Tool::Kubelet,
            "ghcr.io:443",
            "ghcr.io/a",
            "does not match \"ghcr.io:443\", because its port is not the one in the image's name",
        ),
        (
            Tool::Kubelet,
            "ghcr.io/b",
            "ghcr.io/a",
            "does not match \"ghcr.io/b\", because its path is not the beginning of the image's",
        ),
        (
            Tool::Kubelet,
            "ghcr.io/v2",
            "ghcr.io/a",
            "does not match \"ghcr.io/v2\", because \"/v1\" and \"/v2\" are cut off only where a slash follows",
        ),
        (
            Tool::Kubelet,
            "GHCR.io",
            "ghcr.io/a",
            "does not match \"GHCR.io\", because upper and lower case differ",
        ),
        (
            Tool::Kubelet,
            "oci://ghcr.io",
            "ghcr.io/a",
            "does not match \"oci://ghcr.io\", because only \"http://\" and \"https://\" are cut off, in lower case",
        ),
        (
            Tool::Kubelet,
            "[::1]",
            "[::1]/a",
            "does not match \"[::1]\", because brackets without a port are taken for a set of characters",
        ),
        (
            Tool::Kubelet,
            "registry-1.docker.io",
            "nginx",
            "does not match \"registry-1.docker.io\", because Docker Hub is known as \"docker.io\" and, without port and path, as \"index.docker.io\" only",
        ),
        (
            Tool::Kubelet,
            "index.docker.io:443",
            "nginx",
            "does not match \"index.docker.io:443\", because Docker Hub is known as \"docker.io\" and, without port and path, as \"index.docker.io\" only",
        ),
        (
            Tool::Kubelet,
            "ghcr.io",
            "[:::]/a",
            "does not match, because the image's host is in brackets and no IPv6 address",
        ),
        (
            Tool::Kubelet,
            "ghcr.io",
            "quay.io/a",
            "does not match, because no key is for its host",
        ),
        (
            Tool::Kubelet,
            " ghcr.io",
            "ghcr.io/a",
            "does not match \" ghcr.io\", because it is dropped: its host contains a character that is not allowed",
        ),
        (
            Tool::Kubelet,
            "ghcr.io:x",
            "ghcr.io/a",
            "does not match \"ghcr.io:x\", because it is dropped: what follows the first colon of its host is no port",
        ),
        (
            Tool::Kubelet,
            "ghcr.io/%x",
            "ghcr.io/a",
            "does not match \"ghcr.io/%x\", because it is dropped: a '%' in it does not begin a valid escape",
        ),
        (
            Tool::Kubelet,
            "ghcr.io/\n",
            "ghcr.io/a",
            "does not match \"ghcr.io/\\n\", because it is dropped: it contains a control character",
        ),
        (
            Tool::Kubelet,
            "a b@ghcr.io",
            "ghcr.io/a",
            "does not match \"…@ghcr.io\", because it is dropped: the part before its '@' is not a user name and password",
        ),
        (
            Tool::Kubelet,
            "[:::]:5000",
            "[::1]:5000/a",
            "does not match, because no key is for its host",
        ),
        (
            Tool::Kubelet,
            "[ghcr.io]:443",
            "ghcr.io/a",
            "does not match \"[ghcr.io]:443\", because it is dropped: only an IPv6 address may be in brackets",
        ),
        (
            Tool::Docker,
            "docker.io",
            "nginx",
            &format!("does not match \"docker.io\", because {hub}"),
        ),
        (
            Tool::Oras,
            "registry-1.docker.io",
            "registry-1.docker.io/a",
            &format!("does not match \"registry-1.docker.io\", because {hub}"),
        ),
        (
            Tool::Docker,
            "user@ghcr.io",
            "ghcr.io/a",
            "does not match \"…@ghcr.io\", because it is compared as it is written",
        ),
        (
            Tool::ContainersImage,
            "ghcr.io/",
            "ghcr.io/a",
            "does not match \"ghcr.io/\", because a key without \"https://\" has to be the image's name up to one of its slashes",
        ),
        (
            Tool::ContainersImage,
            "index.docker.io/v1/",
            "nginx",
            "does not match \"index.docker.io/v1/\", because a key without \"https://\" has to be the image's name up to one of its slashes",
        ),
        (
            Tool::ContainersImage,
            "https://registry.docker.com",
            "nginx",
            "does not match \"https://registry.docker.com\", because it is compared as it is written",
        ),
        (
            Tool::ContainersImage,
            "registry.docker.com",
            "nginx",
            "does not match \"registry.docker.com\", because it is compared as it is written",
        ),
        (
            Tool::ContainersImage,
            "https://registry.docker.com/v1/",
            "nginx",
            "does not match \"https://registry.docker.com/v1/\", because it is compared as it is written",
        ),
        (
            Tool::ContainersImage,
            "ghcr.io:444",
            "ghcr.io/a",
            "does not match \"ghcr.io:444\", because its port is not the one in the image's name",
        ),
        (
            Tool::Kubelet,
            "docker.io",
            "ghcr.io/a",
            "does not match, because no key is for its host",
        ),
        (
            Tool::Kubelet,
            "ghcr.io",
            "nginx",
            "does not match, because no key is for its host",
        ),
        (
            Tool::ContainersImage,
            "oci://ghcr.io",
            "ghcr.io/a",
            "does not match \"oci://ghcr.io\", because only \"http://\" and \"https://\" are cut off, in lower case",
        ),
        (
            Tool::ContainersImage,
            "[::1]:5000",
            "[::1]:5000/a",
            "does not match, because images with such a host are refused",
        ),
        (
            Tool::Oras,
            "GHCR.io",
            "ghcr.io/a",
            "does not match \"GHCR.io\", because upper and lower case differ",
        ),
        (
            Tool::Oras,
            "ghcr.io:443",
            "ghcr.io/a",
            "does not match \"ghcr.io:443\", because its port is not the one in the image's name",
        ),
        (
            Tool::Oras,
            "ghcr.io",
            "[:::]/a",
            "does not match, because the image's host is in brackets and no IPv6 address",
        ),
    ] {
        let keyring = Keyring::from_keys([key]);
        let explanation = keyring.explain(&image(name));
        assert_eq!(explanation.tool(tool).to_string(), text, "{tool}: {key}");
    }
    let none = Keyring::from_keys::<String>([]);
    let nothing = none.explain(&image("nginx"));
    assert_eq!(
        nothing.tool(Tool::Kubelet).to_string(),
        "does not match, because there are no keys"
    );
}

#[test]
fn each_match_has_its_words() {
    for (tool, key, name, reason, text) in [
        (
            Tool::Kubelet,
            "ghcr.io",
            "ghcr.io/a",
            Reason::Host,
            "its host is the image's",
        ),
        (
            Tool::Kubelet,
            "ghcr.io/a",
            "ghcr.io/ab",
            Reason::Prefix,
            "its path is the beginning of the image's",
        ),
        (
            Tool::Kubelet,
            "*.io",
            "ghcr.io/a",
            Reason::Glob,
            "the image's host fits its pattern",
        ),
        (
            Tool::Kubelet,
            "index.docker.io",
            "nginx",
            Reason::Fallback,
            "no other key matches, and the image is taken for one of Docker Hub",
        ),
        (
            Tool::Docker,
            "ghcr.io",
            "ghcr.io/a",
            Reason::Exact,
            "it is what is looked for first",
        ),
        (
            Tool::Docker,
            "oci://ghcr.io/x",
            "ghcr.io/a",
            Reason::Host,
            "its host is the image's",
        ),
        (
            Tool::ContainersImage,
            "ghcr.io/a",
            "ghcr.io/a/b",
            Reason::Parent,
            "it is a registry or namespace that the image is in",
        ),
        (
            Tool::ContainersImage,
            "https://ghcr.io/x",
            "ghcr.io/a",
            Reason::Host,
            "its host is the image's",
        ),
        (
            Tool::ContainersImage,
            "registry-1.docker.io",
            "nginx",
            Reason::DockerHub,
            "it is another name of Docker Hub",
        ),
    ] {
        let keyring = Keyring::from_keys([key]);
        let explanation = keyring.explain(&image(name));
        let explained = explanation.tool(tool);
        assert_eq!(
            (explained.reason(), explained.nearest()),
            (reason, Some(key))
        );
        assert!(explained.matches() && reason.is_match());
        assert_eq!(reason.to_string(), text);
    }
    assert!(!Reason::Path.is_match());
}

/// Keys that no tool confuses, distinguished by the rules for the nearest key.
#[test]
fn the_nearest_key_is_explained() {
    let keyring = Keyring::from_keys(["quay.io", "GHCR.io", "ghcr.io:443", "ghcr.io/b"]);
    let explanation = keyring.explain(&image("ghcr.io/a"));
    assert_eq!(explanation.tool(Tool::Kubelet).nearest(), Some("ghcr.io/b"));
    let oras = Keyring::from_keys(["quay.io", "GHCR.io", "ghcr.io:443"]);
    let explanation = oras.explain(&image("ghcr.io/a"));
    assert_eq!(explanation.tool(Tool::Oras).reason(), Reason::Port);
}

#[test]
fn a_fitter_key_wins_over_the_first() {
    let keys = [
        "https://ghcr.io",
        "ghcr.io/v1",
        "ghcr.io",
        "ghcr.io/acme",
        "ghcr.io/acme/app",
    ];
    let keyring = Keyring::from_keys(keys);
    let explanation = keyring.explain(&image("ghcr.io/acme/app"));
    assert_eq!(explanation.tool(Tool::Docker).key(), Some("ghcr.io"));
    assert_eq!(explanation.tool(Tool::Oras).key(), Some("ghcr.io"));
    assert_eq!(
        explanation.tool(Tool::ContainersImage).key(),
        Some("ghcr.io/acme/app")
    );
    let explanation = keyring.explain(&image("ghcr.io/acme/other"));
    assert_eq!(
        explanation.tool(Tool::ContainersImage).key(),
        Some("ghcr.io/acme")
    );
    // Docker removes any path, also those of other registries.
    let explanation = keyring.explain(&image("ghcr.io/other"));
    assert_eq!(
        explanation.tool(Tool::ContainersImage).key(),
        Some("ghcr.io")
    );
}

#[test]
fn docker_reads_hosts_as_go_does() {
    for (key, domain, is_taken) in [
        ("https://[::1]:5000/v2/", "[::1]:5000", true),
        ("https://::1:5000", "[::1]:5000", true),
        ("::1:5000", "[::1]:5000", false),
        // Go's `Hostname` removes the brackets.
        ("https://[::1]", "[::1]", false),
        ("https://[::1", "[::1]", false),
        ("https://ghcr.io:", "ghcr.io", true),
        ("https://user:pass@ghcr.io", "ghcr.io", true),
        ("https://ghcr.io?x", "ghcr.io", true),
        ("https://ghcr.io /", "ghcr.io", false),
        ("a:b://ghcr.io", "ghcr.io", true),
        ("/://ghcr.io", "ghcr.io", true),
        (":5://ghcr.io:5000/x", "ghcr.io:5000", true),
        ("https:///", "ghcr.io", false),
        ("x://ghcr.io:1:2", "ghcr.io:1:2", false),
    ] {
        let name = format!("{domain}/app");
        let Ok(image) = name.parse() else { continue };
        let keyring = Keyring::from_keys([key]);
        let taken = keyring.explain(&image).tool(Tool::Docker).matches();
        assert_eq!(taken, is_taken, "{key}");
    }
}

#[test]
fn podman_knows_localhost_and_no_other_name_without_a_dot() {
    assert!(takes(Tool::ContainersImage, "localhost", "localhost/app"));
    assert!(!takes(Tool::ContainersImage, "LOCALHOST", "LOCALHOST/app"));
    assert!(takes(Tool::Docker, "LOCALHOST", "LOCALHOST/app"));
}

#[test]
fn an_explanation_is_one_line_with_every_tool() {
    let keyring = Keyring::from_keys(["ghcr.io", "ghcr.io/acme"]);
    let image = image("ghcr.io/acme/app");
    let explanation = keyring.explain(&image);
    assert_eq!(
        explanation.to_string(),
        "kubelet: matches \"ghcr.io/acme\", then \"ghcr.io\"; docker: matches \"ghcr.io\"; \
         podman: matches \"ghcr.io/acme\"; oras: matches \"ghcr.io\"",
    );
    assert_eq!(
        format!("{explanation:?}"),
        "[kubelet: matches \"ghcr.io/acme\", then \"ghcr.io\", docker: matches \"ghcr.io\", \
         podman: matches \"ghcr.io/acme\", oras: matches \"ghcr.io\"]",
    );
    let tools = explanation.tools().iter().map(ToolExplanation::tool);
    assert_eq!(tools.collect::<Vec<_>>(), Tool::ALL);
}

#[test]
fn passwords_in_keys_are_not_shown() {
    let keyring = Keyring::from_keys(["https://alice:hunter2@ghcr.io", "a:hun/ter2@quay.io"]);
    let found = keyring.lookup(&image("ghcr.io/app"));
    let explanation = keyring.explain(&image("ghcr.io/app"));
    let tool = explanation.tool(Tool::Kubelet);
    let texts = [
        format!("{keyring:?}"),
        format!("{found:?}"),
        format!("{explanation:?}{explanation}"),
        format!("{tool:?}{tool}"),
    ];
    for text in texts {
        assert!(text.contains("https://…@ghcr.io"), "{text}");
        assert!(!text.contains("alice") && !text.contains("hun"), "{text}");
    }
    assert_eq!(found.clone().count(), 1);
    assert_eq!(
        format!("{:?}", Keyring::from_keys(["ghcr.io"])),
        "Keyring { entries: [Entry { key: \"ghcr.io\", value: () }], .. }"
    );
}

#[test]
fn registries_are_found_by_their_images() {
    let registry = |host: &str| {
        ContainerRegistry::new("x", host.parse().unwrap(), crate::Authentication::Public).unwrap()
    };
    let registries = [
        registry("ghcr.io"),
        registry("docker.io"),
        registry("[::1]:5000"),
    ];
    let keyring = Keyring::from_registries(&registries);
    for (name, host) in [
        ("ghcr.io/acme/app", "ghcr.io"),
        ("nginx", "docker.io"),
        ("[::1]:5000/app", "[::1]:5000"),
    ] {
        let found: Vec<_> = keyring
            .lookup(&image(name))
            .map(|entry| entry.value().host().as_str())
            .collect();
        assert_eq!(found, [host]);
    }
    assert_eq!(keyring.lookup(&image("quay.io/app")).count(), 0);
}

/// Few hosts, labels and characters, so that many of them coincide.
fn key() -> impl Strategy<Value = String> {
    let label = prop_oneof![3 => "[ab]{1,2}", 1 => Just("*".to_owned()), 1 => "[ab*]{1,3}"];
    let mixed = proptest::collection::vec(label, 1..4).prop_map(|labels| labels.join("."));
    // Often the same host, because most of the index is about the many keys of one host.
    let host = prop_oneof![2 => Just("a.b".to_owned()), 1 => mixed];
    let scheme = prop_oneof![4 => Just(""), 1 => Just("https://"), 1 => Just("http://")];
    let port = prop_oneof![4 => Just(""), 1 => Just(":80"), 1 => Just(":")];
    let path =
        prop_oneof![1 => "", 3 => "/[ab/]{0,8}", 1 => "/v[12][ab/]{0,3}", 1 => "/[ab%4?#]{0,8}"];
    prop_oneof![
        8 => (scheme, host, port, path)
            .prop_map(|(scheme, host, port, path)| format!("{scheme}{host}{port}{path}")),
        1 => Just("index.docker.io".to_owned()),
        1 => ".{0,8}",
    ]
}

fn name() -> impl Strategy<Value = ImageReference> {
    let host = prop_oneof![
        4 => Just("a.b".to_owned()),
        6 => "[ab]{1,2}(\\.[ab]{1,2}){1,2}(:80)?",
        1 => Just("docker.io".to_owned()),
        1 => Just("localhost".to_owned()),
        1 => Just("AB".to_owned()),
    ];
    (host, "[ab]{1,3}(/[ab]{1,3}){0,3}").prop_map(|(host, path)| image(&format!("{host}/{path}")))
}

fn host() -> impl Strategy<Value = RegistryHost> {
    let name = prop_oneof![
        4 => "[a-zA-Z0-9]{1,8}(\\.[a-z0-9-]{1,8}){0,3}(:[0-9]{1,5})?",
        1 => "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}(:[0-9]{1,5})?",
        1 => "\\[[0-9a-f]{1,4}::[0-9a-f]{1,4}\\](:[0-9]{1,5})?",
        1 => proptest::sample::select(&crate::host::DOCKER_HUB_NAMES[..]).prop_map(str::to_owned),
        1 => Just("localhost:5000".to_owned()),
    ];
    name.prop_filter_map("a host", |name| name.parse().ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_index_finds_what_a_linear_scan_finds(
        keys in proptest::collection::vec(key(), 0..24),
        images in proptest::collection::vec(name(), 1..8),
    ) {
        let keyring = Keyring::from_keys(keys);
        for image in images {
            let found: Vec<_> = keyring.lookup(&image).map(Entry::key).collect();
            prop_assert_eq!(found, scan(&keyring, &image));
        }
    }

    /// All tools find the key of a pull secret, unless a tool rejects such images: kubelets find no
    /// IPv6 address without port, Podman none at all.
    #[test]
    fn the_key_of_a_pull_secret_is_found_by_all(host in host(), path in "[a-z]{1,5}(/[a-z]{1,5})?") {
        let image = image(&format!("{}/{path}", host.image_domain()));
        let keyring = Keyring::from_keys([host.auths_key()]);
        let explanation = keyring.explain(&image);
        let is_ipv6 = host.as_str().starts_with('[');
        for tool in explanation.tools() {
            let exception = match tool.tool() {
                Tool::Kubelet => is_ipv6 && host.port().is_none(),
                Tool::ContainersImage => is_ipv6,
                Tool::Docker | Tool::Oras => false,
            };
            prop_assert_eq!(tool.matches(), !exception, "{}", explanation);
        }
    }
}
