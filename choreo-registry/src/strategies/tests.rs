use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;
use crate::docker_config::DockerConfig;
use crate::vendor_table::{Vendor, VendorTable};
use crate::{ContainerRegistry, Credential, ImageReference, RegistryHost};

proptest! {
    #[test]
    fn a_spelling_means_its_host((text, host) in registry_host_spelling()) {
        prop_assert_eq!(text.parse::<RegistryHost>(), Ok(host));
    }

    #[test]
    fn a_spelling_means_its_image((text, image) in image_reference_spelling()) {
        prop_assert_eq!(text.parse::<ImageReference>(), Ok(image));
    }

    #[test]
    fn what_is_broken_is_refused(text in broken_image_reference()) {
        let error = text.parse::<ImageReference>();
        prop_assert!(error.is_err(), "{text}");
        prop_assert!(!exposes_secret(&format!("{error:?}")), "{error:?}");
    }

    #[test]
    fn a_broken_docker_config_gets_its_error((text, error) in broken_docker_config()) {
        prop_assert_eq!(text.parse::<DockerConfig>().unwrap_err(), error);
    }

    #[test]
    fn a_registry_can_be_registered(registry: ContainerRegistry) {
        let shown = format!("{registry:?} {:?}", registry.findings());
        prop_assert!(!exposes_secret(&shown), "{}", shown);
    }

    #[test]
    fn a_docker_config_holds_what_was_put_in((text, host, credential) in docker_config_spelling()) {
        let config: DockerConfig = text.parse().unwrap();
        prop_assert_eq!(config.host(), &host);
        prop_assert_eq!(config.credential().expose_password(), credential.expose_password());
    }

    #[test]
    fn a_credential_is_found_by_its_mark(credential: Credential) {
        prop_assert!(exposes_secret(credential.expose_password()));
        prop_assert!(exposes_secret(&credential.expose_basic()));
    }
}

/// Generates many values and collects a property of each.
fn seen<S: Strategy, T: Ord>(strategy: S, ask: impl Fn(S::Value) -> T) -> BTreeSet<T> {
    let mut runner = TestRunner::deterministic();
    let mut next = || strategy.new_tree(&mut runner).unwrap().current();
    (0..2000).map(|_| ask(next())).collect()
}

#[test]
fn every_vendor_that_takes_credentials_has_one() {
    let made = seen(vendor_credential(), |(host, credential)| {
        let table = VendorTable::built_in();
        table.of_credential(&host, &credential).id().to_owned()
    });
    for vendor in VendorTable::built_in().iter() {
        let takes_any = !vendor.credentials().is_empty();
        assert_eq!(made.contains(vendor.id()), takes_any, "{vendor}");
    }
}

#[test]
fn every_vendor_that_a_host_tells_has_one() {
    let made = seen(registry_host(), |host| Vendor::of(&host).id().to_owned());
    for vendor in VendorTable::built_in().iter() {
        let is_told = !vendor.hosts().is_empty() || vendor.id() == "self-hosted";
        assert_eq!(made.contains(vendor.id()), is_told, "{vendor}");
    }
}

#[test]
fn every_code_and_type_is_made() {
    assert_eq!(
        seen(finding_code(), |code| code).len(),
        crate::finding::Code::ALL.len()
    );
    let types = seen(container_registry(), |registry| {
        registry.authentication_type()
    });
    assert_eq!(types.len(), 4);
    // All shapes: no domain, no tag, no digest, and each of their opposites.
    let shapes = seen(image_reference(), |image| {
        (
            image.domain().is_empty(),
            image.tag().is_some(),
            image.digest().is_some(),
        )
    });
    assert_eq!(shapes.len(), 8);
}

#[test]
fn what_shrinks_stays_right_and_ends_simple() {
    let mut runner = TestRunner::deterministic();
    let shrunk = |mut tree: Box<dyn proptest::strategy::ValueTree<Value = ImageReference>>| {
        while tree.simplify() {}
        tree.current().to_string()
    };
    let strategy = image_reference().boxed();
    for _ in 0..50 {
        let text = shrunk(strategy.new_tree(&mut runner).unwrap());
        assert!(text.len() <= "docker.io/library/0".len(), "{text}");
    }
}

#[test]
fn the_mark_is_found_in_base64_wherever_it_begins() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    for before in ["", "a", "ab", "abc"] {
        let once = STANDARD.encode(format!("{before}{CANARY}{before}"));
        let twice = STANDARD.encode(format!("{before}{once}"));
        assert!(exposes_secret(&once), "{once}");
        assert!(exposes_secret(&twice), "{twice}");
    }
    assert!(exposes_secret(&format!("x{}x", &CANARY[3..11])));
    assert!(!exposes_secret(&format!("x{}x", &CANARY[3..10])));
    assert!(!exposes_secret(""));
}
