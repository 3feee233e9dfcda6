//! Base64 of secrets, encoded and decoded in memory that is overwritten on drop.
//!
//! Everything is encoded in place: encoding into a `String` would go through a buffer on the stack
//! and leave the secret there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::wiped::Wiped;

pub(crate) fn encoded(bytes: &[u8]) -> Zeroizing<String> {
    // An exact capacity: a growing buffer would leave copies behind.
    let mut out = Vec::with_capacity(encoded_len(bytes.len()));
    push_encoded(&mut out, bytes);
    Zeroizing::new(String::from_utf8(out).expect("base64 is ASCII"))
}

/// Appends [`encoded`] bytes; `out` has capacity for [`encoded_len`] more.
pub(crate) fn push_encoded(out: &mut Vec<u8>, bytes: &[u8]) {
    let from = out.len();
    out.resize(from + encoded_len(bytes.len()), 0);
    STANDARD
        .encode_slice(bytes, &mut out[from..])
        .expect("it has four bytes for each three");
}

/// Returns the length in base64 of `len` bytes.
pub(crate) fn encoded_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

/// Decodes base64 with or without padding; returns `None` for anything else.
pub(crate) fn decoded(text: &str) -> Option<Wiped> {
    let engine = if text.ends_with('=') {
        &PADDED
    } else {
        &UNPADDED
    };
    let mut bytes = vec![0; base64::decoded_len_estimate(text.len())];
    let decoded = engine.decode_slice(text, &mut bytes);
    bytes.truncate(*decoded.as_ref().unwrap_or(&0));
    let bytes = Wiped::new(bytes);
    decoded.is_ok().then_some(bytes)
}

const PADDED: GeneralPurpose = lenient(DecodePaddingMode::RequireCanonical);
const UNPADDED: GeneralPurpose = lenient(DecodePaddingMode::RequireNone);

/// Go, the language of the nodes' software, ignores the bits after the last byte.
const fn lenient(padding: DecodePaddingMode) -> GeneralPurpose {
    GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(padding),
    )
}
