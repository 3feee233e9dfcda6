//! The marker by which tests find generated secrets.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A marker that every generated secret contains, in plain text or, in a key file that is given in
/// base64, encoded: search with [`exposes_secret`] where no secret may be.
///
/// It contains no character that JSON, YAML or a URL would escape.
///
/// ```
/// use choreo_registry::strategies::{CANARY, exposes_secret, password};
/// use proptest::prelude::*;
///
/// assert!(exposes_secret(CANARY));
/// proptest!(ProptestConfig::with_cases(256), |(password in password())| {
///     prop_assert!(exposes_secret(password.expose()));
/// });
/// ```
pub const CANARY: &str = "c4n4ry-s3cr3t-";

/// Returns `true` if a text contains [`CANARY`], any 8 consecutive characters of it, or its base64,
/// at any offset within the encoded text, also if it was encoded twice, as in a Secret's `data`.
///
/// ```
/// use choreo_registry::strategies::{CANARY, exposes_secret};
/// use choreo_registry::{Credential, PullSecret};
///
/// let credential = Credential::new("alice", CANARY)?;
/// assert!(exposes_secret(credential.expose_password()));
/// assert!(exposes_secret(&credential.expose_basic()));
/// assert!(!exposes_secret(&format!("{credential:?}")));
///
/// let secret = PullSecret::new(&"ghcr.io".parse()?, &credential);
/// assert!(exposes_secret(&secret.expose_docker_config_json()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn exposes_secret(text: &str) -> bool {
    TRACES.iter().any(|trace| text.contains(trace))
}

static TRACES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let once: Vec<String> = encodings(CANARY).collect();
    let twice: Vec<String> = once.iter().flat_map(|text| encodings(text)).collect();
    let slices = (0..=CANARY.len() - SLICE).map(|at| CANARY[at..at + SLICE].to_owned());
    slices.chain(once).chain(twice).collect()
});

/// Returns the constant part of the base64 of a text, for each of the three offsets at which it can
/// begin in a group of three bytes.
fn encodings(text: &str) -> impl Iterator<Item = String> {
    (0..3).map(move |before| {
        let bytes = [&b"\0\0"[..before], text.as_bytes()].concat();
        let begin = (before * 8_usize).div_ceil(6);
        let end = bytes.len() * 8 / 6;
        STANDARD.encode(bytes)[begin..end].to_owned()
    })
}

const SLICE: usize = 8;
