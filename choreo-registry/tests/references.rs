//! Compares image references with the vectors, which contain the results of distribution/reference.

use choreo_registry::reference::{Repository, Tag, TagRef};
use choreo_registry::{Digest, ImageReference};
use proptest::prelude::*;
use serde_json::Value;

const VECTORS: &str = include_str!("vectors/references.jsonl");

#[test]
fn every_vector_gives_what_distribution_reference_gives() {
    let vectors: Vec<Value> = VECTORS
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(vectors.len(), 150, "vectors are missing");

    for vector in &vectors {
        let input = vector["input"].as_str().unwrap();
        let parsed = input.parse::<ImageReference>();
        assert_eq!(
            parsed.is_ok(),
            vector["ok"].as_bool().unwrap(),
            "{input}: {parsed:?}"
        );
        let Ok(image) = parsed else { continue };

        let field = |name: &str| vector[name].as_str();
        assert_eq!(
            image.domain(),
            field("domain").unwrap_or_default(),
            "domain of {input}"
        );
        assert_eq!(
            Some(image.repository().as_str()),
            field("path"),
            "path of {input}"
        );
        assert_eq!(
            image.tag().map(TagRef::as_str),
            field("tag"),
            "tag of {input}"
        );
        assert_eq!(
            image.digest().map(|d| d.as_str()),
            field("digest"),
            "digest of {input}"
        );
        assert_eq!(
            Some(image.as_str()),
            field("normalized"),
            "normalised {input}"
        );
        assert_eq!(
            Some(image.familiar()),
            field("familiar"),
            "familiar {input}"
        );
    }
}

#[test]
fn corners_of_the_grammar_are_those_of_distribution_reference() {
    let id = "be178c0543eb17f5f3043021c9e5fcf30285e557a4fc309cce97ff9ca6182912";
    let by_digest = format!("localhost:8080@sha256:{id}");
    let tagged_id = format!("{id}:latest");
    let label = format!("{}.com/x", "d".repeat(300));
    for (input, normalised, familiar) in [
        ("LOCALHOST/app", "LOCALHOST/app", "LOCALHOST/app"),
        ("localhost", "docker.io/library/localhost", "localhost"),
        ("DOCKER.IO/ubuntu", "DOCKER.IO/ubuntu", "DOCKER.IO/ubuntu"),
        // The familiar form is ambiguous here, like that of the original.
        (
            "docker.io/docker.io/x",
            "docker.io/docker.io/x",
            "docker.io/x",
        ),
        (
            "[fd00123123123]:75050/r",
            "[fd00123123123]:75050/r",
            "[fd00123123123]:75050/r",
        ),
        ("[AB]/r", "[AB]/r", "[AB]/r"),
        ("a.b_c/d", "a.b_c/d", "a.b_c/d"),
        (
            &by_digest,
            &format!("docker.io/library/{by_digest}"),
            &by_digest,
        ),
        (
            &tagged_id,
            &format!("docker.io/library/{tagged_id}"),
            &tagged_id,
        ),
        (&label, &label, &label),
    ] {
        let image: ImageReference = input.parse().unwrap_or_else(|e| panic!("{input}: {e}"));
        assert_eq!(image.as_str(), normalised, "{input}");
        assert_eq!(image.familiar(), familiar, "{input}");
    }
    for input in [
        id,
        &id.to_uppercase(),
        "docker.io/",
        "[ab]/r",
        "a.b_c:80/d",
        "A_b/c",
        "example.com:80:80/app",
        "user:pw@example.com/app",
        "x/y:v1.0+build",
        "example.com//app",
    ] {
        assert!(input.parse::<ImageReference>().is_err(), "{input}");
    }
}

#[test]
fn the_normalised_form_of_every_vector_is_its_own() {
    let inputs = VECTORS.lines().filter_map(|line| {
        let vector: Value = serde_json::from_str(line).unwrap();
        vector["input"]
            .as_str()
            .unwrap()
            .parse::<ImageReference>()
            .ok()
    });
    for image in inputs {
        assert_eq!(image.as_str().parse::<ImageReference>().unwrap(), image);
    }
}

#[test]
fn errors_name_the_rule_the_byte_and_the_way_out() {
    let id = "a".repeat(64);
    let long = "a".repeat(248);
    for (input, position, message) in [
        (
            "",
            0,
            "\"\": it is empty: write a name such as registry.example.com/acme/app:1.0",
        ),
        (
            "acme/App",
            5,
            "\"acme/App\": repository name must be lowercase, found 'A' at byte 5: try \"acme/app\"",
        ),
        (
            "ghcr.io/Acme/App:Tag",
            8,
            "\"ghcr.io/Acme/App:Tag\": repository name must be lowercase, found 'A' at byte 8: \
             try \"ghcr.io/acme/app:Tag\"",
        ),
        (
            "nginx@1.26",
            6,
            "\"nginx@1.26\": the part after '@' is no digest: no algorithm: a digest looks like \
             sha256:…, for a tag write \"nginx:1.26\"",
        ),
        (
            "nginx@sha256:ABC",
            13,
            "\"nginx@sha256:ABC\": the part after '@' is no digest: byte 13 is not one of 0-9 and \
             a-f: digests are in lower case",
        ),
        (
            "nginx@sha256:abc",
            6,
            "\"nginx@sha256:abc\": the part after '@' is no digest: sha256 has 64 hexadecimal \
             digits, found 3",
        ),
        (
            "${REGISTRY}/app",
            0,
            "\"${REGISTRY}/app\": a variable was not replaced by its value, found '$' at byte 0: \
             replace it before this string is used",
        ),
        (
            "acme/app:{{ tag }}",
            9,
            "\"acme/app:{{ tag }}\": a variable was not replaced by its value, found '{' at byte \
             9: replace it before this string is used",
        ),
        (
            "https://ghcr.io/acme/app",
            0,
            "\"https://ghcr.io/acme/app\": it begins with a scheme: write it without the scheme, \
             \"ghcr.io/acme/app\"",
        ),
        (
            "nginx:1.26\n",
            10,
            "\"nginx:1.26\\n\": blanks are not allowed, found '\\n' at byte 10: write the \
             reference alone, \
             \"nginx:1.26\"",
        ),
        (
            "acme/app:",
            9,
            "\"acme/app:\": tag is empty, found the end at byte 9: write a tag after ':', or leave \
             ':' out, \"acme/app\"",
        ),
        (
            "acme/app:.1",
            9,
            "\"acme/app:.1\": tag must start with a letter, a digit or '_', found '.' at byte 9",
        ),
        (
            "acme/app:1+2",
            10,
            "\"acme/app:1+2\": tag may contain only letters, digits, '_', '.' and '-', found '+' at \
             byte 10",
        ),
        (
            "acme//app",
            5,
            "\"acme//app\": repository name has an empty part, found '/' at byte 5: write \
             single slashes between names, \"acme/app\"",
        ),
        (
            "/acme/app/",
            0,
            "\"/acme/app/\": repository name has an empty part, found '/' at byte 0: write \
             single slashes between names, \"acme/app\"",
        ),
        (
            "//",
            0,
            "\"//\": repository name has an empty part, found '/' at byte 0: write single slashes \
             between names",
        ),
        (
            "docker pull acme/app",
            6,
            "\"docker pull acme/app\": blanks are not allowed, found ' ' at byte 6: write the \
             reference alone, \"acme/app\"",
        ),
        (
            "acme app",
            4,
            "\"acme app\": blanks are not allowed, found ' ' at byte 4: write the reference alone",
        ),
        (
            "https://ghcr.io/acme/app/",
            0,
            "\"https://ghcr.io/acme/app/\": it begins with a scheme: write it without the scheme, \
             \"ghcr.io/acme/app\"",
        ),
        (
            "acme/a___b",
            8,
            "\"acme/a___b\": repository name needs a letter or digit on both sides of '.', '_', \
             '__' or hyphens, found '_' at byte 8",
        ),
        (
            "acme/app-",
            9,
            "\"acme/app-\": repository name needs a letter or digit on both sides of '.', '_', \
             '__' or hyphens, found the end at byte 9",
        ),
        (
            "<none>:<none>",
            0,
            "\"<none>:<none>\": repository name may contain only a-z, 0-9 and the separators '.', \
             '_', '-' and '/', found '<' at byte 0",
        ),
        (
            "exa_mple.com:8080/app",
            3,
            "\"exa_mple.com:8080/app\": host must not contain an underscore, found '_' at byte 3",
        ),
        (
            "example.com:http/app",
            12,
            "\"example.com:http/app\": port must be a number, found 'h' at byte 12",
        ),
        (
            "a-.example.com/app",
            1,
            "\"a-.example.com/app\": host must be dotted labels of letters, digits and inner \
             hyphens, found '-' at byte 1",
        ),
        (
            "a.example-/app",
            9,
            "\"a.example-/app\": host must be dotted labels of letters, digits and inner hyphens, \
             found '-' at byte 9",
        ),
        (
            "acme/.app",
            5,
            "\"acme/.app\": repository name needs a letter or digit on both sides of '.', '_', \
             '__' or hyphens, found '.' at byte 5",
        ),
        (
            "app:@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            4,
            "\"app:@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495…\": tag is empty, \
             found '@' at byte 4: write a tag after ':', or leave ':' out, \
             \"app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca4959…\"",
        ),
        (
            "-example.com/app",
            0,
            "\"-example.com/app\": host must be dotted labels of letters, digits and inner \
             hyphens, found '-' at byte 0",
        ),
        (
            "[::1/app",
            4,
            "\"[::1/app\": an IPv6 host must be hexadecimal digits and colons in brackets, found \
             '/' at byte 4",
        ),
        (
            "☃.com/app",
            0,
            "\"☃.com/app\": only ASCII is allowed, found '☃' at byte 0: write a host's xn-- \
             form, and tags and names in ASCII",
        ),
        (
            &id,
            0,
            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\": 64 \
             hexadecimal digits alone are an image's id, not a reference: write the image's \
             name, or name@sha256:… for a digest",
        ),
        (
            &long,
            247,
            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\": repository \
             name is longer than 255 bytes, found 'a' at byte 247",
        ),
    ] {
        let error = input.parse::<ImageReference>().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("invalid image reference {message}")
        );
        assert_eq!(error.position(), position, "{input}");
    }
}

#[test]
fn errors_without_the_input_say_what_to_do_as_well() {
    for (input, position, message) in [
        (
            "nginx@md5:d41d8cd98f00b204e9800998ecf8427e",
            6,
            "the part after '@' is no digest: unsupported algorithm: use sha256, sha384 or sha512",
        ),
        (
            "https://hunter2@ghcr.io",
            15,
            "it carries a user name or password before '@': remove it, register the registry with \
             it instead, and change the password",
        ),
        (
            "https://alice:hunter2@ghcr.io/acme/app",
            21,
            "it carries a user name or password before '@': remove it, register the registry with \
             it instead, and change the password",
        ),
    ] {
        let error = input.parse::<ImageReference>().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("invalid image reference: {message}")
        );
        assert_eq!(error.position(), position, "{input}");
    }
}

#[test]
fn a_path_that_is_too_long_is_so_at_its_first_byte_too_many() {
    for (domain, limit) in [
        ("", 247),
        ("docker.io/", 247),
        ("index.docker.io/", 247),
        ("docker.io/a/", 253),
        ("ghcr.io/", 255),
    ] {
        let input = |len: usize| format!("{domain}{}:1", "a".repeat(len));
        assert!(input(limit).parse::<ImageReference>().is_ok(), "{domain}");
        let error = input(limit + 1).parse::<ImageReference>().unwrap_err();
        assert_eq!(error.position(), domain.len() + limit, "{domain}");
        let text = error.to_string();
        assert!(text.contains("longer than 255 bytes"), "{text}");
    }
}

#[test]
fn a_correction_can_be_had_alone() {
    for (input, suggestion) in [
        ("nginx:", Some("nginx")),
        ("ghcr.io//acme/App", None),
        ("ghcr.io/acme/App", Some("ghcr.io/acme/app")),
        ("GHCR.IO/acme/App", Some("GHCR.IO/acme/app")),
        ("Acme/App", Some("acme/app")),
        ("localhost/App:V1", Some("localhost/app:V1")),
    ] {
        let error = input.parse::<ImageReference>().unwrap_err();
        assert_eq!(error.suggestion(), suggestion, "{input}");
    }
}

#[test]
fn parts_alone_obey_the_same_rules() {
    for (input, message) in [
        ("", "invalid tag \"\": it is empty: write a tag such as 1.0"),
        (
            "a@b",
            "invalid tag \"a@b\": tag may contain only letters, digits, '_', '.' and '-', found '@' at \
             byte 1",
        ),
    ] {
        assert_eq!(input.parse::<Tag>().unwrap_err().to_string(), message);
    }
    for (input, message) in [
        (
            "",
            "invalid repository \"\": it is empty: write a name such as acme/app",
        ),
        (
            "acme/App",
            "invalid repository \"acme/App\": repository name must be lowercase, found 'A' at byte \
             5: try \"acme/app\"",
        ),
        (
            "acme/app:1",
            "invalid repository \"acme/app:1\": repository name may contain only a-z, 0-9 and the \
             separators '.', '_', '-' and '/', found ':' at byte 8",
        ),
    ] {
        assert_eq!(
            input.parse::<Repository>().unwrap_err().to_string(),
            message
        );
    }
    assert!("a".repeat(128).parse::<Tag>().is_ok());
    assert_eq!(
        "a".repeat(129).parse::<Tag>().unwrap_err().to_string(),
        format!(
            "invalid tag \"{}…\": tag is longer than 128 bytes, found 'a' at byte 128",
            "a".repeat(64)
        ),
    );
    assert!("a".repeat(255).parse::<Repository>().is_ok());
    assert!("a".repeat(256).parse::<Repository>().is_err());
}

#[test]
fn a_login_in_a_reference_is_never_repeated() {
    for input in [
        "alice:hunter2@registry.example.com/acme/app",
        "https://alice:hunter2@registry.example.com/acme/app",
        "https://hunter2@registry.example.com",
        "alice:hunter2@registry.example.com",
        "alice:hunter2@registry.example.com:5000",
        "alice:hunter2@localhost",
        "alice:hunter2@sha256:abc/x",
        "hunter2@registry.example.com",
        "hunter2@registry:5000",
        "hunter2@10.0.0.1",
        "HUNTER2-hunter2@localhost",
        "hunter2 @registry.example.com",
    ] {
        let error = input.parse::<ImageReference>().unwrap_err();
        let shown = format!("{error} {error:?} {:?}", error.suggestion());
        assert!(!shown.to_lowercase().contains("hunter2"), "{shown}");
    }
}

#[test]
fn parts_are_replaced_and_the_rest_stays() {
    let image: ImageReference = "nginx".parse().unwrap();
    let digest = Digest::sha256_of(b"manifest");

    let tagged = image.with_tag("1.26".parse().unwrap());
    assert_eq!(tagged.as_str(), "docker.io/library/nginx:1.26");
    let pinned = tagged.with_digest(digest);
    assert_eq!(
        pinned.as_str(),
        format!("docker.io/library/nginx:1.26@{digest}")
    );
    assert_eq!(pinned.familiar(), format!("nginx:1.26@{digest}"));
    assert_eq!(pinned.name(), "docker.io/library/nginx");

    for built in [
        tagged,
        pinned.with_tag("2".parse().unwrap()),
        image.with_digest(digest),
    ] {
        assert_eq!(built.as_str().parse::<ImageReference>().unwrap(), built);
    }
}

#[test]
fn serde_goes_through_the_parser() {
    let image: ImageReference = serde_json::from_str("\"nginx\"").unwrap();
    assert_eq!(
        serde_json::to_string(&image).unwrap(),
        "\"docker.io/library/nginx\""
    );
    assert!(serde_json::from_str::<ImageReference>("\"Nginx\"").is_err());
    assert!(serde_json::from_str::<ImageReference>("1").is_err());
}

/// Returns strings that resemble references, so that many are valid.
fn reference_like() -> impl Strategy<Value = String> {
    let host = "([a-zA-Z0-9]{1,4}[._-]{0,2}){1,3}(:[0-9]{0,5})?|localhost|docker\\.io|index\\.docker\\.io\
                |\\[[0-9a-fA-F:]{0,6}\\]";
    let path = "[a-z0-9]{1,3}([._-]{0,3}[a-zA-Z0-9]{0,3}){0,2}(/[a-z0-9]{0,3}){0,3}";
    let tag = "(:[a-zA-Z0-9._-]{0,4})?";
    let digest = prop_oneof![
        3 => Just(String::new()),
        1 => "@sha256:[0-9a-f]{64}",
        1 => "@[a-z0-9]{0,6}:?[0-9a-f]{0,4}",
    ];
    (proptest::option::of(host), path, tag, digest).prop_map(|(host, path, tag, digest)| {
        let host = host.map(|host| host + "/").unwrap_or_default();
        format!("{host}{path}{tag}{digest}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_string_is_parsed_or_refused(input in ".{0,100}") {
        check(&input)?;
    }

    #[test]
    fn what_looks_like_a_reference_is_parsed_or_refused(input in reference_like()) {
        check(&input)?;
    }
}

/// Checks that the display form is canonical and the concatenation of its parts, and that a
/// position is inside the input.
fn check(input: &str) -> Result<(), TestCaseError> {
    let image = match input.parse::<ImageReference>() {
        Ok(image) => image,
        Err(error) => {
            prop_assert!(error.position() <= input.len());
            prop_assert!(error.to_string().starts_with("invalid image reference"));
            if let Some(suggestion) = error.suggestion() {
                prop_assert!(suggestion.parse::<ImageReference>().is_ok());
            }
            return Ok(());
        }
    };
    let again = image.to_string().parse::<ImageReference>();
    prop_assert_eq!(again.as_ref(), Ok(&image));
    let mut text = image.domain().to_owned();
    if !text.is_empty() {
        text.push('/');
    }
    text.push_str(image.repository().as_str());
    prop_assert_eq!(image.name(), &text);
    if let Some(tag) = image.tag() {
        prop_assert!(tag.as_str().parse::<Tag>().is_ok());
        text.extend([":", tag.as_str()]);
    }
    if let Some(digest) = image.digest() {
        text.extend(["@", digest.as_str()]);
    }
    prop_assert_eq!(image.as_str(), text);
    prop_assert!(image.repository().as_str().parse::<Repository>().is_ok());
    Ok(())
}

#[test]
fn what_is_doubtful_is_found_and_said() {
    let hex = "be178c0543eb17f5f3043021c9e5fcf30285e557a4fc309cce97ff9ca6182912";
    let digest_alone = format!("sha256:{hex}");
    let other_algorithm = format!("sha512:{hex}");
    let both = format!("ghcr.io/acme/app:1@sha256:{hex}");
    let pinned = format!("ghcr.io/acme/app@sha256:{hex}");
    let long_label = format!("{}.example.com/app:1", "a".repeat(64));
    let long = format!("ghcr.io/{}:1", "a".repeat(248));
    let fits = format!("ghcr.io/{}:1", "a".repeat(247));
    for (input, expected) in [
        ("ghcr.io/acme/app:1", &[][..]),
        ("nginx:1.26", &[]),
        ("registry:5000/app:1", &[]),
        (&pinned, &[]),
        (&fits, &[]),
        (&other_algorithm, &[]),
        (
            "nginx",
            &[
                "info: without a tag and a digest, nodes pull the tag latest, whatever it is at that time: \
               write a tag that does not move, or a digest (latest-implied)",
            ],
        ),
        (
            &both,
            &[
                "info: the digest decides, and the tag \"1\" is ignored: leave the tag out, or keep it \
               as a note for people (tag-beside-digest)",
            ],
        ),
        (
            "exa_mple.com/app:1",
            &[
                "warning: \"exa_mple.com\" contains an underscore, so it is read as a part of the \
               repository: use another DNS name for the registry (host-with-underscore)",
            ],
        ),
        (
            "hub.docker.com/r/library/nginx:1",
            &[
                "warning: hub.docker.com is Docker Hub's web site, which serves no images: write the \
               name alone, as in nginx or acme/app (docker-hub-web-site)",
            ],
        ),
        (
            "Acme/app:1",
            &[
                "warning: \"Acme\" has upper case, so it is read as a host: for a namespace of Docker \
               Hub write \"acme/app:1\" (namespace-as-host)",
            ],
        ),
        (
            "example.com:0/app:1",
            &[
                "warning: invalid registry host \"example.com:0\": the port must be a number from 1 to \
               65535: write the host as the registry's operator gives it (host-impossible)",
            ],
        ),
        (
            "999.1.1.1/app:1",
            &[
                "warning: invalid registry host \"999.1.1.1\": it ends in a number and is no IPv4 \
               address: write four numbers from 0 to 255, without leading zeros: write the host as \
               the registry's operator gives it (host-impossible)",
            ],
        ),
        (
            "[:::]:5000/app:1",
            &[
                "warning: invalid registry host \"[:::]:5000\": the brackets do not contain an IPv6 \
               address: write [2001:db8::1]:5000: write the host as the registry's operator gives \
               it (host-impossible)",
            ],
        ),
        (
            &long_label,
            &[
                "warning: invalid registry host \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\": \
               each part of a host is at most 63 characters long: write the host as the registry's \
               operator gives it (host-impossible)",
            ],
        ),
        (
            "GHCR.io:443/acme/app:1",
            &[
                "warning: nodes compare hosts byte by byte, and \"GHCR.io:443\" is \"ghcr.io\" in \
               another spelling: write \"ghcr.io/acme/app:1\" (host-not-canonical)",
            ],
        ),
        (
            "example.com:05000/app:1",
            &[
                "warning: nodes compare hosts byte by byte, and \"example.com:05000\" is \
               \"example.com:5000\" in another spelling: write \"example.com:5000/app:1\" \
               (host-not-canonical)",
            ],
        ),
        (
            "DOCKER.IO/ubuntu:1",
            &[
                "warning: \"DOCKER.IO\" is Docker Hub, but nodes look for no credential of Docker Hub \
               under that name: write \"docker.io/library/ubuntu:1\" (docker-hub-alias)",
            ],
        ),
        (
            "docker.io:443/acme/app:1",
            &[
                "warning: \"docker.io:443\" is Docker Hub, but nodes look for no credential of Docker \
               Hub under that name: write \"docker.io/acme/app:1\" (docker-hub-alias)",
            ],
        ),
        (
            "localhost:5000/app:1",
            &[
                "warning: \"localhost:5000\" is another machine on each node: write the name by which \
               nodes reach the registry (loopback-host)",
            ],
        ),
        (
            "LOCALHOST/app:1",
            &[
                "warning: nodes compare hosts byte by byte, and \"LOCALHOST\" is \"localhost\" in \
                 another spelling: write \"localhost/app:1\" (host-not-canonical)",
                "warning: \"localhost\" is another machine on each node: write the name by which nodes \
                 reach the registry (loopback-host)",
            ],
        ),
        ("[2001:db8::1]:5000/app:1", &[]),
        (
            "[2001:db8::1]/app:1",
            &[
                "warning: kubelets find no credential for an IPv6 address without a port: use a DNS \
               name, or a port other than 443 (ipv6-without-port)",
            ],
        ),
        (
            &digest_alone,
            &[
                "warning: a digest alone is read as the tag of an image named sha256: write the image's \
               name before it, as in acme/app@sha256:… (digest-as-tag)",
            ],
        ),
        (
            "example.com:5000",
            &[
                "warning: \"example.com:5000\" looks like a host, and is read as an image of Docker Hub: \
               write a repository after it, as in \"example.com:5000/acme/app\" (host-as-name)",
            ],
        ),
        (
            "localhost:5000",
            &[
                "warning: \"localhost:5000\" looks like a host, and is read as an image of Docker Hub: \
               write a repository after it, as in \"localhost:5000/acme/app\" (host-as-name)",
            ],
        ),
        (
            &long,
            &[
                "warning: host and repository together have 256 bytes, and some clients stop at 255: \
               use a shorter repository name (name-too-long)",
            ],
        ),
    ] {
        let image: ImageReference = input.parse().unwrap();
        let found: Vec<_> = image.lints().iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{input}");
    }
}
