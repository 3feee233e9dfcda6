use std::fmt;
use std::future::Future;

use async_trait::async_trait;
use choreo_deploy::Target;
use choreo_deploy::backend::{
    BackendError, BackendErrorKind, DeploymentBackend, Intent, LogLine, LogQuery, LogReader, Pull,
    RunIntent, TaskRunner,
};
use choreo_deploy::deployment::Generation;
use choreo_deploy::id::RunId;
use choreo_deploy::rollout::{Rollout, RunStatus};

use crate::anchor::{ATTEMPTS, Anchors, Held};
use crate::apply::Writer;
use crate::cluster::{Cluster, Live, Written};
use crate::error;
use crate::kind::{Kind, ObjectId};
use crate::labels::{self, ROLE_SCHEDULE, ROLE_SERVER};
use crate::log;
use crate::manifest::{self, Object, namespace_object, namespace_of, render, render_run};
use crate::name;
use crate::policy::Policy;
use crate::shape::stamped;
use crate::stamp::Stamp;
use crate::status::{Seen, jobs_of, judge, workload_kind};
use crate::task::Runs;
use crate::{events, trial};

const TAKE_BACK: &str = "take back";

/// A Kubernetes cluster as a data plane.
///
/// Takes your [`kube::Client`], so you configure certificates, proxies and identities there. Cheap
/// to clone, and without state: all state is in the cluster.
///
/// ```no_run
/// use choreo_deploy_kubernetes::{KubernetesBackend, Policy};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = kube::Client::try_default().await?;
/// let backend = KubernetesBackend::new(client, Policy::default());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KubernetesBackend {
    client: kube::Client,
    policy: Policy,
}

impl KubernetesBackend {
    /// Creates a backend from a client and the operator's policy.
    #[must_use]
    pub fn new(client: kube::Client, policy: Policy) -> Self {
        Self { client, policy }
    }

    /// Returns the operator's policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    fn namespace(&self, target: &Target, operation: &'static str) -> Result<String, BackendError> {
        namespace_of(target, &self.policy, operation)
    }

    fn cluster<'a>(&'a self, namespace: &'a str, operation: &'static str) -> Cluster<'a> {
        Cluster {
            client: &self.client,
            namespace,
            operation,
        }
    }

    /// Limits a whole call, because the client itself retries for many minutes.
    async fn within<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, BackendError>> + Send,
    ) -> Result<T, BackendError> {
        let limit = self.policy.timing.call();
        match tokio::time::timeout(limit, call).await {
            Ok(result) => result,
            Err(_) => Err(error::timeout(operation, limit)),
        }
    }

    async fn apply_objects(
        &self,
        intent: &Intent<'_>,
        objects: Vec<Object>,
        operation: &'static str,
    ) -> Result<(), BackendError> {
        let namespace = self.namespace(intent.target, operation)?;
        let cluster = self.cluster(&namespace, operation);
        self.ensure_namespace(&cluster, intent.target).await?;
        let objects: Vec<Object> = objects
            .into_iter()
            .filter(|object| object.id().kind != Kind::Namespace)
            .collect();
        let writer = Writer {
            cluster: &cluster,
            target: intent.target,
            stamp: Stamp::of(intent),
        };
        let pull_secret = manifest::pull_secret_name(intent);
        writer.apply(&objects, &pull_secret).await
    }

    /// Restores the state of an intent, or stops the target. The objects are rendered already
    /// unless the intent pulls as before.
    async fn take_objects_back(
        &self,
        (target, generation): (&Target, Generation),
        before: Option<&Intent<'_>>,
        rendered: Option<Vec<Object>>,
    ) -> Result<(), BackendError> {
        let namespace = self.namespace(target, TAKE_BACK)?;
        let cluster = self.cluster(&namespace, TAKE_BACK);
        // The anchor needs a namespace.
        self.ensure_namespace(&cluster, target).await?;
        let writer = Writer {
            cluster: &cluster,
            target,
            stamp: Stamp::taking_back(generation),
        };
        let Some(before) = before else {
            return writer.stop().await;
        };
        let (mut objects, pull_secret) = match rendered {
            Some(objects) => (objects, manifest::pull_secret_name(before).into_owned()),
            None => {
                let pull_secret = writer.ready_pull_secret().await?;
                let objects = manifest::render_as_before(before, &self.policy, &pull_secret)?;
                (objects, pull_secret)
            }
        };
        objects.retain(|object| object.id().kind != Kind::Namespace);
        writer.bring_back(&objects, &pull_secret).await
    }

    /// Creates the namespace, or checks its owner and restores the labels that it enforces.
    async fn ensure_namespace(
        &self,
        cluster: &Cluster<'_>,
        target: &Target,
    ) -> Result<(), BackendError> {
        if !self.policy.namespaces.are_created() {
            return Ok(());
        }
        let wanted = namespace_object(target, &self.policy, cluster.namespace);
        for _ in 0..ATTEMPTS {
            let live = cluster.get(wanted.id()).await?;
            if let Some(live) = &live {
                self.judge_namespace(cluster, target, live)?;
                if has_labels_of(live, &wanted) {
                    return Ok(());
                }
            }
            let sent = wanted.sent();
            if let Written::Done(_) = cluster.apply(wanted.id(), sent, live.as_ref()).await? {
                return Ok(());
            }
        }
        let message = format!(
            "namespace {:?} keeps changing: retry the call",
            cluster.namespace
        );
        Err(cluster.failed(BackendErrorKind::Conflict, message))
    }

    fn judge_namespace(
        &self,
        cluster: &Cluster<'_>,
        target: &Target,
        live: &Live,
    ) -> Result<(), BackendError> {
        if live.is_ending() {
            let message = format!(
                "namespace {:?} is being deleted: retry the call",
                cluster.namespace
            );
            return Err(cluster.failed(BackendErrorKind::Conflict, message));
        }
        let ours = labels::namespace_identity(target);
        if ours
            .iter()
            .all(|(key, value)| live.label(key) == Some(value))
        {
            return Ok(());
        }
        let message = format!(
            "namespace {:?} exists and belongs to another owner: remove it",
            cluster.namespace
        );
        Err(cluster.failed(BackendErrorKind::Refused, message))
    }

    async fn see(
        &self,
        cluster: &Cluster<'_>,
        target: &Target,
        held: &Held,
    ) -> Result<Seen, BackendError> {
        let Some(kind) = workload_kind(&held.anchor) else {
            return Ok(Seen::default());
        };
        let id = ObjectId::new(kind, name::object(target));
        let of_role = |role| labels::query(&labels::selector(target, role));
        // The workload is read first, so that what is read after it is at least as new.
        let (workload, now) = cluster.get_dated(&id).await?;
        let (replica_sets, jobs, pods) = if kind == Kind::Deployment {
            let role = of_role(ROLE_SERVER);
            let sets = cluster.list(Kind::ReplicaSet, &role);
            let (sets, pods) = tokio::try_join!(sets, cluster.list(Kind::Pod, &role))?;
            (sets, Vec::new(), pods)
        } else {
            let role = of_role(ROLE_SCHEDULE);
            let jobs = cluster.list(Kind::Job, &role);
            let (jobs, pods) = tokio::try_join!(jobs, cluster.list(Kind::Pod, &role))?;
            (Vec::new(), jobs, pods)
        };
        let kept = held.anchor.kept(held.written_at());
        let refusal = match &workload {
            Some(cron_job)
                if kind == Kind::CronJob && jobs_of(cron_job, &jobs, kept).next().is_none() =>
            {
                trial::refusal(cluster, cron_job).await
            }
            _ => None,
        };
        Ok(Seen {
            events: events::read(cluster, &pods, now).await,
            workload,
            replica_sets,
            jobs,
            pods,
            refusal,
            claimed: held.written_at(),
            now,
        })
    }

    async fn look(&self, target: &Target) -> Result<Rollout, BackendError> {
        let namespace = self.namespace(target, "observe")?;
        let cluster = self.cluster(&namespace, "observe");
        let anchors = Anchors {
            cluster: &cluster,
            target,
        };
        let Some(held) = anchors.load().await? else {
            return Ok(Rollout::absent());
        };
        let seen = self.see(&cluster, target, &held).await?;
        let mut verdict = judge(&held.anchor, &seen);
        if let Some(crash) = &verdict.crash {
            log::explain(&cluster, &mut verdict.status.reasons, crash).await;
        }
        Ok(verdict.status)
    }

    async fn replace_pull_secret(
        &self,
        target: &Target,
        generation: Generation,
        pull: &Pull<'_>,
    ) -> Result<(), BackendError> {
        const OPERATION: &str = "update pull secret";
        pull.unless_as_before(OPERATION)?;
        let namespace = self.namespace(target, OPERATION)?;
        let cluster = self.cluster(&namespace, OPERATION);
        let anchors = Anchors {
            cluster: &cluster,
            target,
        };
        for _ in 0..ATTEMPTS {
            // The Secret is read first, then the anchor: see the rules in `apply`.
            let id = ObjectId::new(Kind::Secret, name::pull_secret(target));
            let live = cluster.get(&id).await?;
            let anchor = anchors
                .read()
                .await?
                .filter(|anchor| !anchor.state.is_removal());
            let anchor = anchor.ok_or_else(|| {
                cluster.failed(
                    BackendErrorKind::NotFound,
                    "nothing is deployed to the target",
                )
            })?;
            // A credential is also replaced if the generation was taken back.
            if anchor.generation > generation {
                return Err(cluster.stale(Stamp::new(generation), anchor.stamp()));
            }
            let secret = manifest::pull_secret(&self.policy, target, (anchor.generation, pull))?;
            let Some((secret, live)) = secret.zip(live.filter(|live| live.belongs_to(target)))
            else {
                return self.nothing_to_replace(&cluster, pull);
            };
            let sent = stamped(&secret, anchor.stamp());
            if let Written::Done(_) = cluster.apply(&id, sent, Some(&live)).await? {
                return Ok(());
            }
        }
        let message = "the pull secret keeps changing while it is written: retry the call";
        Err(cluster.failed(BackendErrorKind::Conflict, message))
    }

    /// A pull secret cannot be added or removed without new pods, because pods name it.
    fn nothing_to_replace(
        &self,
        cluster: &Cluster<'_>,
        pull: &Pull<'_>,
    ) -> Result<(), BackendError> {
        if !matches!(pull, Pull::Secret(_)) {
            return Ok(());
        }
        let message = "the target is applied without a pull secret: apply it with one";
        Err(cluster.failed(BackendErrorKind::Refused, message))
    }
}

fn has_labels_of(live: &Live, wanted: &Object) -> bool {
    let labels = wanted.manifest()["metadata"]["labels"].as_object();
    labels
        .into_iter()
        .flatten()
        .all(|(key, value)| live.label(key) == value.as_str())
}

#[async_trait]
impl DeploymentBackend for KubernetesBackend {
    #[tracing::instrument(skip_all, fields(target = %intent.target, generation = %intent.generation), err(level = "debug"))]
    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        let objects = render(intent, &self.policy)?;
        self.within("apply", self.apply_objects(intent, objects, "apply"))
            .await
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        self.within("observe", self.look(target)).await
    }

    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        let namespace = self.namespace(target, "settle")?;
        let cluster = self.cluster(&namespace, "settle");
        let writer = Writer {
            cluster: &cluster,
            target,
            stamp: Stamp::new(generation),
        };
        self.within("settle", writer.settle()).await
    }

    #[tracing::instrument(skip_all, fields(%target, %generation), err(level = "debug"))]
    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        let rendered = before
            .filter(|before| !matches!(before.pull, Pull::AsBefore))
            .map(|before| render(before, &self.policy))
            .transpose()?;
        let call = self.take_objects_back((target, generation), before, rendered);
        self.within(TAKE_BACK, call).await
    }

    async fn update_pull_secret(
        &self,
        target: &Target,
        generation: Generation,
        pull: &Pull<'_>,
    ) -> Result<(), BackendError> {
        let call = self.replace_pull_secret(target, generation, pull);
        self.within("update pull secret", call).await
    }

    #[tracing::instrument(skip_all, fields(%target, %generation), err(level = "debug"))]
    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        let namespace = self.namespace(target, "remove")?;
        let cluster = self.cluster(&namespace, "remove");
        let writer = Writer {
            cluster: &cluster,
            target,
            stamp: Stamp::new(generation),
        };
        let call = async {
            // The anchor needs a namespace.
            self.ensure_namespace(&cluster, target).await?;
            writer.remove().await
        };
        self.within("remove", call).await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        Some(self)
    }
}

#[async_trait]
impl TaskRunner for KubernetesBackend {
    #[tracing::instrument(skip_all, fields(target = %run.intent.target, run = %run.run), err(level = "debug"))]
    async fn start(&self, run: &RunIntent<'_>) -> Result<(), BackendError> {
        let job = render_run(run, &self.policy)?;
        let target = run.intent.target;
        let namespace = self.namespace(target, "start run")?;
        let cluster = self.cluster(&namespace, "start run");
        let runs = Runs {
            cluster: &cluster,
            target,
        };
        self.within("start run", runs.start(run, &job)).await
    }

    async fn observe_run(&self, target: &Target, run: &RunId) -> Result<RunStatus, BackendError> {
        let namespace = self.namespace(target, "observe run")?;
        let cluster = self.cluster(&namespace, "observe run");
        self.within(
            "observe run",
            Runs {
                cluster: &cluster,
                target,
            }
            .observe(run),
        )
        .await
    }

    async fn cancel_run(&self, target: &Target, run: &RunId) -> Result<(), BackendError> {
        let namespace = self.namespace(target, "cancel run")?;
        let cluster = self.cluster(&namespace, "cancel run");
        self.within(
            "cancel run",
            Runs {
                cluster: &cluster,
                target,
            }
            .cancel(run),
        )
        .await
    }
}

#[async_trait]
impl LogReader for KubernetesBackend {
    async fn tail(&self, target: &Target, query: &LogQuery) -> Result<Vec<LogLine>, BackendError> {
        let namespace = self.namespace(target, "read logs")?;
        let cluster = self.cluster(&namespace, "read logs");
        self.within("read logs", log::tail(&cluster, target, query))
            .await
    }
}

impl fmt::Debug for KubernetesBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesBackend")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
