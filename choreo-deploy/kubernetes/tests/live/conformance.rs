//! Runs the conformance suite of the backends.

use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::conformance::{BackendClause, BackendFixture, block_on};
use choreo_test_registry::TestRegistry;

use crate::cluster::{self, Backend, push, quick, service};

async fn fixture() -> Option<BackendFixture> {
    let config = cluster::config().await?;
    let registry = TestRegistry::builder()
        .start()
        .await
        .expect("a registry starts");
    let images = [push(&registry, "1", "10001"), push(&registry, "2", "10001")];
    let missing = format!("{}/shop/app@sha256:{}", registry.host(), "0".repeat(64));
    let backend = Arc::new(Backend::new(config, quick()).with_registry(registry));
    let cluster = Arc::clone(&backend);
    Some(
        BackendFixture::new(backend)
            .with_workload(service(&[]), images)
            .with_missing_image(missing.parse().expect("the reference is valid"))
            .with_loss(move |target| {
                let cluster = Arc::clone(&cluster);
                async move { cluster.delete(&target, "deployments").await }
            })
            .with_patience(Duration::from_secs(120)),
    )
}

macro_rules! clauses {
    ($($clause:ident,)*) => {
        $(
            #[test]
            fn $clause() {
                block_on(async {
                    let Some(fixture) = fixture().await else { return };
                    BackendClause::$clause(&fixture).await;
                });
            }
        )*
    };
}

clauses! {
    absent_until_applied, applied_becomes_ready, applying_again_changes_nothing,
    older_generations_are_refused, newer_generation_wins, paused_apply_cannot_undo,
    concurrent_applies_end_with_the_newest, targets_are_apart, failed_rollout_is_an_observation,
    missing_until_applied_again, taken_back_is_what_was_before,
    taken_back_without_anything_before_is_absent, taken_back_cannot_be_applied,
    taken_back_before_it_was_applied, cancelled_apply_can_be_repeated, settling_keeps_what_is_needed, pull_secret_changes_in_place,
    pull_secret_of_nothing_is_not_found, removed_is_absent_and_remembered,
    removing_nothing_succeeds, applies_after_removal, run_starts_once, unknown_run_is_unknown,
    ended_run_stays_as_it_is,
}

#[test]
fn logs_are_bounded() {
    block_on(async {
        let Some(fixture) = fixture().await else {
            return;
        };
        if cluster::reads_logs(fixture.backend()).await {
            BackendClause::logs_are_bounded(&fixture).await;
        }
    });
}
