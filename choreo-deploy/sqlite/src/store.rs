use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use choreo_deploy::Target;
use choreo_deploy::deployment::Deployment;
use choreo_deploy::id::{
    ComponentKey, DataPlaneId, DeploymentId, OrganizationId, RegistryId, RunId, TokenId,
};
use choreo_deploy::release::{DigestPin, Release, ReleaseDraft, ReleaseNumber};
use choreo_deploy::run::Run;
use choreo_deploy::settings::Settings;
use choreo_deploy::store::{
    AcceptError, Accepted, Claim, ClaimRequest, Claimed, DeploymentQuery, DeploymentStore,
    NewDeployment, NewRegistry, NewRun, Outcome, Progress, RegisteredRegistry, RegistryStore,
    RunClaim, RunOutcome, RunProgress, RunStore, StoreError, TargetQuery, TargetState, TokenStore,
    Unreadable,
};
use choreo_deploy::token::TokenRecord;
use jiff::Timestamp;

use crate::accept::Acceptance;
use crate::lock::{Lock, Sharing, canonical};
use crate::log::{Gate, Log};
use crate::opening::Opened;
use crate::reader::Readers;
use crate::signals::{Change, Signals};
use crate::writer::{Session, StartError, Writer};
use crate::{
    OpenError, accept, deployments, due, log, opening, registries, releases, run_work, runs,
    settings, targets, tokens, unreadable, work,
};

/// A store in an SQLite file.
///
/// Once a method returns `Ok`, its change is on the disk. A call that is dropped before it returns
/// may or may not take effect, like a request whose connection breaks.
///
/// ```
/// use choreo_deploy::store::DeploymentStore;
/// use choreo_deploy_sqlite::SqliteStore;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let directory = tempfile::tempdir()?;
/// let store = SqliteStore::open(directory.path().join("choreo.db")).await?;
/// store.ping().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    signals: Arc<Signals>,
    // The order matters: the writer closes the database last, which empties the log. Only then is
    // the file unlocked.
    readers: Readers,
    pub(crate) writer: Writer,
    _lock: Lock,
}

impl SqliteStore {
    /// Opens a database, and creates it if it does not exist. Only the owner can read a new file.
    ///
    /// Migrates an older schema, and ends the claims of earlier processes: because no other process
    /// has the file open, their workers have ended. So the work of a killed process continues at
    /// once, not after its lease. When the store is dropped, its threads finish their queues and
    /// end, and the file is unlocked.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_as(path.as_ref(), Sharing::Alone).await
    }

    /// Opens a database that other processes on this machine can open too, such as a server and the
    /// commands of its operator. All of them must use this method: a database that was opened with
    /// [`open`](Self::open) is never shared.
    ///
    /// The first process migrates the schema and ends claims as [`open`](Self::open) does. Later
    /// processes do neither, and return [`OpenError::Older`] for an older schema.
    ///
    /// All contracts apply among the processes, except that a process receives no notification of
    /// changes of another process. So [`changed`](DeploymentStore::changed),
    /// [`run_changed`](RunStore::run_changed) and [`new_work`](DeploymentStore::new_work) can wait
    /// although there is a change. Look at intervals as well, as the
    /// [`Deployer`](choreo_deploy::Deployer) does.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`].
    pub async fn open_shared(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_as(path.as_ref(), Sharing::Shared).await
    }

    /// Opens an existing database for reading, also while other processes have it open. Changes
    /// neither its schema nor its claims. Writes fail with
    /// [`Unavailable`](choreo_deploy::store::StoreErrorKind::Unavailable).
    ///
    /// Creates no lock file. If there is none, this store does not prevent a later process from
    /// opening the database.
    ///
    /// Use it for commands that only read. Look at intervals for changes of other processes.
    ///
    /// ```
    /// use choreo_deploy_sqlite::{OpenError, SqliteStore};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// # runtime.block_on(async {
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("choreo.db");
    /// let missing = SqliteStore::open_read_only(&file).await;
    /// assert!(matches!(missing, Err(OpenError::Missing(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`], including [`Missing`](OpenError::Missing) and
    /// [`Outdated`](OpenError::Outdated).
    pub async fn open_read_only(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_as(path.as_ref(), Sharing::ReadOnly).await
    }

    async fn open_as(path: &Path, sharing: Sharing) -> Result<Self, OpenError> {
        let path = canonical(path).map_err(|source| OpenError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::start(opening::open(path.clone(), sharing).await?, path).await
    }

    /// Opens a new file with a writer's connection that a test has changed.
    #[cfg(test)]
    pub(crate) async fn open_changed(
        path: &Path,
        change: impl FnOnce(&mut rusqlite::Connection),
    ) -> Result<Self, OpenError> {
        let (lock, mut connection) = opening::open(path.to_owned(), Sharing::Alone).await?;
        change(&mut connection);
        Self::start((lock, connection), path.to_owned()).await
    }

    async fn start((lock, connection): Opened, path: PathBuf) -> Result<Self, OpenError> {
        let signals = Arc::new(Signals::new());
        let gate = Gate::default();
        let log = Log::of(&path, gate.clone(), log::LIMIT);
        let writer = Writer::start(move || Ok(connection), Arc::clone(&signals), log).await;
        let writer = writer.map_err(|error| match error {
            StartError::Open(error) => error,
            StartError::Thread(source) => OpenError::Io {
                path: path.clone(),
                source,
            },
        })?;
        let readers = Readers::start(&path, &gate)?;
        Ok(Self {
            path,
            signals,
            readers,
            writer,
            _lock: lock,
        })
    }

    /// Returns the file as an absolute path without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finishes the queue, ends the store and unlocks the file. To drop the store does the same,
    /// but waits for the disk on the current thread, which other tasks may need.
    ///
    /// ```
    /// # use choreo_deploy_sqlite::SqliteStore;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// # runtime.block_on(async {
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("choreo.db");
    /// let store = SqliteStore::open(&file).await?;
    /// store.close().await;
    /// SqliteStore::open(&file).await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn close(self) {
        let (done, closed) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("choreo-sqlite-close".to_owned());
        // If the thread cannot start, the closure is dropped here, and with it the store.
        let _ = thread.spawn(move || {
            drop(self);
            drop(done);
        });
        let _ = closed.await;
    }
}

#[async_trait]
impl DeploymentStore for SqliteStore {
    async fn accept(&self, new: NewDeployment) -> Result<Accepted, AcceptError> {
        let new = Acceptance::of(new)?;
        Ok(self
            .writer
            .call(move |session| accept::accept(session, &new))
            .await?)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed, StoreError> {
        let request = request.clone();
        Ok(self
            .writer
            .call_first(move |session| due::claim(session, &request))
            .await?)
    }

    async fn renew(&self, claim: &Claim, until: Timestamp) -> Result<(), StoreError> {
        let claim = claim.clone();
        Ok(self
            .writer
            .call_first(move |session| targets::renew(session, &claim, until))
            .await?)
    }

    async fn record_release(
        &self,
        claim: &Claim,
        draft: ReleaseDraft,
        at: Timestamp,
    ) -> Result<Release, StoreError> {
        let claim = claim.clone();
        let record = move |session: &mut Session<'_>| {
            work::record_release(session, &claim, draft.clone(), at)
        };
        Ok(self.writer.call_first(record).await?)
    }

    async fn record_pin(&self, claim: &Claim, pin: DigestPin) -> Result<Release, StoreError> {
        let claim = claim.clone();
        Ok(self
            .writer
            .call_first(move |session| work::record_pin(session, &claim, &pin))
            .await?)
    }

    async fn put_back(&self, claim: &Claim, progress: Progress) -> Result<(), StoreError> {
        let claim = claim.clone();
        Ok(self
            .writer
            .call_first(move |session| work::put_back(session, &claim, progress.clone()))
            .await?)
    }

    async fn finish(&self, claim: &Claim, outcome: Outcome) -> Result<Deployment, StoreError> {
        let claim = claim.clone();
        Ok(self
            .writer
            .call_first(move |session| work::finish(session, &claim, outcome.clone()))
            .await?)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.readers.call(targets::next_due).await?)
    }

    async fn new_work(&self) {
        self.signals.work().await;
    }

    async fn deployment(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
    ) -> Result<Option<Deployment>, StoreError> {
        let id = id.clone();
        let found = self
            .readers
            .call(move |connection| deployments::one(connection, id.as_str()))
            .await?;
        Ok(found.filter(|found| found.target.organization == *organization))
    }

    async fn deployments(&self, query: &DeploymentQuery) -> Result<Vec<Deployment>, StoreError> {
        let mut wanted = deployments::limit(query);
        let (mut found, mut before) = (Vec::new(), None);
        // Pages keep a long list from blocking the log or another list.
        loop {
            let query = query.clone();
            let ask = move |connection: &_| deployments::page(connection, &query, wanted, before);
            let (page, last) = self.readers.scan(ask).await?;
            wanted -= page.len();
            found.extend(page);
            before = last;
            if wanted == 0 || before.is_none() {
                return Ok(found);
            }
        }
    }

    async fn changed(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
        since: u64,
    ) -> Result<Option<Deployment>, StoreError> {
        let mut changes = self.signals.watch(Change::Deployment(id.clone()));
        loop {
            match self.deployment(organization, id).await? {
                Some(found) if found.revision <= since => changes.changed().await?,
                found => return Ok(found),
            }
        }
    }

    async fn target(&self, target: &Target) -> Result<Option<TargetState>, StoreError> {
        let target = target.clone();
        let found = self
            .readers
            .call(move |connection| targets::find(connection, &target))
            .await?;
        Ok(found.map(|found| found.state))
    }

    async fn targets(&self, query: &TargetQuery) -> Result<Vec<TargetState>, StoreError> {
        let (mut all, mut after) = (Vec::new(), Some(targets::first(query)));
        // Pages keep a long list from blocking other reads.
        while let Some(place) = after {
            let wanted = query.limit.saturating_sub(all.len());
            if query.limit > 0 && wanted == 0 {
                break;
            }
            let query = query.clone();
            let ask = move |connection: &_| targets::page(connection, &query, (place, wanted));
            let (page, next) = self.readers.scan(ask).await?;
            all.extend(page);
            after = next;
        }
        Ok(all)
    }

    async fn forget_planes(
        &self,
        target: &Target,
        planes: &BTreeSet<DataPlaneId>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (target, planes) = (target.clone(), planes.clone());
        Ok(self
            .writer
            .call(move |session| targets::forget_planes(session, &target, &planes, at))
            .await?)
    }

    async fn release(
        &self,
        component: &ComponentKey,
        number: ReleaseNumber,
    ) -> Result<Option<Release>, StoreError> {
        let component = component.clone();
        Ok(self
            .readers
            .call(move |connection| releases::one(connection, &component, number))
            .await?)
    }

    async fn releases(
        &self,
        component: &ComponentKey,
        limit: usize,
    ) -> Result<Vec<Release>, StoreError> {
        let component = component.clone();
        let ask = move |connection: &_| releases::newest(connection, &component, limit);
        Ok(self.readers.scan(ask).await?)
    }

    async fn settings(
        &self,
        target: &Target,
        version: u64,
    ) -> Result<Option<Settings>, StoreError> {
        let target = target.clone();
        let ask = move |connection: &_| match targets::find(connection, &target)? {
            Some(target) => settings::one(connection, target.id, version),
            None => Ok(None),
        };
        Ok(self.readers.call(ask).await?)
    }

    async fn release_hold(&self, target: &Target, at: Timestamp) -> Result<bool, StoreError> {
        let target = target.clone();
        Ok(self
            .writer
            .call(move |session| targets::release_hold(session, &target, at))
            .await?)
    }

    async fn raise_epoch(&self, at: Timestamp) -> Result<u64, StoreError> {
        Ok(self
            .writer
            .call(move |session| targets::raise_epoch(session, at))
            .await?)
    }

    /// Reads every stored row, in pages. The cost grows with the number of rows, so use it for a
    /// check by an operator, not at every start.
    async fn unreadable(&self) -> Result<Vec<Unreadable>, StoreError> {
        let mut found = Vec::new();
        for table in unreadable::TABLES {
            let mut next = Some(0);
            while let Some(after) = next {
                let ask = move |connection: &_| table.page(connection, after);
                let (rows, end) = self.readers.scan(ask).await?;
                found.extend(rows);
                next = end;
            }
        }
        Ok(found)
    }

    /// Checks both the readers and the writer.
    async fn ping(&self) -> Result<(), StoreError> {
        self.readers.call(targets::next_due).await?;
        Ok(self.writer.call(|_| Ok(())).await?)
    }
}

#[async_trait]
impl RunStore for SqliteStore {
    async fn accept_run(&self, new: NewRun) -> Result<Run, AcceptError> {
        Ok(self
            .writer
            .call(move |session| runs::accept(session, &new))
            .await?)
    }

    async fn put_back_run(
        &self,
        claim: &RunClaim,
        progress: RunProgress,
    ) -> Result<(), StoreError> {
        let claim = claim.clone();
        Ok(self
            .writer
            .call_first(move |session| run_work::put_back(session, &claim, progress.clone()))
            .await?)
    }

    async fn finish_run(&self, claim: &RunClaim, outcome: RunOutcome) -> Result<Run, StoreError> {
        let claim = claim.clone();
        Ok(self
            .writer
            .call_first(move |session| run_work::finish(session, &claim, outcome.clone()))
            .await?)
    }

    async fn request_cancel(
        &self,
        organization: &OrganizationId,
        id: &RunId,
        at: Timestamp,
    ) -> Result<Run, StoreError> {
        let (organization, id) = (organization.clone(), id.clone());
        Ok(self
            .writer
            .call(move |session| runs::request_cancel(session, &organization, &id, at))
            .await?)
    }

    async fn run(
        &self,
        organization: &OrganizationId,
        id: &RunId,
    ) -> Result<Option<Run>, StoreError> {
        let id = id.clone();
        let found = self
            .readers
            .call(move |connection| runs::one(connection, &id))
            .await?;
        Ok(found.filter(|found| found.target.organization == *organization))
    }

    async fn runs(&self, target: &Target, limit: usize) -> Result<Vec<Run>, StoreError> {
        let target = target.clone();
        Ok(self
            .readers
            .scan(move |connection| runs::newest(connection, &target, limit))
            .await?)
    }

    async fn run_changed(
        &self,
        organization: &OrganizationId,
        id: &RunId,
        since: u64,
    ) -> Result<Option<Run>, StoreError> {
        let mut changes = self.signals.watch(Change::Run(id.clone()));
        loop {
            match self.run(organization, id).await? {
                Some(found) if found.revision <= since => changes.changed().await?,
                found => return Ok(found),
            }
        }
    }
}

#[async_trait]
impl TokenStore for SqliteStore {
    async fn issue_token(&self, token: TokenRecord) -> Result<(), StoreError> {
        Ok(self
            .writer
            .call(move |session| tokens::issue(session, &token))
            .await?)
    }

    async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError> {
        let id = id.clone();
        Ok(self
            .readers
            .call(move |connection| tokens::one(connection, &id))
            .await?)
    }

    async fn tokens(&self, component: &ComponentKey) -> Result<Vec<TokenRecord>, StoreError> {
        let component = component.clone();
        Ok(self
            .readers
            .scan(move |connection| tokens::all(connection, &component))
            .await?)
    }

    async fn revoke_token(
        &self,
        component: &ComponentKey,
        id: &TokenId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (component, id) = (component.clone(), id.clone());
        Ok(self
            .writer
            .call(move |session| tokens::revoke(session, &component, &id, at))
            .await?)
    }

    async fn touch_token(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError> {
        let id = id.clone();
        Ok(self
            .writer
            .call(move |session| tokens::touch(session, &id, at))
            .await?)
    }
}

#[async_trait]
impl RegistryStore for SqliteStore {
    async fn put_registry(
        &self,
        registry: NewRegistry,
        expected: Option<u64>,
    ) -> Result<RegisteredRegistry, StoreError> {
        let now = Timestamp::now();
        Ok(self
            .writer
            .call(move |session| registries::put(session, registry.clone(), expected, now))
            .await?)
    }

    async fn registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<Option<RegisteredRegistry>, StoreError> {
        let (organization, id) = (organization.clone(), id.clone());
        Ok(self
            .readers
            .call(move |connection| registries::one(connection, &organization, &id))
            .await?)
    }

    async fn registries(
        &self,
        organization: &OrganizationId,
    ) -> Result<Vec<RegisteredRegistry>, StoreError> {
        let organization = organization.clone();
        Ok(self
            .readers
            .scan(move |connection| registries::all(connection, &organization))
            .await?)
    }

    async fn remove_registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<bool, StoreError> {
        let (organization, id, now) = (organization.clone(), id.clone(), Timestamp::now());
        let remove =
            move |session: &mut Session<'_>| registries::remove(session, &organization, &id, now);
        Ok(self.writer.call(remove).await?)
    }
}

#[cfg(test)]
mod tests {
    use choreo_deploy::conformance::{example_image, example_target};
    use choreo_deploy::deployment::{RequestedImage, Subject};
    use choreo_deploy::store::StoreErrorKind;
    use tokio::task::JoinSet;

    use super::*;

    const TASKS: u64 = 64;
    const EACH: u64 = 20;

    fn new(number: u64) -> NewDeployment {
        let place = (
            example_target(&format!("component-{number}")),
            "eu-1".parse().unwrap(),
        );
        let subject = Subject::Image(Box::new(RequestedImage::new(example_image(1))));
        let times = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        NewDeployment::new(
            format!("d-{number}").parse().unwrap(),
            place,
            subject,
            times,
        )
    }

    /// Guards that 64 concurrent callers share commits. Usually dozens share one; the test requires
    /// four, because a slow machine may wake the callers one by one.
    #[tokio::test(flavor = "multi_thread")]
    async fn acceptances_share_their_commits() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("choreo.db"))
            .await
            .unwrap();
        let store = Arc::new(store);
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for number in 0..EACH {
                    store.accept(new(task * EACH + number)).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        let (accepted, commits) = (TASKS * EACH, store.writer.commits());
        println!("{accepted} acceptances in {commits} commits");
        assert!(
            commits * 4 < accepted,
            "{accepted} acceptances in {commits} commits"
        );
    }

    /// Guards that the connection in use has the durable settings, also after a commit.
    #[tokio::test]
    async fn every_commit_waits_for_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("choreo.db");
        for sharing in [Sharing::Alone, Sharing::Shared] {
            let store = SqliteStore::open_as(&file, sharing).await.unwrap();
            store.accept(new(sharing as u64)).await.unwrap();
            let ask = |session: &mut Session<'_>| {
                let ask = |name| {
                    session
                        .connection()
                        .pragma_query_value(None, name, |row| row.get(0))
                };
                Ok::<[i64; 2], _>([ask("synchronous")?, ask("fullfsync")?])
            };
            let set = store.writer.call(ask).await.unwrap();
            assert_eq!(set, [2, 1], "{sharing:?}: 2 is FULL");
        }
    }

    #[tokio::test]
    async fn who_waits_is_told_when_the_writer_ends() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("choreo.db"))
            .await
            .unwrap();
        let accepted = store.accept(new(1)).await.unwrap().deployment;
        let (organization, id) = (accepted.target.organization, accepted.id);
        let (waiting, ()) = tokio::join!(store.changed(&organization, &id, 1), async {
            tokio::task::yield_now().await;
            store.signals.close();
        });
        assert_eq!(waiting.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
}
