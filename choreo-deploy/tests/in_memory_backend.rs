//! The backend in memory keeps every promise of a backend.

use choreo_deploy::InMemoryBackend;
use choreo_deploy::conformance::{BackendFixture, example_image};
use choreo_deploy::reason::{Reason, ReasonCode};

choreo_deploy::backend_conformance!(async {
    let backend = InMemoryBackend::new();
    let reason = Reason::new(ReasonCode::ImageNotFound, "the image does not exist");
    backend.fail_image(example_image(7), reason);
    BackendFixture::new(backend).with_missing_image(example_image(7))
});
