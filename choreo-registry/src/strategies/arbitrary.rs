//! `any::<T>()` for the types themselves.

use proptest::arbitrary::Arbitrary;
use proptest::strategy::{BoxedStrategy, Strategy as _};

/// Implements `Arbitrary` for a type with its strategy function.
macro_rules! arbitrary {
    ($($type:path => $function:ident)*) => {
        $(
            impl Arbitrary for $type {
                type Parameters = ();
                type Strategy = BoxedStrategy<Self>;

                fn arbitrary_with((): ()) -> Self::Strategy {
                    super::$function().boxed()
                }
            }
        )*
    };
}

arbitrary! {
    crate::Authentication => authentication
    crate::ContainerRegistry => container_registry
    crate::Credential => credential
    crate::Digest => digest
    crate::Finding => finding
    crate::ImageReference => image_reference
    crate::RegistryHost => registry_host
    crate::authentication::AuthenticationType => authentication_type
    crate::credential::Password => password
    crate::docker_config::DockerConfig => docker_config
    crate::finding::Code => finding_code
    crate::image::ExposedPort => exposed_port
    crate::image::MediaType => media_type
    crate::image::Platform => platform
    crate::image::ResolvedImage => resolved_image
    crate::pull_secret::SecretMetadata => secret_metadata
    crate::reference::Repository => repository
    crate::reference::Tag => tag
    crate::vendor_table::Vendor => vendor
}
