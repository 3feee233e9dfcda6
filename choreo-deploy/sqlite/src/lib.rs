//! The embedded, durable store of choreo-deploy: all data of a control plane in one SQLite file.
//!
//! [`SqliteStore`] implements the [`Store`](choreo_deploy::store::Store) traits. SQLite is compiled
//! in, so there is nothing to install.
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
//! let stored = stored.expect("the deployment was accepted");
//! assert_eq!(stored.phase, Phase::Accepted);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - **A completed change is on the disk.** Each change is committed with `synchronous=FULL` to a
//!   write-ahead log (<https://www.sqlite.org/wal.html>) before its method returns `Ok`. It
//!   survives a crash of the process and, if the disk honors fsync, a loss of power.
//! - **Calls share commits.** One thread writes. The calls that arrive while it waits for the disk
//!   share the next commit, so many concurrent calls cause few waits. A call that fails changes
//!   nothing and does not affect the others. If the commit fails, all of its calls return
//!   [`Unavailable`](choreo_deploy::store::StoreErrorKind::Unavailable).
//! - **Reads do not wait for writes**, except for a moment when the log has reached 64 MiB and
//!   restarts. Reads have separate threads and connections, and long lists do not delay other
//!   reads. A list of deployments is read in pages, so it shows a deployment that changes at the
//!   same time in its old or its new state.
//! - **Work is found immediately**, however many deployments have ended and however many targets
//!   have no work. Waiting for a change runs no queries until one occurs.
//! - **An unreadable row blocks nothing else.** A row that this version cannot read is skipped,
//!   stays unchanged and is reported by
//!   [`unreadable`](choreo_deploy::store::DeploymentStore::unreadable). Its work is retried when
//!   the file is opened again.
//! - **A full or locked database returns `Unavailable`**; it never causes a panic or a partial
//!   change.
//!
//! # The file
//!
//! SQLite keeps its log in two files next to the database, `-wal` and `-shm`; the store keeps its
//! lock in `-lock`. New files are readable by their owner only. Registry credentials are stored
//! sealed, and deploy tokens as digests.
//!
//! *One control plane per file:* a second [`open`](SqliteStore::open) in any process returns
//! [`OpenError::InUse`] until the first store is dropped or its process ends. If a server and the
//! commands of its operator use the same file, all of them open it with
//! [`open_shared`](SqliteStore::open_shared). Other programs can read the file and make backups,
//! for example `sqlite3` with `.backup FILE`; do not copy an open database with `cp`. After a
//! restore from a backup, call [`raise_epoch`](choreo_deploy::store::DeploymentStore::raise_epoch),
//! and repeat the revocations and removals since the backup.
//!
//! The schema is only migrated forward, when the file is opened. A file with a newer schema than
//! this version supports, or a file of another application, is rejected and stays unchanged.
//!
//! Timestamps are stored as integers, in nanoseconds since 1970 in UTC. In columns, timestamps
//! after 2262-04-11 become that day. Records are JSON documents with a format number. The table
//! `audit` records who did what and when: acceptances, ends of deployments and runs, holds, tokens
//! and registries.
//!
//! # With other crates that use SQLite
//!
//! A program can contain only one version of the library that links SQLite. So this crate accepts
//! every `rusqlite` from 0.32 to 0.43. Cargo selects the version that sqlx, sea-orm, diesel or
//! tokio-rusqlite requires. sqlx 0.8 and 0.9 require one even if only PostgreSQL is enabled.
//!
//! # What this crate does not do
//!
//! - It does not share a file between machines or support network file systems.
//! - It does not notify a process of the changes of another process in a shared file.
//! - It does not delete deployments, releases, runs or audit entries. Only idempotency keys expire.
//! - It does not encrypt the file. Only credentials are sealed, by
//!   [`Sealer`](choreo_deploy::sealer::Sealer), before they reach the store.

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
mod transaction;
mod unreadable;
mod work;
mod workloads;
mod writer;

pub use self::error::OpenError;
pub use self::store::SqliteStore;
