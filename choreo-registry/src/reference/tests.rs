use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use proptest::prelude::*;

use super::*;

const VECTORS: &str = include_str!("../../tests/vectors/references.jsonl");

fn inputs() -> Vec<String> {
    VECTORS
        .lines()
        .map(|line| {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            vector["input"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Each string that one reader rejects, the other explains, and no other string.
fn readers_agree(input: &str) {
    let bytes = input.as_bytes();
    let walk = scanner::reference(bytes).is_some();
    assert_eq!(walk, diagnose::reference(input).is_ok(), "{input:?}");
    assert_eq!(
        scanner::is_path(bytes),
        diagnose::path(input).is_ok(),
        "path {input:?}"
    );
    assert_eq!(
        scanner::is_tag(bytes),
        diagnose::tag(input).is_ok(),
        "tag {input:?}"
    );
}

#[test]
fn the_walk_accepts_what_breaks_no_rule() {
    for input in inputs() {
        readers_agree(&input);
        // Also changes each single byte.
        for at in 0..input.len().min(40) {
            for byte in b"aZ0._-/:@[]\x7f" {
                let mut changed = input.clone().into_bytes();
                changed[at] = *byte;
                if let Ok(changed) = String::from_utf8(changed) {
                    readers_agree(&changed);
                }
            }
        }
    }
}

/// All strings of up to five of the bytes that the grammar distinguishes.
#[test]
fn the_walk_accepts_what_breaks_no_rule_in_all_short_strings() {
    const BYTES: &[u8] = b"aA0._-/:@[]";
    let mut string = String::new();
    for len in 0..=5 {
        for number in 0..BYTES.len().pow(len) {
            let mut rest = number;
            string.clear();
            for _ in 0..len {
                string.push(char::from(BYTES[rest % BYTES.len()]));
                rest /= BYTES.len();
            }
            readers_agree(&string);
        }
    }
}

#[test]
fn spellings_of_one_image_are_equal_and_hash_alike() {
    let hash = |image: ImageReferenceRef<'_>| {
        let mut hasher = DefaultHasher::new();
        image.hash(&mut hasher);
        hasher.finish()
    };
    let inputs = inputs();
    let images: Vec<_> = inputs
        .iter()
        .filter_map(|input| ImageReferenceRef::parse(input).ok())
        .collect();
    for a in &images {
        for b in &images {
            let are_equal = a.to_string() == b.to_string();
            assert_eq!(a == b, are_equal, "{a} and {b}");
            assert_eq!(hash(*a) == hash(*b), are_equal, "{a} and {b}");
        }
    }
}

#[test]
fn parts_are_strings_in_each_form() {
    let repository: Repository = "acme/app".parse().unwrap();
    assert_eq!(repository.as_str(), "acme/app");
    assert_eq!(
        format!("{repository} {:?}", repository.as_ref()),
        "acme/app \"acme/app\""
    );
    let tag: Tag = "1.0".parse().unwrap();
    assert_eq!(
        format!("{tag} {} {:?}", tag.as_str(), tag.as_ref()),
        "1.0 1.0 \"1.0\""
    );
    let image: ImageReference = "ghcr.io/acme/app:1.0".parse().unwrap();
    let (repository, tag) = (image.repository(), image.tag().unwrap());
    assert_eq!(format!("{repository} {tag}"), "acme/app 1.0");
    assert_eq!(
        format!("[{repository:>9}] [{tag:<4}]"),
        "[ acme/app] [1.0 ]"
    );
    assert_eq!((repository.as_ref(), tag.as_ref()), ("acme/app", "1.0"));
    assert_eq!((repository.as_str(), tag.as_str()), ("acme/app", "1.0"));
}

#[test]
fn another_name_of_docker_hub_is_left_out() {
    let image = ImageReferenceRef::parse("index.docker.io/acme/app:1").unwrap();
    assert_eq!(image.repository().as_str(), Some("acme/app"));
    assert_eq!(image.domain(), "docker.io");
    assert!(!image.is_normalized());
    let written = ImageReferenceRef::parse("docker.io/acme/app:1").unwrap();
    assert_eq!(written.repository().as_str(), Some("acme/app"));
    assert!(written.is_normalized());
}

#[test]
fn a_borrowed_reference_shows_its_normalised_form() {
    let image = ImageReferenceRef::try_from("nginx:1").unwrap();
    assert_eq!(
        format!("{image:?}"),
        "ImageReferenceRef(\"docker.io/library/nginx:1\")"
    );
    assert_eq!(format!("{:?}", image.name()), "\"docker.io/library/nginx\"");
    assert_eq!(
        format!("[{:>24}]", image.name()),
        "[ docker.io/library/nginx]"
    );
    assert_eq!(format!("[{:.9}]", image.name()), "[docker.io]");
    assert_eq!(image.repository().parts(), ("library/", "nginx"));
    assert_eq!(image.repository().as_str(), None);
    assert!(image.name() != "docker.io/library/nginx:1" && image.name() != "nginx");
    assert!(!image.is_normalized());

    let owned = image.to_owned();
    let again = owned.as_borrowed();
    assert!(again.is_normalized());
    assert_eq!(again.repository().as_str(), Some("library/nginx"));
    assert_eq!(again.name().parts(), ("", "docker.io/library/nginx"));
    assert_eq!(
        format!("{owned:?}"),
        "ImageReference(\"docker.io/library/nginx:1\")"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_walk_accepts_what_breaks_no_rule_in_longer_strings(
        input in "[a-cA0._:@\\[\\]/-]{0,12}(/[a-c0._-]{0,250})?(:[a-cA0._-]{0,130})?(@sha256:[0-9a-f]{63,65})?",
    ) {
        readers_agree(&input);
    }
}

#[test]
fn parts_are_put_into_the_whole_and_taken_out_again() {
    let tag = |text: &str| text.parse::<Tag>().unwrap();
    let digest = Digest::sha256_of(b"a manifest");
    let name = "registry.example.com:5000/a/b";
    let plain: ImageReference = name.parse().unwrap();
    let steps = [
        (plain.with_tag(tag("1")), format!("{name}:1")),
        (plain.with_digest(digest), format!("{name}@{digest}")),
        (
            plain.with_tag(tag("22")).with_digest(digest),
            format!("{name}:22@{digest}"),
        ),
        (
            plain.with_digest(digest).with_tag(tag("333")),
            format!("{name}:333@{digest}"),
        ),
        (
            plain.with_tag(tag("1")).with_digest(digest).without_tag(),
            format!("{name}@{digest}"),
        ),
        (plain.with_tag(tag("1")).without_tag(), name.to_owned()),
    ];
    for (made, text) in steps {
        let read: ImageReference = text.parse().unwrap();
        assert_eq!(made, read, "{text}");
        assert_eq!(made.as_str().len(), text.len());
        assert_eq!(
            made.tag().map(TagRef::as_str),
            read.tag().map(TagRef::as_str)
        );
        assert_eq!(made.tag().is_some(), text[name.len()..].starts_with(':'));
        assert_eq!(made.digest().is_some(), text.contains('@'));
        if let Some(found) = made.digest() {
            assert_eq!(found.as_str(), digest.as_str());
            assert_eq!(found.algorithm(), digest.algorithm());
        }
    }
    let hub: ImageReference = "nginx".parse().unwrap();
    assert_eq!(hub.familiar(), "nginx");
    assert!(plain.with_tag(tag("1")).lints().is_empty());
    let alias: ImageReference = "index.docker.io:443/a".parse().unwrap();
    assert!(!alias.lints().is_empty());
}
