//! Clauses about the choice, the amount and the order of claimed work.

use super::StoreClause;
use super::steps::{accept, at, claim, deployment, new, new_run, plane, ready_run};
use crate::Target;
use crate::deployment::Phase;
use crate::store::{
    ClaimRequest, Claimed, ClaimedWork, Lane, NewDeployment, Progress, Room, Store, WorkStage,
};

/// Returns the ids of the claimed work, in order.
fn ids(claimed: &Claimed) -> Vec<String> {
    let id = |work: &ClaimedWork| match work {
        ClaimedWork::Deployment(claimed) => claimed.deployment.id.to_string(),
        ClaimedWork::Run(claimed) => claimed.run.id.to_string(),
    };
    claimed.work.iter().map(id).collect()
}

async fn claim_all(store: &dyn Store, request: &ClaimRequest) -> Claimed {
    store.claim(request).await.expect("claims")
}

impl StoreClause {
    /// Work without room is skipped, and does not count as due next.
    pub async fn busy_data_planes_are_passed_over(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let elsewhere = NewDeployment {
            data_plane: plane("us-1"),
            ..new("billing", 2, at(1))
        };
        store.accept(elsewhere).await.expect("accepts");
        for number in [1, 2] {
            // Without a release they wait for a registry and count for no data plane.
            let claimed = claim(store, at(2)).await.expect("claims");
            let progress = Progress {
                stage: WorkStage::Applied,
                ..Progress::new(Phase::Progressing, at(2), at(10 * number))
            };
            let put_back = store.put_back(&claimed.claim, progress).await;
            put_back.expect("puts back");
        }
        let mut room = Room::new(9, 1);
        room.enter_on(&plane("eu-1"), Lane::Look);
        let request = ClaimRequest::new("w", at(11), at(41)).with_room(room.clone());
        let nothing = claim_all(store, &request).await;
        assert_eq!((ids(&nothing).len(), nothing.next_due), (0, Some(at(20))));
        let request = ClaimRequest::new("w", at(30), at(60)).with_limit(9);
        let other = claim_all(store, &request.with_room(room)).await;
        assert_eq!(ids(&other), ["d-2"], "the other data plane has room");
        assert_eq!(other.next_due, None, "no work is due after it");
    }

    /// A claim takes up to its limit, by turns among organizations.
    pub async fn organizations_take_turns(store: &dyn Store) {
        for number in 1..=4 {
            accept(store, &format!("component-{number}"), number, at(0)).await;
        }
        let target = new("orders", 5, at(1)).target;
        let other = NewDeployment {
            target: Target {
                organization: "other".parse().expect("an id"),
                ..target
            },
            ..new("orders", 5, at(1))
        };
        store.accept(other).await.expect("accepts");
        let request = ClaimRequest::new("w", at(2), at(32)).with_limit(3);
        let claimed = claim_all(store, &request).await;
        assert_eq!(claimed.work.len(), 3);
        assert_eq!(
            ids(&claimed)[1],
            "d-5",
            "the other organization has its turn"
        );
        assert_eq!(claimed.next_due, Some(at(0)), "more work is due");
        assert_eq!(claim_all(store, &request).await.work.len(), 2);
        assert_eq!(claim_all(store, &request).await.next_due, Some(at(32)));
    }

    /// Deployments and runs are claimed in the order in which they are due.
    pub async fn runs_and_deployments_are_one_queue(store: &dyn Store) {
        ready_run(store).await;
        accept(store, "billing", 2, at(1)).await;
        accept(store, "catalog", 3, at(4)).await;
        let second = new_run("r-2", at(3));
        store.accept_run(second).await.expect("accepts");
        let request = ClaimRequest::new("w", at(5), at(35)).with_limit(9);
        let claimed = claim_all(store, &request).await;
        assert_eq!(ids(&claimed), ["d-2", "r-1", "r-2", "d-3"]);
    }

    /// Claims are counted until a write with one of them, or a newer deployment.
    pub async fn claims_are_counted(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        for count in 1..=3 {
            let claimed = claim(store, at(30 * u64::from(count))).await;
            assert_eq!(claimed.expect("claims").claims, count);
        }
        let claimed = claim(store, at(120)).await.expect("claims");
        let progress = Progress::new(Phase::Progressing, at(121), at(122));
        let put_back = store.put_back(&claimed.claim, progress).await;
        put_back.expect("puts back");
        assert_eq!(claim(store, at(122)).await.expect("claims").claims, 1);
        accept(store, "orders", 2, at(123)).await;
        assert_eq!(claim(store, at(123)).await.expect("claims").claims, 1);
    }

    /// Work that is due after the horizon was postponed by a clock that was ahead, and is due now.
    pub async fn beyond_the_horizon_is_due_now(store: &dyn Store) {
        accept(store, "orders", 1, at(3600)).await;
        for minutes in 60..64 {
            claim(store, at(minutes * 60)).await.expect("claims");
        }
        let before = claim(store, at(64 * 60)).await.expect("claims");
        let request = ClaimRequest::new("w", at(0), at(30));
        assert!(claim_all(store, &request).await.work.is_empty());
        let request = request.with_horizon(at(60));
        let claimed = claim_all(store, &request).await;
        assert_eq!(ids(&claimed), ["d-1"]);
        let progress = Progress::new(Phase::Progressing, at(0), at(60));
        let stale = store.put_back(&before.claim, progress.clone()).await;
        super::steps::assert_stale(stale);
        let claimed = claimed.into_deployment().expect("it is one");
        assert_eq!(claimed.claims, 2, "the present claim counts");
        let claim = claimed.claim;
        store.put_back(&claim, progress).await.expect("puts back");
        assert!(
            claim_all(store, &request).await.work.is_empty(),
            "work at the horizon is not due yet"
        );
        let found = deployment(store, "d-1").await;
        assert_eq!(found.phase, Phase::Progressing);
    }
}
