//! Guards the number of requests of a deployment, compared with the minimum.

use std::time::Duration;

use choreo_deploy::Target;
use choreo_deploy::backend::{DeploymentBackend, Intent};
use choreo_deploy::deployment::Generation;
use choreo_deploy::release::Release;
use choreo_deploy::rollout::RolloutPhase;
use choreo_test_registry::TestRegistry;

use crate::cluster::{self, Backend, example, push, quick, release, say, service};
use crate::recording::{Call, Recording};

/// The objects of a Service with one copy and no pull secret: a ServiceAccount, a Service and a
/// Deployment.
const OBJECTS: usize = 3;

struct Counted {
    backend: Backend,
    recording: Recording,
    target: Target,
}

/// The requests of one deployment.
#[derive(Debug)]
struct Count {
    apply: Vec<Call>,
    one_look: usize,
    settle: usize,
}

impl Counted {
    async fn deploy(&self, number: u64, release: &Release) -> Count {
        let generation = Generation::new(0, number);
        let intent = Intent::new(&self.target, generation, release);
        self.recording.take();
        self.backend.apply(&intent).await.expect("it is applied");
        let apply = self.recording.take();
        for _ in 0..400 {
            let rollout = self.backend.observe(&self.target).await.expect("a look");
            if rollout.phase == RolloutPhase::Ready {
                break;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        self.recording.take();
        let rollout = self.backend.observe(&self.target).await.expect("a look");
        assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
        assert_eq!(rollout.generation, Some(generation));
        let one_look = self.recording.take().len();
        let settled = self.backend.settle(&self.target, generation).await;
        settled.expect("it settles");
        let settle = self.recording.take().len();
        Count {
            apply,
            one_look,
            settle,
        }
    }
}

impl Count {
    fn writes(&self) -> usize {
        self.apply.iter().filter(|call| call.writes()).count()
    }

    /// Asserts the number of writes. There may be a few more if Kubernetes has written the status of
    /// the Deployment after it was read.
    #[track_caller]
    fn expect(&self, writes: usize) {
        let few = writes..=writes + 3;
        assert!(few.contains(&self.writes()), "{writes} writes: {self:?}");
    }

    fn say(&self, what: &str, fewest: usize) {
        let reads = self.apply.iter().filter(|call| !call.writes()).count();
        say(&format!(
            "{what}: {reads} reads and {} writes to apply (at least {fewest}), {} a look, {} to settle",
            self.writes(),
            self.one_look,
            self.settle
        ));
    }
}

/// Guards that a deployment takes few requests, and that one without changes writes only the
/// anchor, whose generation rejects older ones.
#[tokio::test]
async fn a_deployment_that_changes_nothing_writes_only_the_anchor() {
    let Some(config) = cluster::config().await else {
        return;
    };
    let registry = TestRegistry::builder().start().await.expect("it starts");
    let releases = ["1", "2"].map(|tag| release(service(&[]), &push(&registry, tag, "10001")));
    let recording = Recording::default();
    let client = recording.client(config.clone());
    let counted = Counted {
        backend: Backend::over(client, config, quick()).with_registry(registry),
        recording,
        target: example("requests"),
    };
    let [one, two] = &releases;
    // Another target creates the namespace.
    let namespace = Counted {
        target: example("neighbour"),
        ..counted
    };
    namespace.deploy(1, one).await;
    let counted = Counted {
        target: example("requests"),
        ..namespace
    };

    let first = counted.deploy(1, one).await;
    first.say("first", OBJECTS);
    // Each object is reserved before it is written, and the anchor is written before and after.
    first.expect(2 * OBJECTS + 2);
    assert_eq!(first.settle, 1, "{first:?}");
    let another = counted.deploy(2, two).await;
    another.say("another image", 1);
    another.expect(OBJECTS + 2);
    let same = counted.deploy(3, two).await;
    same.say("the same again", 0);
    assert_eq!(same.writes(), 1, "{same:?}");
    assert_eq!(
        same.apply.last().map(|call| call.resource.as_str()),
        Some("/configmaps")
    );

    // The control: a change by another client is overwritten.
    let change = serde_json::json!({ "spec": { "replicas": 0 } });
    counted
        .backend
        .merge(&counted.target, "deployments", &change)
        .await;
    let repaired = counted.deploy(4, two).await;
    repaired.expect(OBJECTS + 2);
    let live = counted.backend.list(&counted.target, "deployments").await;
    assert_eq!(live[0]["spec"]["replicas"], 1);
}
