//! Registry hosts: a valid one is its own canonical text and the beginning of an image. An error can be shown, and
//! contains no part that may be a password.

#![no_main]

use choreo_registry::{ImageReference, RegistryHost};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| match input.parse::<RegistryHost>() {
    Ok(host) => {
        assert!(!input.contains('@'));
        assert_eq!(host.as_str().parse().as_ref(), Ok(&host));
        assert_eq!(host.auths_key().parse().as_ref(), Ok(&host));
        assert_eq!(host.api_host().parse().as_ref(), Ok(&host));
        assert!(host.as_str().starts_with(host.name()));
        assert_ne!(host.port(), Some(0));
        let _ = host.is_loopback();

        let image: ImageReference = format!("{}/acme/app", host.image_domain())
            .parse()
            .expect("a host stands in front of an image");
        assert_eq!(image.domain(), host.image_domain());
        assert!(host.serves(&image));
        assert_eq!(host.canonical_image(&image), Some(image));
    }
    Err(error) => {
        assert!(error.to_string().starts_with("invalid registry host"));
        assert_eq!(error.carries_credential(), input.contains('@'));
        if error.carries_credential() {
            // The message is the same for every input.
            assert_eq!("a@b".parse::<RegistryHost>(), Err(error));
        }
    }
});
