//! Image references: a valid one displays as text that parses to the same value, both owned and borrowed. An
//! error can be shown, its position is inside the input, and its suggestion is valid.

#![no_main]

use choreo_registry::ImageReference;
use choreo_registry::reference::{ImageReferenceRef, TagRef};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| match ImageReferenceRef::parse(input) {
    Ok(borrowed) => {
        let image: ImageReference = input.parse().expect("owned is borrowed, copied");
        assert_eq!(borrowed.to_owned(), image);
        assert_eq!(borrowed, image.as_borrowed());
        assert_eq!(borrowed.to_string(), image.as_str());
        assert_eq!(borrowed.is_normalized(), input == image.as_str());
        assert_eq!(borrowed.domain(), image.domain());
        assert_eq!(borrowed.repository(), image.repository().as_str());
        assert_eq!(borrowed.name(), image.name());
        assert_eq!(borrowed.tag(), image.tag());
        assert_eq!(borrowed.digest(), image.digest());
        assert_eq!(borrowed.familiar(), image.familiar());
        assert_eq!(image.as_str().parse().as_ref(), Ok(&image));

        let bare = image.without_tag();
        assert!(bare.tag().is_none());
        let tag = image.tag().map(TagRef::to_owned);
        assert_eq!(tag.map_or(bare.clone(), |tag| bare.with_tag(tag)), image);
        let _ = image.lints();
    }
    Err(error) => {
        assert!(input.parse::<ImageReference>().is_err());
        assert!(error.position() <= input.len());
        assert!(error.to_string().starts_with("invalid image reference"));
        if let Some(suggestion) = error.suggestion() {
            assert!(ImageReferenceRef::parse(suggestion).is_ok());
        }
    }
});
