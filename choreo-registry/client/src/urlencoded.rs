//! Forms that contain secrets.

use bytes::Bytes;
use zeroize::Zeroizing;

/// Returns an `application/x-www-form-urlencoded` body, which is overwritten when its last copy is dropped
/// (<https://url.spec.whatwg.org/#urlencoded-serializing>).
pub(super) fn form(fields: &[(&str, &str)]) -> Bytes {
    // A byte takes at most three. A buffer that grows would leave copies behind.
    let len = |(name, value): &(&str, &str)| 3 * (name.len() + value.len()) + "&=".len();
    let capacity = fields.iter().map(len).sum();
    let mut form = Zeroizing::new(Vec::with_capacity(capacity));
    for (name, value) in fields {
        if !form.is_empty() {
            form.push(b'&');
        }
        push(&mut form, name);
        form.push(b'=');
        push(&mut form, value);
    }
    debug_assert!(form.len() <= capacity);
    Bytes::from_owner(Form(form))
}

fn push(form: &mut Vec<u8>, text: &str) {
    for part in url::form_urlencoded::byte_serialize(text.as_bytes()) {
        form.extend(part.bytes());
    }
}

struct Form(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Form {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_and_the_buffer_never_grows() {
        assert_eq!(form(&[]), "");
        assert_eq!(
            form(&[("a b", "&=+/é"), ("c", "")]),
            "a+b=%26%3D%2B%2F%C3%A9&c="
        );
        let long = "é".repeat(100_000);
        assert_eq!(form(&[("x", &long)]).len(), "x=".len() + 600_000);
    }
}
