//! Image references: what is accepted displays as what parses to the same value; an error can be shown.

#![no_main]

use choreo_registry::ImageReference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| match input.parse::<ImageReference>() {
    Ok(image) => {
        let again = image.to_string().parse::<ImageReference>();
        // An oddity of the grammar has no domain, and may gain one when it is read again.
        assert!(image.domain().is_empty() || again.as_ref() == Ok(&image));
    }
    Err(error) => {
        assert!(error.position() <= input.len());
        assert!(!error.to_string().is_empty());
    }
});
