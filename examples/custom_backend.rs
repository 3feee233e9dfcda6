//! A backend of your own, tested with the conformance suite.
//!
//! The backend is a table in memory. It fulfills the contract of [`DeploymentBackend`] because one
//! lock makes each call atomic.
//!
//! ```sh
//! cargo run --example custom_backend
//! ```

use std::collections::BTreeMap;
use std::io::{Write as _, stdout};
use std::sync::Mutex;

use async_trait::async_trait;
use choreo_deploy::Target;
use choreo_deploy::backend::{
    BackendError as Error, BackendErrorKind as Kind, DeploymentBackend, Intent, LogReader, Pull,
    TaskRunner,
};
use choreo_deploy::conformance::{BackendClause, BackendFixture, block_on};
use choreo_deploy::deployment::Generation;
use choreo_deploy::rollout::{Rollout, RolloutPhase};

/// The order within a generation: a digest comes after a tag, and taking the generation back comes last.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
enum Rank {
    #[default]
    ByTag,
    ByDigest,
    TakenBack,
}

type Place = (Generation, Rank);

/// The newest place of each target, and its image unless it was removed.
#[derive(Debug, Default)]
struct Table(Mutex<BTreeMap<Target, (Place, Option<String>)>>);

impl Table {
    /// Changes a target, unless a newer change is stored.
    fn change(
        &self,
        target: &Target,
        at: Place,
        to: impl FnOnce(Option<String>) -> Result<Option<String>, Error>,
    ) -> Result<(), Error> {
        let mut table = self.0.lock().expect("nobody panics under the lock");
        let (newest, image) = table.get(target).cloned().unwrap_or_default();
        if at < newest {
            return Err(Error::new(
                Kind::Stale,
                "change",
                "a newer generation is stored",
            ));
        }
        table.insert(target.clone(), (at, to(image)?));
        Ok(())
    }
}

#[async_trait]
impl DeploymentBackend for Table {
    async fn apply(&self, new: &Intent<'_>) -> Result<(), Error> {
        new.pull.unless_as_before("apply")?;
        let image = new.release.image.deployed();
        let is_pinned = image.digest().is_some();
        let rank = if is_pinned {
            Rank::ByDigest
        } else {
            Rank::ByTag
        };
        let at = (new.generation, rank);
        self.change(new.target, at, |_| Ok(Some(image.to_string())))
    }
    async fn observe(&self, target: &Target) -> Result<Rollout, Error> {
        let table = self.0.lock().expect("nobody panics under the lock");
        let rollout = |((at, _), image): &(Place, Option<_>)| match image {
            None => Rollout::new(*at, RolloutPhase::Absent),
            Some(_) => Rollout::new(*at, RolloutPhase::Ready),
        };
        Ok(table.get(target).map_or_else(Rollout::absent, rollout))
    }
    async fn settle(&self, target: &Target, at: Generation) -> Result<(), Error> {
        self.change(target, (at, Rank::ByDigest), Ok)
    }
    async fn take_back(
        &self,
        target: &Target,
        at: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), Error> {
        let image = before.map(|before| before.release.image.deployed().to_string());
        self.change(target, (at, Rank::TakenBack), |_| Ok(image))
    }
    async fn update_pull_secret(
        &self,
        target: &Target,
        at: Generation,
        pull: &Pull<'_>,
    ) -> Result<(), Error> {
        pull.unless_as_before("update")?;
        let nothing = || Error::new(Kind::NotFound, "update", "nothing runs");
        self.change(target, (at, Rank::TakenBack), |image| {
            Ok(Some(image.ok_or_else(nothing)?))
        })
    }
    async fn remove(&self, target: &Target, at: Generation) -> Result<(), Error> {
        self.change(target, (at, Rank::ByDigest), |_| Ok(None))
    }
    fn tasks(&self) -> Option<&dyn TaskRunner> {
        None
    }
    fn logs(&self) -> Option<&dyn LogReader> {
        None
    }
}

/// Runs every clause. The first broken one panics with its sentence.
fn main() {
    block_on(async {
        let fixture = BackendFixture::new(Table::default());
        let told = |clause| writeln!(stdout(), "{clause}").expect("standard output is writable");
        BackendClause::all(&fixture, told).await;
    });
    writeln!(stdout(), "custom_backend: ok").expect("standard output is writable");
}

// The same suite with one test for each clause: `cargo test --example custom_backend`.
#[cfg(test)]
mod tests {
    use super::*;

    choreo_deploy::backend_conformance!(async { BackendFixture::new(Table::default()) });
}
