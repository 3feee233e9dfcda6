//! The whole client against a registry that makes each response from the input. No secret is sent to
//! an origin that may not receive it, the call ends at its deadline, and the number of requests is
//! bounded.

#![no_main]

#[expect(dead_code, reason = "the test makes its scripts from seeds")]
#[path = "../../choreo-registry/client/tests/it/hostile/script.rs"]
mod script;
#[expect(dead_code, reason = "the test counts more, and plays a control")]
#[path = "../../choreo-registry/client/tests/it/hostile/stage.rs"]
mod stage;

use std::{sync::Arc, time::Duration};

use choreo_registry_client::{RegistryClient, transport::HttpTransport};
use choreo_registry::{Digest, ImageReference};
use libfuzzer_sys::fuzz_target;

use crate::{
    script::Choices,
    stage::{Stage, credential, exposes},
};

fuzz_target!(|input: &[u8]| {
    // The input itself contains a secret by chance.
    if exposes(&String::from_utf8_lossy(input)) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a clock needs nothing of the system");
    runtime.block_on(play(input));
});

async fn play(input: &[u8]) {
    let stage = Arc::new(Stage::new(Choices::of(input)));
    let transport: Arc<dyn HttpTransport> = Arc::<Stage>::clone(&stage);
    let registry = stage.home.registry.parse().expect("a host");
    let client = RegistryClient::new(registry, Some(credential()), transport);
    let name = format!("{}/team/app:1", stage.home.domain);
    let image: ImageReference = name.parse().expect("an image");
    let started = tokio::time::Instant::now();
    let shown = match stage.choose(5) {
        0 => format!("{:?}", client.verify(Some(&image)).await),
        1 => format!("{:?}", client.resolve(&image).await),
        2 => format!("{:?}", client.inspect(&image).await),
        3 => format!(
            "{:?}",
            client.tags(&image).await.map(|list| list.is_complete())
        ),
        _ => {
            let digest = Digest::sha256_of(b"deployed");
            format!("{:?}", client.compare(&image, &digest).await)
        }
    };
    assert!(started.elapsed() <= Duration::from_millis(30_002));
    // A hundred pages, and the requests for logins, redirects and retries.
    assert!(stage.requests() < 5_000);
    assert!(stage.faults().is_empty(), "{:?}", stage.faults());
    assert!(!exposes(&shown), "{shown}");
}
