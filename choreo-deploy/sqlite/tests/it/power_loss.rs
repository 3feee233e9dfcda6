//! Guards that acknowledged changes survive a loss of power at a random moment, and that the
//! database stays valid.
//!
//! A process accepts and ends deployments while a recorder logs its writes and syncs. The record
//! yields images of the disk at random moments with any part of the unsynced writes: none, all,
//! some writes, and only some 512-byte sectors of a write. `CHOREO_TEST_CASES` sets the number of
//! images (1,000 by default); a large number is split over several records.

mod disk;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use choreo_deploy::deployment::Phase;
use choreo_deploy::store::{DeploymentStore as _, Outcome};
use choreo_deploy_sqlite::SqliteStore;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use self::disk::{Dice, Disk, Honesty, Record, records};
use crate::common::{at, claim, deployment_id, draft, new};
use crate::shim;

const FOLDER: &str = "RECORDER_FOLDER";
const LOG: &str = "RECORDER_LOG";
const DATABASE: &str = "choreo.db";
const WRITE_AHEAD_LOG: &str = "choreo.db-wal";
/// The file to which the process writes each acknowledgement, one per line.
const LEDGER: &str = "ledger";
const OPENED: &str = "opened";
const DEPLOYMENTS: u64 = 300;
/// The number of deployments after which the log is copied into the database, so that it is
/// restarted during the test. It would not become long enough for an automatic copy.
const COPIED: u64 = 50;
const CALLERS: u64 = 4;
/// The maximum number of images of a record.
const PART: usize = 10_000;

/// The result of one disk over all of its images.
#[derive(Debug, Default)]
struct Found {
    /// Images without an acknowledged change.
    lossy: usize,
    /// Images that SQLite cannot read or reports as damaged.
    damaged: usize,
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power() {
    let cases = std::env::var("CHOREO_TEST_CASES").map_or(1_000, |cases| cases.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let Some(recorder) = shim::compile("recorder.c", folder.path()) else {
        return shim::skipped("losses of power");
    };
    let mut done = 0;
    while done < cases {
        let part = PART.min(cases - done);
        let records = record(&recorder, folder.path());
        let honest = lose_power(&records, Honesty::Honest, (done as u64, part));
        done += part;
        let calls = records.len();
        println!("{done} images, the last {part} of {calls} calls: {honest:?}");
        assert_eq!((honest.lossy, honest.damaged), (0, 0));
    }
    // The controls: disks on which the store must lose changes, to show that the images detect it.
    let records = record(&recorder, folder.path());
    let normal = lose_power(&records, Honesty::LogNotSynced, (0, 100));
    assert!(normal.lossy > 20, "synchronous=NORMAL loses: {normal:?}");
    let nothing = lose_power(&records, Honesty::NothingSynced, (0, 100));
    assert!(nothing.damaged > 20, "{nothing:?}");
}

fn record(recorder: &Path, folder: &Path) -> Vec<Record> {
    let folder = tempfile::tempdir_in(folder.canonicalize().unwrap()).unwrap();
    let (watched, log) = (folder.path().join("watched"), folder.path().join("log"));
    std::fs::create_dir(&watched).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "power_loss::child", "--ignored"])
        .env("LD_PRELOAD", recorder)
        .env(FOLDER, &watched)
        .env(LOG, &log)
        .output()
        .unwrap();
    assert_eq!(child.status.code(), Some(ENDED), "{child:?}");
    records(&std::fs::read(log).unwrap())
}

/// The exit code of the process, which ends in the middle of its work.
const ENDED: i32 = 77;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as the process that is recorded"]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = PathBuf::from(folder);
    let ledger = Arc::new(std::fs::File::create(folder.join(LEDGER)).unwrap());
    let store = SqliteStore::open(folder.join(DATABASE)).await.unwrap();
    let store = Arc::new(store);
    // One write per line.
    let note = move |line: String| {
        (&*ledger)
            .write_all(format!("{line}\n").as_bytes())
            .unwrap()
    };
    note(OPENED.to_owned());
    let copy = move || {
        let connection = Connection::open(folder.join(DATABASE)).unwrap();
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        connection.query_row(sql, [], |_| Ok(())).unwrap();
    };
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let (store, note, copy) = (Arc::clone(&store), note.clone(), copy.clone());
        callers.spawn(async move {
            for number in (caller..DEPLOYMENTS).step_by(usize::try_from(CALLERS).unwrap()) {
                let component = format!("component-{}", number % 17);
                store.accept(new(&component, number, at(0))).await.unwrap();
                note(format!("accepted d-{number}"));
                if number % COPIED == 0 {
                    copy();
                }
                if number % 3 == 0
                    && let Some(claimed) = claim(&store, at(1)).await
                {
                    let ended = end(&store, &claimed).await;
                    // The file may have been replaced in the meantime.
                    if ended {
                        note(format!("ready {}", claimed.deployment.id));
                    }
                }
            }
        });
    }
    callers.join_all().await;
    // The process ends without closing the database.
    std::process::exit(ENDED);
}

async fn end(store: &SqliteStore, claimed: &choreo_deploy::store::ClaimedDeployment) -> bool {
    let claim = &claimed.claim;
    if store.record_release(claim, draft(), at(1)).await.is_err() {
        return false;
    }
    let outcome = Outcome::new(Phase::Ready, vec![], at(1));
    store.finish(claim, outcome).await.is_ok()
}

/// Checks images of random moments, the earliest first.
fn lose_power(records: &[Record], honesty: Honesty, (seed, cases): (u64, usize)) -> Found {
    let mut dice = Dice(seed);
    let opened = records
        .iter()
        .position(|record| record.file == LEDGER && lines(record).any(|line| line == OPENED));
    let opened = opened.unwrap();
    let mut moments: Vec<usize> = (0..cases)
        .map(|_| opened + 1 + dice.below(records.len() - opened))
        .collect();
    moments.sort_unstable();
    let (mut disk, mut told) = (Disk::new(honesty), BTreeSet::new());
    let (mut happened, mut found) = (0, Found::default());
    let image = choreo_test_simulation::folder();
    for (number, moment) in moments.into_iter().enumerate() {
        for record in &records[happened..moment] {
            disk.happen(record);
            if record.file == LEDGER {
                told.extend(lines(record).filter(|line| *line != OPENED));
            }
        }
        happened = moment;
        disk.lose_power(&mut dice, [DATABASE, WRITE_AHEAD_LOG], image.path());
        match kept(image.path(), number % 20 == 0) {
            Ok(kept) => found.lossy += usize::from(told.iter().any(|line| !kept.contains(*line))),
            Err(_) => found.damaged += 1,
        }
    }
    found
}

fn lines(record: &Record) -> impl Iterator<Item = &str> {
    let text = match &record.call {
        disk::Call::Write { data, .. } => std::str::from_utf8(data).unwrap(),
        _ => "",
    };
    text.lines()
}

/// Returns the lines of the ledger that an image confirms.
fn kept(image: &Path, whole: bool) -> rusqlite::Result<BTreeSet<String>> {
    let connection = Connection::open(image.join(DATABASE))?;
    // With exclusive access SQLite needs no file for the index of the log, and it need not copy the
    // log into the database at the end.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if whole {
        let sql = "PRAGMA integrity_check";
        let said: String = connection.query_row(sql, [], |row| row.get(0))?;
        if said != "ok" {
            return Err(rusqlite::Error::InvalidQuery);
        }
    }
    let mut statement = connection.prepare("SELECT id, phase FROM deployments")?;
    let mut rows = statement.query([])?;
    let mut kept = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let (id, phase): (String, String) = (row.get(0)?, row.get(1)?);
        kept.insert(format!("accepted {id}"));
        kept.insert(format!("{phase} {id}"));
    }
    Ok(kept)
}

/// Guards that the store opens an image and works on it.
#[tokio::test]
async fn a_store_goes_on_from_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let Some(recorder) = shim::compile("recorder.c", folder.path()) else {
        return;
    };
    let records = record(&recorder, folder.path());
    let mut disk = Disk::new(Honesty::Honest);
    let mut dice = Dice(11);
    for (number, record) in records.iter().enumerate() {
        disk.happen(record);
        if number < records.len() / 10 || number % (records.len() / 20) != 0 {
            continue;
        }
        let image = choreo_test_simulation::folder();
        disk.lose_power(&mut dice, [DATABASE, WRITE_AHEAD_LOG], image.path());
        let store = SqliteStore::open(image.path().join(DATABASE))
            .await
            .unwrap();
        assert!(store.unreadable().await.unwrap().is_empty());
        let next = new("next", 1_000_000, at(2));
        let accepted = store.accept(next).await.unwrap().deployment;
        assert_eq!(accepted.id, deployment_id(1_000_000));
    }
    let copied =
        |record: &Record| record.file == DATABASE && matches!(record.call, disk::Call::Sync);
    let copies = records.iter().filter(|record| copied(record)).count();
    assert!(
        copies >= 3,
        "the log was copied into the database: {copies}"
    );
}
