//! Facts about images that registries return.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::reference::digest;
use super::text::like;
use crate::image::{ExposedPort, MediaType, Platform, ResolvedImage};

/// The media types of manifests and indexes, with equal probability.
///
/// ```
/// use choreo_registry::strategies::media_type;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(media_type in media_type())| {
///     prop_assert_eq!(media_type.as_str().parse(), Ok(media_type));
/// });
/// ```
pub fn media_type() -> impl Strategy<Value = MediaType> {
    select(&MediaType::ALL)
}

/// Platforms: those that images are built for, and other words in their grammar.
///
/// It does not guarantee that Go knows the words.
///
/// ```
/// use choreo_registry::strategies::platform;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(platform in platform())| {
///     prop_assert!(platform.serves(&platform));
/// });
/// ```
pub fn platform() -> impl Strategy<Value = Platform> {
    let usual = select(&[
        "linux/amd64",
        "linux/arm64",
        "linux/arm64/v8",
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/s390x",
        "windows/amd64",
    ]);
    let other = like("[A-Za-z0-9._-]{1,32}(/[A-Za-z0-9._-]{1,32}){1,2}");
    prop_oneof![4 => usual.prop_map(str::to_owned), 1 => other]
        .prop_map(|text| text.parse().expect("a generated platform is one"))
}

/// Ports from 1 to 65535 of every protocol.
///
/// ```
/// use choreo_registry::strategies::exposed_port;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(port in exposed_port())| {
///     prop_assert_ne!(port.port(), 0);
/// });
/// ```
pub fn exposed_port() -> impl Strategy<Value = ExposedPort> {
    (1..=u16::MAX, select(&["tcp", "udp", "sctp"])).prop_map(|(port, protocol)| {
        let text = format!("{port}/{protocol}");
        text.parse().expect("a generated port is one")
    })
}

/// Resolved images, with all or some of the facts in a manifest and a configuration.
///
/// The facts need not belong together: an OCI manifest may have several platforms.
///
/// ```
/// use choreo_registry::image::ResolvedImage;
/// use choreo_registry::strategies::resolved_image;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(image in resolved_image())| {
///     let stored = serde_json::to_string(&image).unwrap();
///     prop_assert_eq!(serde_json::from_str::<ResolvedImage>(&stored).unwrap(), image);
/// });
/// ```
pub fn resolved_image() -> impl Strategy<Value = ResolvedImage> {
    let user = prop_oneof![
        Just("nonroot".to_owned()),
        like("[0-9]{1,5}(:[0-9]{1,5})?"),
        like("\\PC{1,12}"),
    ];
    (
        (digest(), media_type()),
        vec(platform(), 0..4),
        option::of(user),
        vec(exposed_port(), 0..4),
        option::of(any::<u64>()),
    )
        .prop_map(|((digest, media_type), platforms, user, ports, size)| {
            ResolvedImage::new(digest, media_type)
                .with_platforms(platforms)
                .with_user(user)
                .with_exposed_ports(ports)
                .with_size(size)
        })
}
