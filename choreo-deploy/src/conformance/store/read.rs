//! Clauses about reading and waiting.

use std::time::Duration;

use super::StoreClause;
use super::steps::{accept, acme, at, claim, finish, id, within};
use crate::conformance::fixture::example_target;
use crate::deployment::Phase;
use crate::store::{DeploymentQuery, Store};

impl StoreClause {
    /// A waiting reader receives the next change, or at once a change that it missed.
    pub async fn change_is_waited_for(store: &dyn Store) {
        let first = accept(store, "orders", 1, at(0)).await.deployment;
        let organization = acme();
        let waiting = store.changed(&organization, &first.id, first.revision);
        let changing = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            finish(store, at(1), Phase::Failed).await;
        };
        let both = async { tokio::join!(waiting, changing).0 };
        let changed = within(both).await.expect("reads").expect("is there");
        assert!(changed.revision > first.revision);
        let late = within(store.changed(&acme(), &first.id, 0))
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(late.phase, Phase::Failed);
        let nobody = within(store.changed(&acme(), &id("d-9"), 0))
            .await
            .expect("reads");
        assert_eq!(nobody, None);
    }

    /// Lists begin with the newest entry and match their query.
    pub async fn lists_are_newest_first(store: &dyn Store) {
        for number in 1..=3 {
            accept(store, "orders", number, at(number)).await;
        }
        accept(store, "billing", 4, at(4)).await;
        let list = async |query: DeploymentQuery| {
            let all = store.deployments(&query).await.expect("reads");
            all.into_iter()
                .map(|one| one.id.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            list(DeploymentQuery::default()).await,
            ["d-4", "d-3", "d-2", "d-1"]
        );
        let orders = example_target("orders");
        let of_target = DeploymentQuery::of_target(orders.clone());
        assert_eq!(list(of_target.limit(2)).await, ["d-3", "d-2"]);
        let of_component = DeploymentQuery::of_component(orders.component_key());
        assert_eq!(list(of_component).await, ["d-3", "d-2", "d-1"]);
        let organization = Some("other".parse().expect("an id"));
        let of_others = DeploymentQuery {
            organization,
            ..DeploymentQuery::default()
        };
        assert_eq!(list(of_others).await, [""; 0]);
    }

    /// The next due time is that of the earliest work of any kind.
    pub async fn next_due_is_the_earliest(store: &dyn Store) {
        assert_eq!(store.next_due().await.expect("reads"), None);
        accept(store, "orders", 1, at(5)).await;
        accept(store, "billing", 2, at(3)).await;
        assert_eq!(store.next_due().await.expect("reads"), Some(at(3)));
        claim(store, at(3)).await.expect("claims");
        assert_eq!(store.next_due().await.expect("reads"), Some(at(5)));
        let waiting = store.new_work();
        let telling = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            accept(store, "catalog", 3, at(1)).await;
        };
        within(async { tokio::join!(waiting, telling) }).await;
        assert_eq!(store.next_due().await.expect("reads"), Some(at(1)));
    }
}
