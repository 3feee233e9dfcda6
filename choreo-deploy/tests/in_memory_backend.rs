//! Guards that the backend in memory passes the conformance suite of backends.

use std::sync::Arc;

use choreo_deploy::InMemoryBackend;
use choreo_deploy::conformance::{BackendFixture, example_image};
use choreo_deploy::reason::{Reason, ReasonCode};

choreo_deploy::backend_conformance!(async {
    let backend = Arc::new(InMemoryBackend::new());
    let reason = Reason::new(ReasonCode::ImageNotFound, "the image does not exist");
    backend.fail_image(example_image(7), reason);
    let plane = Arc::clone(&backend);
    BackendFixture::new(backend)
        .with_missing_image(example_image(7))
        .with_loss(move |target| {
            plane.lose(&target);
            std::future::ready(())
        })
});
