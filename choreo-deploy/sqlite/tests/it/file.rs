//! Guards the content of the file and the exclusion of other processes.

use choreo_deploy::conformance::example_target;
use choreo_deploy::deployment::{Generation, Phase};
use choreo_deploy::run::RunOverrides;
use choreo_deploy::store::{
    AcceptError, ClaimRequest, DeploymentQuery, DeploymentStore, Idempotency, NewRegistry, NewRun,
    RegistryStore, RunStore, StoredCredential, TokenStore,
};
use choreo_deploy::token::{TokenDigest, TokenRecord};
use choreo_deploy_sqlite::{OpenError, SqliteStore};
use jiff::SignedDuration;
use rusqlite::Connection;

use crate::common::{acme, at, claim, deployment_id, finish, new};

#[tokio::test]
async fn everything_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let store = SqliteStore::open(&file).await.unwrap();
    let target = example_target("orders");
    let registry = store.put_registry(registry(), None).await.unwrap();
    let token = token();
    store.issue_token(token.clone()).await.unwrap();

    store.accept(new("orders", 1, at(0))).await.unwrap();
    finish(&store, at(1)).await;
    let times = (at(2), at(600));
    let run = NewRun::new(
        "r-1".parse().unwrap(),
        (target.clone(), "eu-1".parse().unwrap()),
        times,
    );
    let run = run.with_overrides(RunOverrides::args(vec!["--now".to_owned()]));
    let run = store.accept_run(run).await.unwrap();
    let mut second = new("orders", 2, at(3));
    second.idempotency = Some(Idempotency::new("key", [7; 32], at(600)));
    second.hold = true;
    let second = store.accept(second).await.unwrap().deployment;
    let before = snapshot(&store).await;
    drop(store);

    let store = SqliteStore::open(&file).await.unwrap();
    assert_eq!(snapshot(&store).await, before);
    assert_eq!(store.run(&acme(), &run.id).await.unwrap(), Some(run));
    let stored = store
        .registry(&registry.organization, &registry.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        serde_json::to_value(stored).unwrap(),
        serde_json::to_value(registry).unwrap()
    );
    let stored = store.token(&token.id).await.unwrap().unwrap();
    assert_eq!(stored.digest.as_bytes(), token.digest.as_bytes());
    let mut again = new("orders", 3, at(5));
    again.idempotency = Some(Idempotency::new("key", [7; 32], at(600)));
    let again = store.accept(again).await.unwrap();
    assert!(again.replayed && again.deployment == second);
}

/// Formats all deployments, the target, its release and its settings.
async fn snapshot(store: &SqliteStore) -> String {
    let target = example_target("orders");
    let deployments = store
        .deployments(&DeploymentQuery::default())
        .await
        .unwrap();
    let state = store
        .target(&target)
        .await
        .unwrap()
        .expect("was deployed to");
    assert_eq!(
        state.hold.as_ref().map(|hold| &hold.by),
        Some(&deployment_id(2))
    );
    let releases = store.releases(&target.component_key(), 9).await.unwrap();
    assert_eq!((deployments.len(), releases.len()), (2, 1));
    let settings = store
        .settings(&target, 1)
        .await
        .unwrap()
        .expect("has settings");
    format!("{deployments:?} {state:?} {releases:?} {settings:?}")
}

fn registry() -> NewRegistry {
    let id = ("acme".parse().unwrap(), "ghcr".parse().unwrap());
    let kind = choreo_registry::authentication::AuthenticationType::Basic;
    NewRegistry::new(id, "GitHub", "ghcr.io".parse().unwrap(), kind)
        .with_credential(StoredCredential::ExistingSecret("pull".to_owned()))
}

fn token() -> TokenRecord {
    let owner = example_target("orders").component_key();
    let digest = TokenDigest::new([9; 32]);
    TokenRecord::new("t-1".parse().unwrap(), owner, digest, (at(0), at(1000))).with_name("CI")
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().canonicalize().unwrap().join("choreo.db");
    drop(SqliteStore::open(&file).await.unwrap());
    let connection = Connection::open(&file).unwrap();
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    let known: i64 = version.unwrap();
    let newer = known + 1;
    connection
        .pragma_update(None, "user_version", newer)
        .unwrap();
    drop(connection);
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "database {file:?} has schema {newer}, and this version knows none after {known}: \
             use the newer version again"
        )
    );
}

#[tokio::test]
async fn a_file_of_somebody_else_is_refused_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("notes.db");
    let other = Connection::open(&database).unwrap();
    other
        .execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine')")
        .unwrap();
    drop(other);
    let text = directory.path().join("notes.txt");
    std::fs::write(
        &text,
        "milk, bread and a long list of other things to buy ".repeat(20),
    )
    .unwrap();
    for file in [database, text] {
        let before = std::fs::read(&file).unwrap();
        let error = SqliteStore::open(&file).await.unwrap_err();
        assert!(matches!(error, OpenError::Foreign(_)), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "{file:?}");
    }
}

#[tokio::test]
async fn a_second_store_on_the_file_is_refused_until_the_first_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let first = SqliteStore::open(&file).await.unwrap();
    // Another path of the file leads to the same lock.
    let other_name = directory.path().join(".").join("choreo.db");
    let error = SqliteStore::open(other_name).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    assert_eq!(
        error.to_string(),
        format!(
            "database {:?} is open elsewhere: only one control plane may use a file",
            first.path()
        )
    );
    drop(first);
    SqliteStore::open(&file)
        .await
        .expect("the file is free again");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("choreo.db"))
        .await
        .unwrap();
    store.accept(new("orders", 1, at(0))).await.unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{entry:?}"
        );
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "choreo.db",
            "choreo.db-lock",
            "choreo.db-shm",
            "choreo.db-wal"
        ]
    );
}

#[tokio::test]
async fn a_restored_database_gives_greater_generations() {
    let directory = tempfile::tempdir().unwrap();
    let (file, backup) = (
        directory.path().join("choreo.db"),
        directory.path().join("backup.db"),
    );
    let store = SqliteStore::open(&file).await.unwrap();
    store.accept(new("orders", 1, at(0))).await.unwrap();
    drop(store);
    std::fs::copy(&file, &backup).unwrap();

    let store = SqliteStore::open(&file).await.unwrap();
    let lost = store
        .accept(new("orders", 2, at(1)))
        .await
        .unwrap()
        .deployment
        .generation;
    assert_eq!(lost, Generation::new(0, 2));
    drop(store);

    let mut before = lost;
    for restored in [100, 200] {
        std::fs::copy(&backup, &file).unwrap();
        let store = SqliteStore::open(&file).await.unwrap();
        store.raise_epoch(at(restored)).await.unwrap();
        let next = store
            .accept(new("orders", 2, at(restored)))
            .await
            .unwrap()
            .deployment;
        assert!(
            next.generation > before,
            "{} comes after {before}",
            next.generation
        );
        let fresh = store
            .accept(new("billing", 3, at(restored)))
            .await
            .unwrap()
            .deployment;
        assert_eq!(fresh.generation.epoch, next.generation.epoch);
        before = next.generation;
    }
}

/// Guards that no version of a credential is used again for another login after a restore.
#[tokio::test]
async fn a_restored_database_gives_no_version_of_a_credential_again() {
    let directory = tempfile::tempdir().unwrap();
    let (file, backup) = (
        directory.path().join("choreo.db"),
        directory.path().join("backup.db"),
    );
    let another = |id: &str| {
        let mut registry = registry();
        registry.organization = id.parse().unwrap();
        registry
    };
    let store = SqliteStore::open(&file).await.unwrap();
    let known = store.put_registry(registry(), None).await.unwrap();
    store.close().await;
    std::fs::copy(&file, &backup).unwrap();

    // The restore loses a rotation and the first registration of another organization.
    let mut given = Vec::new();
    for restored in [None, Some(100), Some(101), Some(200)] {
        let store = SqliteStore::open(&file).await.unwrap();
        if let Some(restored) = restored {
            store.raise_epoch(at(restored)).await.unwrap();
        }
        let mut rotated = registry();
        rotated.host = "elsewhere.example.com".parse().unwrap();
        let rotated = store.put_registry(rotated, Some(known.revision)).await;
        given.push(("acme", rotated.unwrap().credential_version));
        let first = store.put_registry(another("other"), None).await.unwrap();
        given.push(("other", first.credential_version));
        store.close().await;
        std::fs::copy(&backup, &file).unwrap();
    }
    let count = given.len();
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), count, "{given:?}");
}

#[tokio::test]
async fn what_happened_is_in_the_audit_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let store = SqliteStore::open(&file).await.unwrap();
    store.put_registry(registry(), None).await.unwrap();
    store.issue_token(token()).await.unwrap();
    store.accept(new("orders", 1, at(0))).await.unwrap();
    let mut second = new("orders", 2, at(1));
    (second.hold, second.cause) = (true, choreo_deploy::deployment::Cause::Rollback);
    store.accept(second).await.unwrap();
    let mut refused = new("orders", 3, at(1));
    refused.cause = choreo_deploy::deployment::Cause::PushEvent;
    assert!(matches!(
        store.accept(refused).await,
        Err(AcceptError::Held(_))
    ));
    finish(&store, at(2)).await;
    store
        .release_hold(&example_target("orders"), at(3))
        .await
        .unwrap();
    store
        .revoke_token(
            &example_target("orders").component_key(),
            &"t-1".parse().unwrap(),
            at(4),
        )
        .await
        .unwrap();
    store
        .remove_registry(&"acme".parse().unwrap(), &"ghcr".parse().unwrap())
        .await
        .unwrap();

    let reader = Connection::open(&file).unwrap();
    let sql =
        "SELECT action || ' ' || coalesce(actor, '-') || ' ' || subject FROM audit ORDER BY seq";
    let mut statement = reader.prepare(sql).unwrap();
    let entries = statement
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap();
    assert_eq!(
        entries.collect::<Result<Vec<_>, _>>().unwrap(),
        [
            "registry-put - registry ghcr of acme",
            "token-issued - token t-1",
            "deployment-accepted manual deployment d-1",
            "deployment-superseded - deployment d-1",
            "deployment-accepted rollback deployment d-2",
            "hold rollback target acme/shop/orders in development",
            "deployment-finished worker deployment d-2",
            "hold-released - target acme/shop/orders in development",
            "token-revoked - token t-1",
            "registry-removed - registry ghcr of acme",
        ]
    );
}

#[tokio::test]
async fn expired_keys_do_not_pile_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let store = SqliteStore::open(&file).await.unwrap();
    for number in 0..40 {
        let now = at(i64::try_from(number).unwrap());
        let mut new = new("orders", number, now);
        // The key will have expired for longer than the spare time in five seconds.
        let soon = now + SignedDuration::from_secs(5) - Idempotency::SPARE;
        new.idempotency = Some(Idempotency::new(format!("key-{number}"), [1; 32], soon));
        store.accept(new).await.unwrap();
    }
    let reader = Connection::open(&file).unwrap();
    let keys: i64 = reader
        .query_row("SELECT count(*) FROM idempotency", [], |row| row.get(0))
        .unwrap();
    assert_eq!(
        keys, 5,
        "the others were over when the last one was accepted"
    );
}

#[tokio::test]
async fn new_work_is_told_even_when_nobody_waited() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("choreo.db"))
        .await
        .unwrap();
    let request = ClaimRequest::new("worker", at(0), at(30));
    assert!(store.claim(&request).await.unwrap().work.is_empty());
    // The change happens after the worker has looked and before it waits.
    store.accept(new("orders", 1, at(0))).await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(5), store.new_work())
        .await
        .unwrap();
    let claimed = store
        .claim(&request)
        .await
        .unwrap()
        .into_deployment()
        .expect("the work is there");
    assert_eq!(claimed.deployment.phase, Phase::Accepted);
}

#[tokio::test]
async fn shared_stores_see_each_others_work_and_never_do_it_twice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let server = SqliteStore::open_shared(&file).await.unwrap();
    let command = SqliteStore::open_shared(&file).await.unwrap();
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert!(
        matches!(error, OpenError::InUse(_)),
        "who shares is not alone: {error}"
    );

    // Both stores accept at the same time, so both writers need the file.
    let accept = async |store: &SqliteStore, from: u64| {
        for number in from..from + 20 {
            let component = format!("component-{number}");
            store.accept(new(&component, number, at(0))).await.unwrap();
        }
    };
    tokio::join!(accept(&server, 0), accept(&command, 100));
    let mut claimed = std::collections::BTreeSet::new();
    for round in 0..40 {
        let store = if round % 2 == 0 { &server } else { &command };
        let work = claim(store, at(1))
            .await
            .expect("what the other accepted is due here too");
        assert!(
            claimed.insert(work.deployment.id),
            "nothing is claimed twice"
        );
    }
    assert!(claim(&server, at(1)).await.is_none());
    drop(command);
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert!(
        matches!(error, OpenError::InUse(_)),
        "the server still has it: {error}"
    );
}
