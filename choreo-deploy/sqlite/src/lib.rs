//! The embedded, durable store of choreo-deploy: everything that a control plane remembers, in one
//! SQLite file.
//!
//! [`SqliteStore`] implements the [`Store`](choreo_deploy::store::Store) traits. There is nothing to
//! install: SQLite is compiled in.
//!
//! ```
//! use choreo_deploy::conformance::{example_image, example_target};
//! use choreo_deploy::deployment::{Phase, RequestedImage, Subject};
//! use choreo_deploy::store::{DeploymentStore, NewDeployment};
//! use choreo_deploy_sqlite::SqliteStore;
//! use jiff::{SignedDuration, Timestamp};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let directory = tempfile::tempdir()?;
//! let file = directory.path().join("choreo.db");
//!
//! let store = SqliteStore::open(&file).await?;
//! let orders = example_target("orders");
//! let place = (orders.clone(), "eu-1".parse()?);
//! let image = Subject::Image(Box::new(RequestedImage::new(example_image(1))));
//! let now = Timestamp::now();
//! let times = (now, now + SignedDuration::from_mins(10));
//! let new = NewDeployment::new("d-1".parse()?, place, image, times);
//! store.accept(new).await?;
//! drop(store);
//!
//! let store = SqliteStore::open(&file).await?;
//! let stored = store.deployment(&orders.organization, &"d-1".parse()?).await?;
//! let stored = stored.expect("it was accepted");
//! assert_eq!(stored.phase, Phase::Accepted);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it promises
//!
//! - **What was answered is on the disk.** Every change is committed with `synchronous=FULL` to a
//!   write-ahead log (<https://www.sqlite.org/wal.html>) before its method returns `Ok`; it survives
//!   a crash of the process and, on a disk that tells the truth, a loss of power.
//! - **A commit is shared.** One thread writes. What is asked while it waits for the disk goes into
//!   the next commit together, so many callers at once cost few waits. A call that fails leaves
//!   nothing behind and does not touch those beside it; when the commit fails, all of them are
//!   [`Unavailable`](choreo_deploy::store::StoreErrorKind::Unavailable).
//! - **Reading never waits for writing**, but for a moment once the log has reached 64 MiB and begins
//!   anew. Reads have threads and connections of their own, and long lists do not hold up the
//!   others. A list of deployments is read in pages, so a deployment that changes meanwhile is shown
//!   as it was or as it is.
//! - **Work is found at once**, however many deployments have ended and however many targets rest.
//!   Waiting for a change asks nothing of the database until there is one.
//! - **A bad row stops nobody.** A row that this version cannot read is passed over, left as it is
//!   and reported by [`unreadable`](choreo_deploy::store::DeploymentStore::unreadable). Work on it
//!   is tried again when the file is opened again.
//! - **A full or locked database is `Unavailable`**, never a panic and never half a change.
//!
//! # The file
//!
//! SQLite keeps its log in two files beside the database, `-wal` and `-shm`, and the store its lock
//! in `-lock`. New files are readable by their owner alone. Registry credentials are in it sealed,
//! deploy tokens as digests.
//!
//! *One control plane per file:* a second [`open`](SqliteStore::open), in any process, is refused
//! with [`OpenError::InUse`] until the first store is dropped or its process ends in any way. A
//! server whose operator's commands work on the same file opens it with
//! [`open_shared`](SqliteStore::open_shared), and so do the commands. Other
//! programs may read the file and take backups, such as the `sqlite3` program with
//! `.backup FILE`; do not copy a database that is open with `cp`. After restoring a backup call
//! [`raise_epoch`](choreo_deploy::store::DeploymentStore::raise_epoch), and again revoke and remove what was since.
//!
//! The schema only goes forward, when the file is opened. A file with a newer schema than this
//! version knows, or one of another application, is refused and stays as it is.
//!
//! Moments are stored as integers, nanoseconds since 1970 in UTC; in columns, moments after
//! 2262-04-11 become that day. Records are JSON documents with a format number. The table `audit`
//! says who did what and when: accepting, superseding and finishing deployments and runs, holds,
//! tokens and registries.
//!
//! # Beside other crates that bring SQLite
//!
//! A program can have one version of the library that links SQLite, so this crate takes every
//! `rusqlite` from 0.32 to 0.43: cargo picks the one that sqlx 0.8 or 0.9 (also with PostgreSQL
//! alone), sea-orm, diesel or tokio-rusqlite asks for.
//!
//! # What it does not do
//!
//! - Share a file between machines, or put it on a network file system.
//! - Tell a process of what another one changed in a shared file.
//! - Forget: deployments, releases, runs and the audit stay. Only idempotency keys expire.
//! - Encrypt the file; only credentials are sealed, by
//!   [`Sealer`](choreo_deploy::sealer::Sealer) and before they come here.

mod accept;
mod audit;
#[cfg(test)]
mod cost;
mod deployments;
mod due;
mod error;
mod idempotency;
mod lock;
mod log;
mod opening;
mod queue;
mod reader;
mod registries;
mod releases;
mod row;
mod run_work;
mod runs;
mod schema;
mod settings;
mod share;
mod signals;
mod store;
mod targets;
mod tokens;
mod unreadable;
mod work;
mod workloads;
mod writer;

pub use self::error::OpenError;
pub use self::store::SqliteStore;
