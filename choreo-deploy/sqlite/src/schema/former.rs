//! Tests the migration of files of earlier versions, which are created with their own SQL.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::{APPLICATION_ID, MIGRATIONS, newest, open_writer, take_over};

/// Two organizations with all kinds of rows, as stored by version 1.
const OF_VERSION_1: &str = "
INSERT INTO targets (id, component, environment, project, organization, deployment, epoch, number,
    data_plane, applied, due_at, lease_owner, ready_deployment, ready_epoch, ready_number,
    ready_release, ready_settings_version, hold_by, hold_since) VALUES
    (1, 'orders', 'dev', 'shop', 'acme', 'd-1', 0, 1, 'eu-1', 1, 7, 'w', 'd-1', 0, 1, 1, 1, 'd-1', 5),
    (2, 'billing', 'dev', 'shop', 'other', 'd-2', 0, 1, 'us-1', 0, 8, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, 'report', 'dev', 'shop', 'other', 'd-3', 0, 1, 'us-1', 0, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO deployments (id, target, component, organization, epoch, number, settings_version, phase,
    reasons, release, changed_at, revision, format, document, workload) VALUES
    ('d-1', 1, 'orders', 'acme', 0, 1, 1, 'progressing', '[]', 1, 0, 1, 1, '{}', '{\"type\":\"a\"}'),
    ('d-2', 2, 'billing', 'other', 0, 1, 1, 'accepted', '[]', NULL, 0, 1, 1, '{}', '{\"type\":\"b\"}'),
    ('d-3', 3, 'report', 'other', 0, 1, 1, 'ready', '[]', NULL, 0, 1, 1, 'broken', NULL);
INSERT INTO settings VALUES (1, 1, 1, '{}');
INSERT INTO releases (component, number, pin, format, document) VALUES
    ('orders', 1, NULL, 1, '{\"component\":\"orders\",\"workload\":{\"type\":\"a\"}}'),
    ('billing', 1, NULL, 1, 'broken');
INSERT INTO idempotency VALUES ('orders', 'key', x'00', 'd-1', 9);
INSERT INTO runs (id, target, data_plane, phase, reasons, cancel_requested, changed_at, revision,
    started, due_at, format, document) VALUES
    ('r-1', 1, 'eu-1', 'running', '[]', 0, 0, 1, 1, 3, 1, '{}'),
    ('r-2', 1, 'eu-1', 'running', '[]', 1, 0, 1, 1, 3, 1, '{}'),
    ('r-3', 2, 'us-1', 'pending', '[]', 0, 0, 1, 0, 3, 1, '{}');
INSERT INTO tokens VALUES ('t-1', 'acme', 'orders', 'CI', zeroblob(32), 0, 9, NULL, NULL);
INSERT INTO registries VALUES ('ghcr', 'acme', 4, 1, '{}'), ('hub', 'other', 2, 1, 'broken');
INSERT INTO audit VALUES (1, 0, 'accepted', NULL, 'deployment d-1', NULL);
";

const TABLES: [&str; 8] = [
    "targets",
    "deployments",
    "settings",
    "releases",
    "idempotency",
    "runs",
    "tokens",
    "registries",
];

/// Creates a file of a version, with the migrated rows of version 1.
fn of_version(version: usize, file: &Path) {
    let connection = open_writer(file).unwrap();
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    for (index, migration) in MIGRATIONS[..version].iter().enumerate() {
        connection.execute_batch(migration).unwrap();
        if index == 0 {
            connection.execute_batch(OF_VERSION_1).unwrap();
        }
    }
    mark(&connection, version);
}

fn mark(connection: &Connection, version: usize) {
    let version = i64::try_from(version).unwrap();
    let pragma = |name, value| connection.pragma_update(None, name, value).unwrap();
    pragma("application_id", APPLICATION_ID);
    pragma("user_version", version);
}

/// Opens a file with the current version.
fn opened(file: &Path) -> Connection {
    let connection = open_writer(file).unwrap();
    take_over(&connection, file).unwrap();
    connection
}

/// Returns all elements of the schema, with the columns as in SQLite.
fn schema(connection: &Connection) -> BTreeSet<String> {
    let texts = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let mut all = texts(
        "SELECT type || ' ' || name || ' on ' || tbl_name || ': ' || coalesce(sql, '')
         FROM sqlite_schema ORDER BY type, name",
    );
    all.extend(texts(
        "SELECT tables.name || '.' || columns.name || ' ' || columns.type || columns.\"notnull\"
             || coalesce(columns.dflt_value, '') || columns.pk
         FROM pragma_table_list AS tables, pragma_table_xinfo(tables.name) AS columns
         WHERE tables.name NOT LIKE 'sqlite_%' ORDER BY 1",
    ));
    all.into_iter().collect()
}

fn one<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> T {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn counts(connection: &Connection) -> Vec<i64> {
    let count = |table: &&str| one(connection, &format!("SELECT count(*) FROM {table}"));
    TABLES.iter().map(count).collect()
}

#[test]
fn a_file_of_any_former_version_becomes_as_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let wanted = schema(&opened(&directory.path().join("new.db")));
    for version in 1..MIGRATIONS.len() {
        let file = directory.path().join(format!("{version}.db"));
        of_version(version, &file);
        let connection = opened(&file);
        let found = schema(&connection);
        let differs: Vec<_> = found.symmetric_difference(&wanted).collect();
        assert!(differs.is_empty(), "from version {version}: {differs:#?}");
        let found: i64 = one(&connection, "PRAGMA user_version");
        assert_eq!(found, newest());
        let broken: i64 = one(&connection, "SELECT count(*) FROM pragma_foreign_key_check");
        assert_eq!(broken, 0, "from version {version}");
        let intact: String = one(&connection, "PRAGMA integrity_check");
        assert_eq!(intact, "ok", "from version {version}");
        assert_eq!(
            counts(&connection),
            [3, 3, 1, 2, 1, 3, 1, 2],
            "{TABLES:?} from version {version}"
        );
        let owner: String = one(
            &connection,
            "SELECT group_concat(organization || '/' || component, ' ') FROM releases",
        );
        assert_eq!(owner, "acme/orders other/billing");
        let revision: i64 = one(
            &connection,
            "SELECT registry_revision FROM organizations WHERE id = 'acme'",
        );
        assert_eq!(revision, 4, "it goes on counting");
        let planes: String = one(
            &connection,
            "SELECT group_concat(planes, ' ') FROM targets ORDER BY id",
        );
        assert_eq!(planes, r#"["eu-1"] ["us-1"] ["us-1"]"#);
        let leases: i64 = one(
            &connection,
            "SELECT count(*) FROM targets WHERE lease_owner IS NOT NULL",
        );
        assert_eq!(leases, 0, "whoever had one is dead");
    }
}

fn of_version_5() -> (Connection, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    of_version(5, &file);
    // One deployment is of a release, and one of an image that is already resolved.
    let connection = open_writer(&file).unwrap();
    connection
        .execute_batch("PRAGMA foreign_keys = OFF")
        .unwrap();
    for (id, name, release, workload) in [(4, "promoted", 1, None), (5, "resolved", 1, Some(1))] {
        let target = "INSERT INTO targets (id, component, environment, project, organization,
             deployment, epoch, number, data_plane, due_at)
             VALUES (?1, ?2, 'dev', 'shop', 'acme', 'd-' || ?1, 0, 1, 'eu-1', 9)";
        connection.execute(target, params![id, name]).unwrap();
        let deployment = "INSERT INTO deployments (id, target, component, organization, epoch,
             number, settings_version, phase, reasons, release, changed_at, revision, format,
             document, workload)
             VALUES ('d-' || ?1, ?1, ?2, 'acme', 0, 1, 1, 'accepted', '[]', ?3, 0, 1, 1, '{}', ?4)";
        let values = params![id, name, release, workload];
        connection.execute(deployment, values).unwrap();
    }
    (opened(&file), directory)
}

/// Guards the migration from version 5 to 6, which derives the lane of a step from its progress.
#[test]
fn work_of_schema_5_is_found_by_what_it_waits_for() {
    let (connection, _directory) = of_version_5();
    let lanes = |sql: &str| -> Vec<(String, i64, i64)> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.try_into()).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let (registry, change, look) = (0, 1, 2);
    assert_eq!(
        lanes("SELECT component, lane, claims FROM targets ORDER BY id"),
        [
            ("orders".to_owned(), look, 0),
            ("billing".to_owned(), registry, 0),
            ("report".to_owned(), change, 0),
            ("promoted".to_owned(), change, 0),
            ("resolved".to_owned(), change, 0),
        ]
    );
    assert_eq!(
        lanes("SELECT organization || ' ' || id, lane, claims FROM runs ORDER BY id"),
        [
            ("acme r-1".to_owned(), look, 0),
            ("acme r-2".to_owned(), change, 0),
            ("other r-3".to_owned(), change, 0),
        ]
    );
    let work: i64 = one(
        &connection,
        "SELECT count(*) FROM targets INDEXED BY targets_work
         WHERE due_at IS NOT NULL AND unreadable = 0",
    );
    assert_eq!(work, 4, "what has ended is in no index of work");
}
