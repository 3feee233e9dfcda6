//! The schema with its migrations, and the opening of connections.

#[cfg(test)]
mod former;

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::error::CommitError;
use crate::{OpenError, lock};

/// The application id that identifies a file of choreo-deploy: "CHRO" in ASCII
/// (<https://www.sqlite.org/pragma.html#pragma_application_id>).
pub(crate) const APPLICATION_ID: i64 = 0x4348_524F;

/// The migrations. Each entry migrates the schema from its index to the next number. Entries are
/// never changed, only added.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/001.sql"),
    include_str!("schema/002.sql"),
    include_str!("schema/003.sql"),
    include_str!("schema/004.sql"),
    include_str!("schema/005.sql"),
    include_str!("schema/006.sql"),
    include_str!("schema/007.sql"),
    include_str!("schema/008.sql"),
];

/// The time for which a connection waits for the lock of another program, such as a backup.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the newest schema that this version knows.
pub(crate) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("there are few migrations")
}

/// Opens the connection that writes, and creates the file if it does not exist. The schema stays
/// unchanged.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    lock::make_private(path).map_err(|source| OpenError::Io {
        path: path.to_owned(),
        source,
    })?;
    let sqlite = |source| of_sqlite(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    prepare_once(&connection).map_err(sqlite)?;
    // This check comes before the first write, so that a foreign file stays unchanged.
    check(&connection, path)?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(sqlite)?;
    if mode != "wal" {
        return Err(OpenError::NoWriteAheadLog(path.to_owned()));
    }
    make_durable(&connection).map_err(sqlite)?;
    Ok(connection)
}

/// Migrates the schema and ends the leases of earlier processes. The caller must be alone with the
/// file: another process would continue with the old schema and its leases.
pub(crate) fn take_over(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let take_over = || {
        // With foreign keys on, a migration that creates a table again would delete the rows that
        // refer to it (https://www.sqlite.org/lang_altertable.html#otheralter).
        connection.pragma_update(None, "foreign_keys", false)?;
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        migrate(&transaction)?;
        for sql in TRY_AGAIN.iter().chain(&END_LEASES) {
            transaction.execute(sql, [])?;
        }
        transaction.commit()?;
        connection.pragma_update(None, "foreign_keys", true)
    };
    take_over().map_err(|source| of_sqlite(path, source))
}

/// Makes unreadable rows due again, because this version may be able to read them. The indexes
/// contain only unreadable rows.
pub(crate) const TRY_AGAIN: [&str; 2] = [
    "UPDATE targets INDEXED BY targets_unreadable SET unreadable = 0 WHERE unreadable = 1",
    "UPDATE runs INDEXED BY runs_unreadable SET unreadable = 0 WHERE unreadable = 1",
];

/// Ends all leases, because their workers have ended. The indexes contain only work, so the cost
/// does not grow with history.
pub(crate) const END_LEASES: [&str; 2] = [
    "UPDATE targets INDEXED BY targets_due SET lease_owner = NULL, due_at = 0
     WHERE due_at IS NOT NULL AND unreadable = 0 AND lease_owner IS NOT NULL",
    "UPDATE runs INDEXED BY runs_due SET lease_owner = NULL, due_at = 0
     WHERE due_at IS NOT NULL AND unreadable = 0 AND lease_owner IS NOT NULL",
];

/// Returns an error unless the file has the schema that this version writes.
pub(crate) fn require_newest(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let found = user_version(connection).map_err(|source| of_sqlite(path, source))?;
    if found == newest() {
        return Ok(());
    }
    Err(OpenError::Older {
        path: path.to_owned(),
        found,
        known: newest(),
    })
}

/// Returns an error if the schema has changed since the file was opened. The lock prevents that;
/// this check is for programs that do not use the lock.
pub(crate) fn require_own(connection: &Connection) -> Result<(), CommitError> {
    let (found, known) = (user_version(connection)?, newest());
    if found == known {
        Ok(())
    } else {
        Err(CommitError::Schema { found, known })
    }
}

/// Returns the current schema of the file. Within a transaction, SQLite reads it from the first
/// page, which is in memory.
pub(crate) fn user_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("PRAGMA user_version")?
        .query_row([], |row| row.get(0))
}

/// Opens a read-only connection.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        prepare_once(&connection)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    open().map_err(|source| of_sqlite(path, source))
}

/// Returns an error for a foreign file and for one that a newer version has written.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let pragma = |name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|source| of_sqlite(path, source))
    };
    let (application, found) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|source| of_sqlite(path, source))?;
    let fresh = application == 0 && found == 0 && tables == 0;
    if !fresh && application != APPLICATION_ID {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    if found > newest() {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: newest(),
        });
    }
    Ok(())
}

/// Keeps the plan of a statement for all bound values. Otherwise SQLite compiles some statements again
/// for each execution, to plan them by their values
/// (<https://www.sqlite.org/queryplanner-ng.html#qpstab>).
fn prepare_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Makes commits survive a loss of power: with `synchronous=FULL` each commit waits for the log to
/// reach the disk, and with `fullfsync` macOS waits for the disk instead of its cache
/// (<https://www.sqlite.org/pragma.html#pragma_synchronous>).
fn make_durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // 8 MiB keep a group of acceptances in memory until its commit. With less, SQLite writes pages
    // that change again.
    connection.pragma_update(None, "cache_size", -8192)?;
    // Keeps the rollback data of savepoints in memory. Above 64 KiB, which most groups exceed,
    // SQLite would use a temporary file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // A checkpoint after 16 MiB copies a page that changes often once for many changes. The default of
    // 4 MiB is full after 80 acceptances.
    connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
    // The log shrinks again after a burst.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

fn migrate(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let version = user_version(transaction)?;
    let done = usize::try_from(version).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", newest())
}

fn of_sqlite(path: &Path, source: rusqlite::Error) -> OpenError {
    if source.sqlite_error_code() == Some(ErrorCode::NotADatabase) {
        return OpenError::Foreign(path.to_owned());
    }
    OpenError::Sqlite {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::{deployments, due, releases, settings, targets};
    use choreo_deploy::store::{DeploymentQuery, TargetQuery};
    use choreo_deploy::workload::{ManualTask, Workload};
    use rusqlite::StatementStatus;

    fn database() -> (Connection, TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("choreo.db");
        let connection = open_writer(&file).unwrap();
        take_over(&connection, &file).unwrap();
        (connection, directory)
    }

    fn pragma(connection: &Connection, name: &str) -> String {
        connection
            .pragma_query_value(None, name, |row| {
                row.get::<_, i64>(0)
                    .map(|value| value.to_string())
                    .or_else(|_| row.get(0))
            })
            .unwrap()
    }

    /// Guards the settings that protect against a loss of power, which a killed process does not
    /// show.
    #[test]
    fn commits_wait_for_the_disk() {
        let (connection, _directory) = database();
        assert_eq!(pragma(&connection, "journal_mode"), "wal");
        assert_eq!(pragma(&connection, "synchronous"), "2", "2 is FULL");
        assert_eq!(pragma(&connection, "fullfsync"), "1");
        assert_eq!(pragma(&connection, "foreign_keys"), "1");
        assert_eq!(pragma(&connection, "wal_autocheckpoint"), "4096");
        let temporary = pragma(&connection, "temp_store");
        assert_eq!(
            temporary, "2",
            "2 is MEMORY: no file for what is taken back"
        );
    }

    /// To compile the statement for the newest settings took longer than to run it.
    #[test]
    fn statements_are_compiled_once_whatever_their_values() {
        let (writer, directory) = database();
        let reader = open_reader(&directory.path().join("choreo.db")).unwrap();
        for connection in [writer, reader] {
            let mut statement = connection.prepare(settings::NEWEST).unwrap();
            for target in 1..4 {
                assert!(!statement.exists([target]).unwrap());
            }
            let again = statement.get_status(StatementStatus::RePrepare);
            assert_eq!(again, 0, "compiled again: {again}");
        }
    }

    #[test]
    fn readers_cannot_write() {
        let (_writer, directory) = database();
        let reader = open_reader(&directory.path().join("choreo.db")).unwrap();
        let error = reader.execute("UPDATE meta SET epoch = 9", []).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly));
    }

    /// Guards that the frequent queries of a worker do not cost more with every deployment that has
    /// ended.
    #[test]
    fn work_is_found_by_the_indexes_of_work() {
        let (connection, _directory) = database();
        for (sql, index, values) in [
            (due::TARGETS.group, "targets_work", 3),
            (due::TARGETS.first, "targets_work", 3),
            (due::TARGETS.forward, "targets_due (due_at>?)", 2),
            (due::RUNS.group, "runs_work", 3),
            (due::RUNS.first, "runs_work", 3),
            (due::RUNS.forward, "runs_due (due_at>?)", 2),
            (targets::NEXT_DUE, "targets_due", 0),
            (targets::NEXT_DUE, "runs_due", 0),
        ] {
            let plan = plan(&connection, sql, values);
            assert!(plan.contains(index), "{index} is used:\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "nothing is sorted:\n{plan}");
        }
    }

    #[test]
    fn targets_are_listed_by_an_index_of_what_is_asked_for() {
        let (connection, _directory) = database();
        let component = choreo_deploy::conformance::example_target("orders").component_key();
        for (query, wanted) in [
            (TargetQuery::default(), "targets_order"),
            (
                TargetQuery::of_organization(component.organization.clone()),
                "targets_order (organization=?",
            ),
            (
                TargetQuery::of_component(component).placed(),
                "targets_order (organization=? AND component=?",
            ),
        ] {
            let plan = plan(&connection, &targets::select(&query), 8);
            assert!(plan.contains(wanted), "{wanted} is used:\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "nothing is sorted:\n{plan}");
        }
    }

    #[test]
    fn lists_are_read_in_the_order_of_an_index() {
        let (connection, _directory) = database();
        for (sql, index) in [
            (
                "SELECT * FROM deployments WHERE seq < 9 AND organization = ?1 AND component = ?1
                     ORDER BY seq DESC",
                "deployments_component",
            ),
            (
                "SELECT * FROM deployments WHERE seq < 9 AND organization = ?1 ORDER BY seq DESC",
                "deployments_organization",
            ),
            (
                "SELECT * FROM runs WHERE target = ?1 ORDER BY seq DESC",
                "runs_target",
            ),
            (
                "SELECT * FROM tokens WHERE organization = ?1 AND component = ?1
                     ORDER BY created_at DESC, id DESC",
                "tokens_component",
            ),
            (
                "SELECT key FROM idempotency WHERE expires_at <= ?1 ORDER BY expires_at",
                "idempotency_expiry",
            ),
        ] {
            let plan = plan(&connection, sql, 1);
            assert!(plan.contains(index), "{index} is used:\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "nothing is sorted:\n{plan}");
        }
    }

    #[test]
    fn deployments_of_a_target_are_read_in_the_order_of_its_key() {
        let (connection, _directory) = database();
        let target = choreo_deploy::conformance::example_target("orders");
        let query = DeploymentQuery::of_target(target);
        for before in [None, Some(9)] {
            let (sql, values) = deployments::select(&query, before);
            let plan = plan(&connection, &sql, values.len());
            let wanted = match before {
                None => "sqlite_autoindex_deployments_2 (target=?)",
                Some(_) => "sqlite_autoindex_deployments_2 (target=? AND (epoch,number)<(?,?))",
            };
            assert!(plan.contains(wanted), "{wanted} is used:\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "nothing is sorted:\n{plan}");
        }
    }

    /// Creates a file of schema 2.
    fn of_schema_2(file: &Path) {
        use choreo_deploy::conformance::{example_image, example_target};
        use choreo_deploy::release::{Release, ReleaseDraft, ReleaseImage, ReleaseNumber};
        let connection = open_writer(file).unwrap();
        for migration in &MIGRATIONS[..2] {
            connection.execute_batch(migration).unwrap();
        }
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .unwrap();
        connection.pragma_update(None, "user_version", 2).unwrap();
        let workload = Workload::from(ManualTask::new());
        let draft = ReleaseDraft::new(workload.clone(), ReleaseImage::unpinned(example_image(1)));
        let at = jiff::Timestamp::UNIX_EPOCH;
        let component = example_target("orders").component_key();
        let release = Release::new(component, ReleaseNumber::FIRST, draft, at);
        let release = serde_json::to_string(&release).unwrap();
        // In schema 2 ids were unique over all organizations.
        let release = release.replace("\"organization\":\"acme\",", "");
        let workload = serde_json::to_string(&workload).unwrap();
        connection
            .execute_batch(
                "PRAGMA foreign_keys = OFF;
                 INSERT INTO targets (id, component, environment, project, organization, deployment,
                     epoch, number, data_plane, due_at, lease_owner, unreadable)
                 VALUES (1, 'orders', 'development', 'shop', 'acme', 'd-1', 0, 1, 'eu-1', 7, 'w', 1)",
            )
            .unwrap();
        connection
            .execute(
                "INSERT INTO deployments (id, target, component, organization, epoch, number,
                     settings_version, phase, reasons, changed_at, revision, format, document, workload)
                 VALUES ('d-1', 1, 'orders', 'acme', 0, 1, 1, 'accepted', '[]', 0, 1, 1, '{}', ?1)",
                [&workload],
            )
            .unwrap();
        for (number, document) in [(1, release.as_str()), (2, "{\"broken")] {
            let sql = "INSERT INTO releases (component, number, format, document)
                VALUES ('orders', ?1, 1, ?2)";
            connection.execute(sql, (number, document)).unwrap();
        }
    }

    #[test]
    fn a_file_of_schema_2_keeps_all_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("choreo.db");
        of_schema_2(&file);
        let connection = open_writer(&file).unwrap();
        take_over(&connection, &file).unwrap();
        let broken: Vec<String> = connection
            .prepare("PRAGMA foreign_key_check")
            .and_then(|mut rows| rows.query_map([], |row| row.get(0))?.collect())
            .unwrap();
        assert_eq!(broken, [""; 0], "every reference leads somewhere");
        assert_eq!(pragma(&connection, "foreign_keys"), "1");
        let component = choreo_deploy::conformance::example_target("orders").component_key();
        let read = releases::newest(&connection, &component, 9).unwrap();
        assert_eq!(read.len(), 1, "the other one cannot be read, as before");
        assert_eq!(read[0].workload, Workload::from(ManualTask::new()));
        let stored: (i64, i64, String) = connection
            .query_row(
                "SELECT deployments.workload, releases.workload, releases.document
                 FROM deployments, releases WHERE releases.number = 1",
                [],
                |row| row.try_into(),
            )
            .unwrap();
        assert_eq!((stored.0, stored.1), (1, 1));
        assert!(!stored.2.contains("workload"), "{}", stored.2);
        let target: (i64, Option<String>, i64) = connection
            .query_row(
                "SELECT due_at, lease_owner, unreadable FROM targets",
                [],
                |row| row.try_into(),
            )
            .unwrap();
        assert_eq!(target, (0, None, 0), "it can be claimed");
    }

    #[test]
    fn opening_looks_at_work_alone() {
        let (connection, _directory) = database();
        for sql in TRY_AGAIN.iter().chain(&END_LEASES) {
            let plan = plan(&connection, sql, 0);
            assert!(plan.contains("USING INDEX"), "{plan}");
        }
    }

    fn plan(connection: &Connection, sql: &str, values: usize) -> String {
        let values = vec![0; values];
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let steps = statement
            .query_map(rusqlite::params_from_iter(values), |row| {
                row.get::<_, String>("detail")
            })
            .unwrap();
        steps.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
    }
}
