//! Clauses about the isolation of organizations whose ids are the same.

use super::StoreClause;
use super::steps::{
    accept, acme, at, claim, finish, id, id_of, key_of, keyed, new, record_release, token,
};
use crate::Target;
use crate::conformance::fixture::example_target;
use crate::deployment::{Deployment, Phase};
use crate::id::{ComponentKey, OrganizationId};
use crate::release::ReleaseNumber;
use crate::settings::Settings;
use crate::store::{
    AcceptError, DeploymentQuery, NewDeployment, NewRun, Outcome, SettingsChoice, Store,
    StoreErrorKind, TargetQuery,
};
use crate::workload::Scaling;

fn other() -> OrganizationId {
    id_of("other")
}

/// Returns the target of the other organization with the same ids.
fn their_target() -> Target {
    Target {
        organization: other(),
        ..example_target("orders")
    }
}

fn theirs(new: NewDeployment) -> NewDeployment {
    NewDeployment {
        target: their_target(),
        ..new
    }
}

/// Accepts a deployment and makes it ready. No other work may be due.
async fn ready(store: &dyn Store, new: NewDeployment) -> Deployment {
    let now = new.accepted_at;
    store.accept(new).await.expect("accepts");
    let claimed = claim(store, now).await.expect("work is due");
    record_release(store, &claimed, 1).await;
    let outcome = Outcome::new(Phase::Ready, vec![], now);
    store.finish(&claimed.claim, outcome).await.expect("ends")
}

impl StoreClause {
    /// Components of two organizations are independent, even with the same ids.
    pub async fn same_ids_of_two_organizations_are_apart(store: &dyn Store) {
        let three = Settings::default().with_scaling(Scaling::fixed(3));
        let with = |new, settings: &Settings| NewDeployment {
            settings: SettingsChoice::Now(settings.clone()),
            ..new
        };
        for number in 1..=2 {
            ready(store, new("orders", number, at(number))).await;
        }
        let hold = NewDeployment {
            hold: true,
            ..keyed("orders", 3, at(3), [1; 32])
        };
        ready(store, hold).await;
        let same_key = theirs(with(keyed("orders", 4, at(4), [2; 32]), &three));
        let accepted = store.accept(same_key).await;
        let accepted = accepted.expect("the key of another organization is another key");
        assert!(!accepted.replayed && accepted.superseded.is_none());
        assert_eq!(
            accepted.deployment.settings_version, 1,
            "settings versions begin at 1"
        );
        assert_eq!(accepted.deployment.generation.number, 1);

        let first = ready(store, theirs(with(new("orders", 5, at(5)), &three))).await;
        assert_eq!(
            first.release,
            Some(ReleaseNumber::FIRST),
            "releases begin at 1"
        );
        let their_key = ComponentKey::new(other(), id_of("orders"));
        let ours = store.releases(&key_of("orders"), 9).await.expect("reads");
        let theirs = store.releases(&their_key, 9).await.expect("reads");
        assert_eq!((ours.len(), theirs.len()), (3, 1));
        assert_eq!(theirs[0].organization, other());
        let second = ReleaseNumber::FIRST.next();
        let look = store.release(&their_key, second).await.expect("reads");
        assert_eq!(look, None, "the second release is only in our organization");
        let state = store.target(&their_target()).await.expect("reads");
        let state = state.expect("is there");
        assert_eq!(state.hold, None, "it is not held");
        let of_component = TargetQuery::of_component(their_key.clone());
        let targets = store.targets(&of_component).await.expect("reads");
        assert_eq!(targets.len(), 1);
        assert_eq!(targets[0].target, their_target());
        let query = DeploymentQuery::of_component(their_key);
        let list = store.deployments(&query);
        assert_eq!(list.await.expect("reads").len(), 2);
    }

    /// A record of another organization is not found, like one that does not exist.
    pub async fn what_another_organization_has_is_not_found(store: &dyn Store) {
        let (acme, other) = (acme(), other());
        let deployment = accept(store, "orders", 1, at(0)).await.deployment;
        let look = store.deployment(&other, &deployment.id);
        assert_eq!(look.await.expect("reads"), None);
        let wait = store.changed(&other, &deployment.id, 0);
        assert_eq!(wait.await.expect("reads"), None);
        let own = store.deployment(&acme, &deployment.id);
        assert_eq!(own.await.expect("reads"), Some(deployment));

        let claimed = claim(store, at(0)).await.expect("claims");
        record_release(store, &claimed, 1).await;
        let outcome = Outcome::new(Phase::Ready, vec![], at(1));
        store.finish(&claimed.claim, outcome).await.expect("ends");
        let place = (example_target("orders"), id_of("eu-1"));
        let run = NewRun::new(id_of("r-1"), place, (at(2), at(600)));
        let run = store.accept_run(run).await.expect("accepts");
        assert_eq!(store.run(&other, &run.id).await.expect("reads"), None);
        let wait = store.run_changed(&other, &run.id, 0);
        assert_eq!(wait.await.expect("reads"), None);
        let stop = store.request_cancel(&other, &run.id, at(3)).await;
        assert_eq!(
            stop.expect_err("the run is not in their organization")
                .kind(),
            StoreErrorKind::NotFound
        );
        assert_eq!(store.run(&acme, &run.id).await.expect("reads"), Some(run));
    }

    /// A token belongs to one component of one organization.
    pub async fn tokens_belong_to_one_component(store: &dyn Store) {
        let issue = async |token| store.issue_token(token).await.expect("issues");
        issue(token("t-1", "orders", at(0))).await;
        issue(token("t-2", "orders", at(0))).await;
        let mut foreign = token("t-3", "orders", at(0));
        foreign.organization = other();
        issue(foreign).await;
        let their_key = ComponentKey::new(other(), id_of("orders"));
        for key in [&their_key, &key_of("billing")] {
            let revoked = store.revoke_token(key, &id_of("t-1"), at(1)).await;
            let error = revoked.expect_err("the token is not in their organization");
            assert_eq!(error.kind(), StoreErrorKind::NotFound, "{key}");
        }
        let stored = store.token(&id_of("t-1")).await.expect("reads");
        assert_eq!(stored.expect("is there").revoked_at, None);
        let all = store.tokens(&their_key).await.expect("reads");
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].id, id_of("t-3"));
        let named = NewDeployment {
            cause: crate::deployment::Cause::Ci(id_of("t-1")),
            ..theirs(new("orders", 1, at(1)))
        };
        let refused = store
            .accept(named)
            .await
            .expect_err("the release is not in their organization");
        assert!(matches!(refused, AcceptError::TokenRefused));
        assert_eq!(
            store.deployment(&other(), &id("d-1")).await.expect("reads"),
            None
        );
    }

    /// A target remembers the data planes that it may be on until it left them.
    pub async fn targets_know_their_data_planes(store: &dyn Store) {
        let on = |plane: &str, number| NewDeployment {
            data_plane: id_of(plane),
            ..new("orders", number, at(number))
        };
        store.accept(on("eu-1", 1)).await.expect("accepts");
        store.accept(on("eu-2", 2)).await.expect("accepts");
        let absence = NewDeployment {
            subject: crate::deployment::Subject::Absence,
            workload: None,
            ..on("eu-3", 3)
        };
        store.accept(absence).await.expect("accepts");
        let planes = async || {
            let query = TargetQuery::of_organization(acme());
            let all = store.targets(&query).await.expect("reads");
            assert_eq!(all.len(), 1);
            all[0]
                .planes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            planes().await,
            ["eu-1", "eu-2"],
            "a removal adds no data plane"
        );
        let claimed = claim(store, at(3)).await.expect("claims");
        assert_eq!(claimed.planes.len(), 2, "the claim contains them");
        let outcome = Outcome::new(Phase::Ready, vec![], at(4));
        let outcome = outcome.with_left([id_of("eu-1")].into());
        store.finish(&claimed.claim, outcome).await.expect("ends");
        assert_eq!(planes().await, ["eu-2"]);
        let theirs = TargetQuery::of_organization(other());
        assert_eq!(store.targets(&theirs).await.expect("reads"), []);
        let component = TargetQuery::of_component(key_of("orders"));
        assert_eq!(store.targets(&component).await.expect("reads").len(), 1);

        let target = example_target("orders");
        let before = store.target(&target).await.expect("reads");
        let forget = async |plane: &str| {
            let planes = [id_of(plane)].into();
            let forgotten = store.forget_planes(&target, &planes, at(5)).await;
            forgotten.expect("writes")
        };
        assert!(!forget("eu-1").await, "it has left that data plane");
        assert!(forget("eu-2").await);
        assert!(!forget("eu-2").await);
        let after = store
            .target(&target)
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(after.planes, [].into());
        let mut before = before.expect("is there");
        before.planes.clear();
        assert_eq!(after, before, "nothing else has changed");
        let (theirs, planes) = (their_target(), [id_of("eu-1")].into());
        let nowhere = store.forget_planes(&theirs, &planes, at(6)).await;
        assert!(!nowhere.expect("reads"), "the target does not exist");
    }

    /// A target that is on no data plane is not ready.
    pub async fn forgotten_targets_have_nothing_ready(store: &dyn Store) {
        for (number, plane) in [(1, "eu-1"), (2, "eu-2")] {
            let on = NewDeployment {
                data_plane: id_of(plane),
                ..new("orders", number, at(number))
            };
            store.accept(on).await.expect("accepts");
            finish(store, at(number), Phase::Ready).await;
        }
        let target = example_target("orders");
        let forget = async |plane: &str| {
            let planes = [id_of(plane)].into();
            let forgotten = store.forget_planes(&target, &planes, at(3)).await;
            assert!(forgotten.expect("writes"), "{plane}");
            let found = store.target(&target).await.expect("reads");
            found.expect("is there").ready
        };
        let ready = forget("eu-1").await.expect("it is on the other one");
        assert_eq!(ready.deployment, id("d-2"));
        assert_eq!(forget("eu-2").await, None);
    }

    /// Targets are listed in pages, without gaps or duplicates.
    pub async fn targets_are_listed_in_pages(store: &dyn Store) {
        let mut all = Vec::new();
        let mut number = 0;
        for organization in ["b", "a"] {
            for component in ["orders", "billing"] {
                for project in ["web", "shop"] {
                    for environment in ["dev", "prod"] {
                        number += 1;
                        let mut new = new(component, number, at(number));
                        new.target = Target::new(
                            id_of(organization),
                            id_of(project),
                            id_of(component),
                            id_of(environment),
                        );
                        if number % 4 == 0 {
                            new.subject = crate::deployment::Subject::Absence;
                        } else {
                            all.push(new.target.clone());
                        }
                        store.accept(new).await.expect("accepts");
                    }
                }
            }
        }
        all.sort_by_key(|target| {
            let of = (target.organization.clone(), target.component.clone());
            (of, target.project.clone(), target.environment.clone())
        });
        let placed = TargetQuery::default().placed();
        let (mut query, mut pages) = (placed.clone().limit(5), Vec::new());
        loop {
            let page = store.targets(&query).await.expect("reads");
            let Some(last) = page.last() else { break };
            query = query.after(last.target.clone());
            pages.push(page.len());
            let all = all.iter().skip(pages.iter().sum::<usize>() - page.len());
            let found = page.iter().map(|state| &state.target);
            assert!(found.eq(all.take(page.len())), "page {}", pages.len());
        }
        assert_eq!(pages, [5, 5, 2]);
        let whole = store.targets(&placed).await.expect("reads");
        assert_eq!(whole.len(), all.len());
        let everything = store.targets(&TargetQuery::default()).await;
        assert_eq!(everything.expect("reads").len(), 16);
        let mut of_one = TargetQuery::of_component(ComponentKey::new(id_of("a"), id_of("orders")));
        of_one.organization = Some(id_of("a"));
        let of_one = store.targets(&of_one).await.expect("reads");
        assert!(
            of_one.len() == 4
                && of_one
                    .iter()
                    .all(|state| state.target.component == id_of("orders"))
        );
    }
}
