//! The contracts of the traits, as tests that you run against your own implementation.
//!
//! There is one clause for each sentence under *Contract* in
//! [`DeploymentBackend`](crate::DeploymentBackend) and in the [store traits](crate::store). The macros
//! create one `#[test]` for each clause, with a fresh backend or store:
//!
//! ```
//! # mod tests {
//! use choreo_deploy::conformance::BackendFixture;
//! use choreo_deploy::InMemoryBackend;
//!
//! choreo_deploy::backend_conformance!(async { BackendFixture::new(InMemoryBackend::new()) });
//! # }
//! ```
//!
//! A clause that fails panics with a sentence of the contract. The suite is exempt from semantic
//! versioning: a stricter clause is not a breaking change.

mod backend;
mod fixture;
mod pinned;
mod store;
mod taken_back;

use std::future::Future;

pub use self::backend::BackendClause;
pub use self::fixture::{
    BackendFixture, example_image, example_registry, example_release, example_target,
};
pub use self::store::StoreClause;

/// Creates one `#[test]` for each clause for backends.
///
/// The argument is an expression of a future that returns a fresh
/// [`BackendFixture`](crate::conformance::BackendFixture). It is evaluated for each clause.
#[macro_export]
macro_rules! backend_conformance {
    ($fixture:expr) => {
        $crate::backend_conformance!(@tests $fixture;
            absent_until_applied, applied_becomes_ready, applying_again_changes_nothing,
            older_generations_are_refused, newer_generation_wins, digest_comes_after_tag,
            paused_apply_cannot_undo,
            concurrent_applies_end_with_the_newest, targets_are_apart,
            failed_rollout_is_an_observation, missing_until_applied_again, taken_back_is_what_was_before,
            taken_back_without_anything_before_is_absent, taken_back_cannot_be_applied,
            taken_back_before_it_was_applied, taken_back_pulls_as_before,
            pulling_as_before_is_only_for_taking_back, cancelled_apply_can_be_repeated,
            settling_keeps_what_is_needed, pull_secret_changes_in_place,
            pull_secret_of_nothing_is_not_found, removed_is_absent_and_remembered,
            removing_nothing_succeeds, applies_after_removal, run_starts_once,
            unknown_run_is_unknown, ended_run_stays_as_it_is, logs_are_bounded,
        );
    };
    (@tests $fixture:expr; $($clause:ident,)*) => {
        $(
            #[test]
            fn $clause() {
                $crate::conformance::block_on(async {
                    let fixture = $fixture.await;
                    $crate::conformance::BackendClause::$clause(&fixture).await;
                });
            }
        )*
    };
}

/// Creates one `#[test]` for each clause for stores.
///
/// The argument is an expression of a future that returns a fresh [`Store`](crate::store::Store). It
/// is evaluated for each clause.
#[macro_export]
macro_rules! store_conformance {
    ($store:expr) => {
        $crate::store_conformance!(@tests $store;
            accepted_is_stored_and_due, generations_grow, newer_deployment_supersedes,
            same_key_is_the_same_deployment, reused_key_is_refused, expired_key_is_forgotten,
            key_outlives_a_clock_that_was_ahead,
            concurrent_same_key_is_one_deployment,
            token_is_checked_again, held_target_refuses_machines, settings_keep_their_version,
            named_release_exists_and_is_pinned, claimed_only_when_due, busy_data_planes_are_passed_over,
            organizations_take_turns, runs_and_deployments_are_one_queue, claims_are_counted,
            beyond_the_horizon_is_due_now,
            fences_grow_and_old_claims_are_stale, superseded_claims_are_stale,
            expired_lease_is_claimed_again, renewed_lease_holds, releases_count_without_a_gap,
            pin_is_set_once, put_back_is_claimed_later, what_leaves_is_the_targets_state,
            newer_deployment_ends_what_leaves, ready_becomes_the_targets_state,
            final_deployments_never_change, absence_clears_the_ready_state, change_is_waited_for,
            lists_are_newest_first, next_due_is_the_earliest, runs_need_something_ready,
            runs_are_worked_on_once, run_can_be_cancelled, cancel_while_claimed_is_due_at_once,
            ids_and_phases_are_checked, two_live_tokens_at_most,
            revoked_token_stays_revoked, use_is_noted_once_a_minute, registries_are_compared_and_set,
            registry_revisions_are_never_given_twice,
            a_raised_epoch_numbers_higher, credential_versions_follow_the_login,
            registries_belong_to_one_organization, same_ids_of_two_organizations_are_apart,
            what_another_organization_has_is_not_found, tokens_belong_to_one_component,
            targets_know_their_data_planes, forgotten_targets_have_nothing_ready,
            targets_are_listed_in_pages,
        );
    };
    (@tests $store:expr; $($clause:ident,)*) => {
        $(
            #[test]
            fn $clause() {
                $crate::conformance::block_on(async {
                    let store = $store.await;
                    $crate::conformance::StoreClause::$clause(&store).await;
                });
            }
        )*
    };
}

/// Runs a clause on its own runtime.
///
/// # Panics
///
/// Panics if the clause panics or if no runtime can be created.
pub fn block_on<T>(clause: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(clause)
}
