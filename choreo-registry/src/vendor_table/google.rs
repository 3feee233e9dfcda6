//! Google's service account keys, recognised by their content.
//!
//! <https://cloud.google.com/artifact-registry/docs/docker/authentication#json-key>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::secret_json::{Fields, Text};

/// Returns `true` if `text` is the JSON of a service account key.
pub(super) fn is_key(text: &str) -> bool {
    let Ok(key) = Fields::parse(text) else {
        return false;
    };
    let is = |name, wanted: fn(&str) -> bool| {
        let text = key.get(name).and_then(|value| Text::of(value).ok()?);
        text.is_some_and(|text| wanted(text.as_str()))
    };
    is("type", |text| text == "service_account")
        && is("client_email", |text| !text.is_empty())
        && is("private_key", |text| !text.is_empty())
}

/// Returns `true` if `text` is such JSON in base64, possibly broken into lines.
pub(super) fn is_key_in_base64(text: &str) -> bool {
    // Exact capacities: a growing buffer would leave copies behind.
    let mut clean = Zeroizing::new(String::with_capacity(text.len()));
    clean.extend(text.split_ascii_whitespace());
    let mut key = Zeroizing::new(Vec::with_capacity(text.len()));
    STANDARD.decode_vec(clean.as_bytes(), &mut key).is_ok()
        && std::str::from_utf8(&key).is_ok_and(is_key)
}
