//! Guards the pace of a worker with thousands of due targets on a data plane that never responds.

use std::process::Command;
use std::time::Duration;

use choreo_deploy::deployment::{Cause, Phase, RequestedImage};
use choreo_deploy::intake::{Intake as _, Submission};
use rusqlite::Connection;

use crate::silence::{Place, World};

/// The number of due targets.
const DUE: usize = 10_000;
/// The lane of work that waits for a data plane. In the lane of a registry, the images would be
/// resolved one by one.
const CHANGE: i64 = 1;
/// The time in which a healthy target becomes ready.
const SOON: Duration = Duration::from_secs(2);
/// The time over which the cost of waiting is measured.
const WAITING: Duration = Duration::from_secs(3);

/// Copies the only deployment to many targets.
fn multiply(world: &World) {
    let connection = Connection::open(world.directory.path().join("choreo.db")).unwrap();
    connection
        .execute_batch(&format!(
            "BEGIN;
             WITH RECURSIVE more (number) AS
                 (SELECT 2 UNION ALL SELECT number + 1 FROM more WHERE number < {DUE})
             INSERT INTO targets (component, environment, project, organization, deployment, epoch,
                 number, data_plane, due_at, lane, planes)
             SELECT 'waiting-' || more.number, environment, project, organization,
                 deployment || '-' || more.number, epoch, targets.number, data_plane, due_at,
                 {CHANGE}, planes
             FROM targets, more WHERE id = 1;
             INSERT INTO deployments (id, target, component, organization, epoch, number,
                 settings_version, phase, reasons, release, changed_at, revision, format, document,
                 workload)
             SELECT targets.deployment, targets.id, targets.component, first.organization,
                 first.epoch, first.number, settings_version, phase, reasons, release, changed_at,
                 revision, format, json_set(document, '$.id', targets.deployment,
                     '$.target.component', targets.component), workload
             FROM deployments AS first, targets WHERE first.seq = 1 AND targets.id > 1;
             INSERT INTO settings (target, version, format, document)
             SELECT targets.id, version, format, document
             FROM settings, targets WHERE target = 1 AND targets.id > 1;
             COMMIT"
        ))
        .unwrap();
}

/// Returns the processor time of this process.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    // The user and system times are hundredths of a second on Linux.
    let times = fields.split_whitespace().skip(11).take(2);
    let hundredths: u64 = times.map(|time| time.parse::<u64>().unwrap()).sum();
    Duration::from_millis(hundredths * 10)
}

fn due(world: &World) -> usize {
    let connection = Connection::open(world.directory.path().join("choreo.db")).unwrap();
    let sql = "SELECT count(*) FROM targets WHERE due_at IS NOT NULL";
    let count = connection.query_row(sql, [], |row| row.get(0));
    usize::try_from(count.map(|count: i64| count).unwrap()).unwrap()
}

/// Runs in a separate process, so that its processor time is the worker's only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_behind_a_data_plane_that_hangs_hold_up_nobody() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "backlog::beside_thousands", "--ignored"])
        .arg("--nocapture")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let error = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}{error}");
    assert!(said.contains("ready after"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as a process of its own"]
async fn beside_thousands() {
    let healthy = Place::healthy();
    let mut places: Vec<_> = (1..=DUE).map(Place::dead).collect();
    places.push(Place::healthy());
    let world = World::new(&places).await;
    let image = format!("registry.example.com/app@sha256:{:064x}", 1);
    let image = RequestedImage::new(image.parse().unwrap());
    let submission = Submission::new(places[0].key(), image, Cause::Manual);
    world.deployer.accept(submission).await.unwrap();
    multiply(&world);
    let measured = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = std::time::Instant::now();
        let last = world.submit(&healthy).await;
        let key = healthy.key();
        let found = world.deployer.wait(&key, &last.id, SOON).await;
        let found = found.unwrap().unwrap();
        let ready_after = began.elapsed();
        let before = processor();
        tokio::time::sleep(WAITING).await;
        (found.phase, ready_after, processor() - before)
    };
    let (phase, ready_after, spent) = tokio::select! {
        () = world.deployer.run(std::future::pending()) => unreachable!("it works for ever"),
        measured = measured => measured,
    };
    println!("ready after {ready_after:?}; {spent:?} of processor time in {WAITING:?}");
    assert_eq!(phase, Phase::Ready);
    assert_eq!(due(&world), DUE, "the others wait");
    assert!(spent < WAITING / 4, "{spent:?} of {WAITING:?}");
}
