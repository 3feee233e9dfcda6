//! Keys as users write them, and an image: the index finds the same keys as a linear scan, in the same
//! order, and each result can be explained.
//!
//! The first line is the image, each further line a key.

#![no_main]

use std::cmp::Reverse;

use choreo_registry::ImageReference;
use choreo_registry::keyring::{Keyring, Tool};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|input: &str| -> Corpus {
    let mut lines = input.split('\n');
    let Some(Ok(image)) = lines.next().map(str::parse::<ImageReference>) else {
        return Corpus::Reject;
    };
    let keys: Vec<&str> = lines.take(6).collect();
    let keyring = Keyring::from_keys(keys.iter().copied());
    let found: Vec<&str> = keyring.lookup(&image).map(|entry| entry.key()).collect();
    if let Some(plain) = plain_scan(&keys, image.name()) {
        assert_eq!(found, plain);
    }
    // Explanations are the other linear scan, and are slower than everything else here.
    if input.len().is_multiple_of(4) {
        let explanation = keyring.explain(&image);
        let scanned: Vec<&str> = explanation.tool(Tool::Kubelet).keys().collect();
        assert_eq!(found, scanned);
        for tool in explanation.tools() {
            assert_eq!(tool.matches(), tool.reason().is_match());
            assert!(tool.keys().all(|key| keys.contains(&key)));
        }
    }
    Corpus::Keep
});

/// Implements the kubelet's rules independently for keys that consist only of a host with stars, a port
/// and a path. Returns `None` for keys with escapes, users, queries or brackets.
fn plain_scan<'a>(keys: &[&'a str], name: &str) -> Option<Vec<&'a str>> {
    let (domain, path) = name.split_once('/')?;
    let path = format!("/{path}");
    let mut matched = Vec::new();
    let mut fallback = Vec::new();
    for &key in keys {
        let bare = key
            .strip_prefix("https://")
            .or(key.strip_prefix("http://"))
            .unwrap_or(key);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_*/:".contains(&byte);
        let (host, rest) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
        if !bare.bytes().all(is_plain) || host.matches(':').count() > 1 || domain.contains('[') {
            return None;
        }
        let (labels, port) = host.split_once(':').unwrap_or((host, ""));
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let rest = rest
            .strip_prefix("/v1")
            .filter(|rest| rest.starts_with('/'))
            .or(rest
                .strip_prefix("/v2")
                .filter(|rest| rest.starts_with('/')))
            .unwrap_or(rest);
        let rest = if rest == "/" { "" } else { rest };
        let normal = format!("{host}{rest}");
        if normal == "index.docker.io" {
            fallback.push(key);
        }
        let (name, wanted) = domain.split_once(':').unwrap_or((domain, ""));
        if port == wanted
            && path.starts_with(rest)
            && labels.split('.').count() == name.split('.').count()
            && labels
                .split('.')
                .zip(name.split('.'))
                .all(|(glob, label)| fits(glob.as_bytes(), label.as_bytes()))
        {
            matched.push((Reverse(normal), key));
        }
    }
    matched.sort_by(|left, right| left.0.cmp(&right.0));
    let is_hub = domain == "docker.io" || !domain.contains(['.', ':']);
    if matched.is_empty() && is_hub {
        return Some(fallback);
    }
    Some(matched.into_iter().map(|(_, key)| key).collect())
}

/// Matches stars with the simplest algorithm: the set of prefixes of the label that the glob
/// matches so far.
fn fits(glob: &[u8], label: &[u8]) -> bool {
    let mut fits: Vec<bool> = (0..=label.len()).map(|end| end == 0).collect();
    for byte in glob {
        if *byte == b'*' {
            for end in 1..fits.len() {
                fits[end] |= fits[end - 1];
            }
        } else {
            for end in (1..fits.len()).rev() {
                fits[end] = fits[end - 1] && label[end - 1] == *byte;
            }
            fits[0] = false;
        }
    }
    fits[label.len()]
}
