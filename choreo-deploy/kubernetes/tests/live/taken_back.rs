//! Guards that the record of a failed deployment matches the cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use choreo_deploy::backend::{DeploymentBackend, DeploymentBackendExt, Intent};
use choreo_deploy::deployer::RollbackRequest;
use choreo_deploy::deployment::{Deployment, Generation, Phase};
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::release::{Release, ReleaseNumber};
use choreo_deploy::rollout::RolloutPhase;
use choreo_deploy::settings::Settings;
use choreo_deploy::workload::{self, Endpoint, KeyReference, ProgressDeadline, Protocol, Scaling};
use choreo_deploy::{Deployer, Intake as _, Target};
use choreo_test_registry::TestRegistry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cluster::{self, Backend, example, push, quick, release, say, service};
use crate::control::{Control, codes, ended, submit};
use crate::slow_link::SlowLink;

/// Returns a Service with one endpoint of this name.
fn named(endpoint: &str, args: &[&str]) -> workload::Service {
    let mut service = service(args);
    let port = 8080.try_into().unwrap();
    service.endpoints = Endpoint::new(endpoint.parse().unwrap(), port, Protocol::Http).into();
    service
}

/// Returns a Service that is never ready, with a progress deadline of 10 s.
fn never_ready() -> workload::Service {
    let mut service = service(&["wait"]);
    service.progress_deadline = ProgressDeadline::from_seconds(10);
    service
}

/// Sends 20 requests a second to the Service of a target.
///
/// The test has no kube-proxy, so each request follows its route: the port of the Service by its
/// number, the name of that port in the EndpointSlices, and a ready endpoint there. A missing
/// endpoint is a failure, and so is a response other than 200.
struct Traffic {
    stop: Arc<AtomicBool>,
    sending: tokio::task::JoinHandle<(usize, Vec<String>)>,
}

impl Traffic {
    fn to(backend: Arc<Backend>, target: Target) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let sending = tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_millis(50));
            let mut requests = tokio::task::JoinSet::new();
            while !stopped.load(Ordering::SeqCst) {
                every.tick().await;
                let (backend, target) = (backend.clone(), target.clone());
                requests.spawn(async move { request(&backend, &target).await });
            }
            let results = requests.join_all().await;
            let sent = results.len();
            (sent, results.into_iter().filter_map(Result::err).collect())
        });
        Self { stop, sending }
    }

    /// Returns the number of requests, and the errors of those that failed.
    async fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        self.sending.await.unwrap()
    }
}

/// Sends a request to port 8080 of the Service of a target, or to its replacement.
async fn request(backend: &Backend, target: &Target) -> Result<(), String> {
    let services = backend.list(target, "services").await;
    let service = services.first().ok_or("there is no Service")?;
    let ports = service["spec"]["ports"].as_array().ok_or("no ports")?;
    let port = ports
        .iter()
        .find(|port| port["port"] == 8080 || port["port"] == 9090);
    let name = &port.ok_or("the Service has no such port")?["name"];
    let slices = backend.list(target, "endpointslices").await;
    let address = usable(&slices, name);
    let (host, port) = address.ok_or_else(|| format!("no usable endpoint: {slices:?}"))?;
    let answer = async {
        let mut stream = TcpStream::connect((host.as_str(), port)).await?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match tokio::time::timeout(Duration::from_secs(5), answer).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200 ") => Ok(()),
        other => Err(format!("{host}:{port}: {other:?}")),
    }
}

/// Returns a ready endpoint with a port of this name. If there are several, it alternates between
/// them.
fn usable(slices: &[Value], name: &Value) -> Option<(String, u16)> {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let of_slice = |slice: &Value| {
        let ports = slice["ports"].as_array()?;
        let port = ports.iter().find(|port| port["name"] == *name)?;
        let port = port["port"].as_u64()?.try_into().ok()?;
        let endpoints = slice["endpoints"].as_array()?.iter();
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        let addresses = ready.filter_map(|endpoint| endpoint["addresses"][0].as_str());
        Some(addresses.map(|a| (a.to_owned(), port)).collect())
    };
    let all: Vec<Vec<(String, u16)>> = slices.iter().filter_map(of_slice).collect();
    let all = all.concat();
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    all.get(turn % all.len().max(1)).cloned()
}

/// The earlier pods have no port with the new name, so a renamed port of the Service would exclude
/// them.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_endpoint_with_a_crashing_image_fails_no_request() {
    let Some(control) = Control::new().await else {
        return;
    };
    let target = example("renamed");
    let image = push(&control.registry, "1", "10001");
    let good = control.deploy("renamed", named("http", &[]), &image).await;
    assert_eq!(good.phase, Phase::Ready, "{good:?}");
    let before = control.backend.list(&target, "services").await[0]["spec"].clone();
    let traffic = Traffic::to(control.backend.clone(), target.clone());
    let crashing = named("api", &["crash", "cannot open the ledger", "7"]);
    let failed = control.deploy("renamed", crashing, &image).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (sent, failures) = traffic.end().await;
    assert_eq!(failed.phase, Phase::Failed, "{failed:?}");
    assert_eq!(
        codes(&failed),
        [ReasonCode::ContainerCrashed, ReasonCode::TakenBack]
    );
    say(&format!(
        "{sent} requests while a renamed endpoint was deployed with a crashing image: {} failed",
        failures.len()
    ));
    assert!(sent > 20 * 20, "{sent} requests are not 20 a second");
    assert_eq!(failures, [] as [String; 0]);
    let after = control.backend.list(&target, "services").await[0]["spec"].clone();
    assert_eq!(after, before, "the Service is as it was");
    let names = |pods: Vec<(String, Value)>| pods.into_iter().map(|(_, args)| args);
    let args: Vec<Value> = names(control.pods(&target).await).collect();
    assert_eq!(args, [Value::Null], "what was ready runs, and nothing else");

    let renamed = control.deploy("renamed", named("api", &[]), &image).await;
    assert_eq!(renamed.phase, Phase::Ready, "{renamed:?}");
    let after = &control.backend.list(&target, "services").await[0]["spec"];
    assert_eq!(after["ports"][0]["name"], "api", "it is renamed once ready");
}

/// The Service selects the new pods as soon as they are ready, and they serve another number than the
/// earlier ones.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_number_changes_fails_no_request() {
    let Some(config) = cluster::config().await else {
        return;
    };
    let mut policy = quick();
    // Both are ready for a while, and a terminating pod serves until its address is removed from
    // the slices.
    policy.timing.min_ready_seconds = 4;
    policy.timing.pre_stop_seconds = 4;
    let registry = TestRegistry::builder().start().await.expect("a registry");
    let image = push(&registry, "1", "10001");
    let backend = Arc::new(Backend::new(config, policy));
    let target = example("renumbered");
    let serving = |port: u16| {
        let number = port.to_string();
        let mut service = service(&["serve", &number]);
        let (name, port) = ("http".parse().unwrap(), port.try_into().unwrap());
        service.endpoints = Endpoint::new(name, port, Protocol::Http).into();
        release(service, &image)
    };
    let deploy = async |number: u64, release: &Release| {
        let generation = Generation::new(0, number);
        let intent = Intent::new(&target, generation, release);
        backend.apply(&intent).await.unwrap();
        let every = Duration::from_millis(300);
        let ready = backend.watch_until_settled(&target, generation, every);
        assert_eq!(ready.await.unwrap().phase, RolloutPhase::Ready);
        backend.settle(&target, generation).await.unwrap();
    };
    deploy(1, &serving(8080)).await;
    let traffic = Traffic::to(backend.clone(), target.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    deploy(2, &serving(9090)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (sent, failures) = traffic.end().await;
    say(&format!(
        "{sent} requests while the number of an endpoint changed: {} failed",
        failures.len()
    ));
    assert_eq!(failures, [] as [String; 0]);
    let service = &backend.list(&target, "services").await[0];
    let ports = service["spec"]["ports"].as_array().unwrap();
    let numbers: Vec<_> = ports
        .iter()
        .map(|p| (&p["port"], &p["targetPort"]))
        .collect();
    assert_eq!(numbers, [(&json!(9090), &json!(9090))]);
}

/// An External Secret may be created after the deployment has failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_arrives_after_the_failure_brings_nothing_to_life() {
    let Some(control) = Control::new().await else {
        return;
    };
    let image = push(&control.registry, "1", "10001");
    let mut needs_secret = service(&[]);
    let key = KeyReference::Secret {
        name: "too-late".to_owned(),
        key: "password".to_owned(),
    };
    let variable = "PASSWORD".parse().unwrap();
    let from = workload::Value::From(key);
    needs_secret.container.variables.insert(variable, from);
    let (first, second) = (example("first"), example("second"));
    let ready = control.deploy("second", service(&[]), &image).await;
    assert_eq!(ready.phase, Phase::Ready, "{ready:?}");
    let pods = control.backend.list(&second, "pods").await;
    let failures = tokio::join!(
        control.deploy("first", needs_secret.clone(), &image),
        control.deploy("second", needs_secret, &image),
    );
    for failed in [&failures.0, &failures.1] {
        assert_eq!(
            (failed.phase, codes(failed)),
            (
                Phase::Failed,
                vec![ReasonCode::ConfigurationMissing, ReasonCode::TakenBack]
            )
        );
    }
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "too-late" },
        "stringData": { "password": "x" },
    });
    // Both components are in one namespace.
    control.backend.create(&first, "secrets", &object).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(control.pods(&first).await, [], "nothing was ready before");
    let look = control.backend.observe(&first).await.unwrap();
    assert_eq!(look.phase, RolloutPhase::Absent, "{look:?}");
    let uid = |pods: &[Value]| -> Vec<Value> {
        let uids = pods.iter().map(|pod| pod["metadata"]["uid"].clone());
        uids.collect()
    };
    let now = control.backend.list(&second, "pods").await;
    assert_eq!(uid(&now), uid(&pods), "the pods before go on, unrestarted");
}

/// Guards that the autoscaler gets the changed range only when the new pods are ready.
#[tokio::test]
async fn the_autoscaler_of_what_is_ready_stays_until_the_new_pods_are_ready() {
    let Some(config) = cluster::config().await else {
        return;
    };
    let backend = Backend::new(config, quick());
    let registry = TestRegistry::builder().start().await.expect("a registry");
    let image = push(&registry, "1", "10001");
    let (target, plural) = (example("ranged"), "horizontalpodautoscalers");
    let range = |most: u16| {
        let range = Scaling::range(1.try_into().unwrap(), most.try_into().unwrap(), 80);
        Settings::default().with_scaling(range.unwrap())
    };
    let (three, four) = (range(3), range(4));
    let (good, stuck) = (
        release(service(&[]), &image),
        release(never_ready(), &image),
    );
    let at = |number| Generation::new(0, number);
    let before = Intent::new(&target, at(1), &good).with_settings(&three);
    backend.apply(&before).await.unwrap();
    let every = Duration::from_millis(300);
    let ready = backend.watch_until_settled(&target, at(1), every).await;
    assert_eq!(ready.unwrap().phase, RolloutPhase::Ready);
    let autoscaler = async || {
        let found = backend.list(&target, plural).await;
        let found = found.first().expect("there is an autoscaler");
        (
            found["metadata"]["uid"].clone(),
            found["spec"]["maxReplicas"].clone(),
        )
    };
    let first = autoscaler().await;
    assert_eq!(first.1, 3);
    let failing = Intent::new(&target, at(2), &stuck).with_settings(&four);
    backend.apply(&failing).await.unwrap();
    assert_eq!(autoscaler().await, first, "it is the one before");
    let back = Intent::new(&target, at(2), &good).with_settings(&three);
    backend
        .take_back(&target, at(2), Some(&back))
        .await
        .unwrap();
    assert_eq!(autoscaler().await, first, "it never was another");
    let next = Intent::new(&target, at(3), &good).with_settings(&four);
    backend.apply(&next).await.unwrap();
    let ready = backend.watch_until_settled(&target, at(3), every).await;
    assert_eq!(ready.unwrap().phase, RolloutPhase::Ready);
    backend.settle(&target, at(3)).await.unwrap();
    assert_eq!(autoscaler().await.1, 4);
}

/// Guards against a rollout without an end: Kubernetes does not apply the deadline to a Deployment
/// that was already complete without copies.
///
/// The measured time is that from the first observation after the apply to the verdict. The apply and
/// the take-back take additional time.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_deployment_over_a_slow_link_ends_at_its_progress_deadline() {
    let Some(mut config) = cluster::config().await else {
        return;
    };
    let link = SlowLink::to(&config, Duration::from_millis(25)).await;
    config.cluster_url = link.url();
    let control = Control::over(config).await;
    let image = push(&control.registry, "1", "10001");
    let mut workload = never_ready();
    workload.progress_deadline = ProgressDeadline::from_seconds(60);
    let deployer = control.deployer(&["slow"], workload);
    let began = Instant::now();
    let accepted = submit(&deployer, "slow", &image).await;
    let component = accepted.target.component_key();
    let until = async |is_so: &dyn Fn(&Deployment) -> bool| {
        loop {
            let found = deployer.get(&component, &accepted.id).await;
            if is_so(&found.unwrap().unwrap()) {
                return Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let times = async {
        let applied = until(&|found| found.phase == Phase::Progressing).await;
        let deadline = ReasonCode::ProgressDeadlineExceeded;
        let judged = until(&|found| codes(found).contains(&deadline)).await;
        (judged - applied, ended(&deployer, &accepted).await)
    };
    let (took, failed) = tokio::select! {
        () = deployer.run(std::future::pending()) => unreachable!("it runs for ever"),
        times = tokio::time::timeout(Duration::from_secs(300), times) => times.unwrap(),
    };
    say(&format!(
        "a first deployment over 25 ms each way, never ready, with a progress deadline of 60 s: \
         judged after {took:.1?}, ended after {:.1?}",
        began.elapsed()
    ));
    assert_eq!(failed.phase, Phase::Failed, "{failed:?}");
    assert!(
        (54.0..66.0).contains(&took.as_secs_f64()),
        "{took:?} is not within a tenth of 60 s"
    );
}

/// Guards against the condition of the earlier template, which Kubernetes keeps until the new one
/// makes progress.
///
/// The test has 20 rounds, or as many as `CHOREO_TEST_ROLLBACKS`.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_right_after_a_deadline_is_judged_by_its_own_rollout() {
    let Some(control) = Control::new().await else {
        return;
    };
    let wanted = std::env::var("CHOREO_TEST_ROLLBACKS");
    let wanted: usize = wanted.map_or(20, |wanted| wanted.parse().expect("a number"));
    let names: Vec<String> = (0..10).map(|number| format!("back-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let image = push(&control.registry, "1", "10001");
    let good = control.deployer(&names, service(&[]));
    let failing = control.deployer(&names, never_ready());
    let rounds = async |name: &str| {
        let ready = ended(&good, &submit(&good, name, &image).await).await;
        assert_eq!(ready.phase, Phase::Ready, "{ready:?}");
        let mut wrong = Vec::new();
        for _ in 0..wanted.div_ceil(names.len()) {
            let failed = ended(&good, &submit(&failing, name, &image).await).await;
            let deadline = ReasonCode::ProgressDeadlineExceeded;
            assert!(codes(&failed).contains(&deadline), "{failed:?}");
            let back = roll_back(&good, name, ReleaseNumber::FIRST).await;
            if back.phase != Phase::Ready {
                wrong.push(format!("{back:?}"));
            }
        }
        wrong
    };
    let all = futures_util::future::join_all(names.iter().map(|name| rounds(name)));
    let wrong = tokio::select! {
        () = good.run(std::future::pending()) => unreachable!("it runs for ever"),
        wrong = all => wrong.concat(),
    };
    say(&format!(
        "{} rollbacks right after a deadline: {} wrong",
        wanted.div_ceil(names.len()) * names.len(),
        wrong.len()
    ));
    assert_eq!(wrong, [] as [String; 0]);
}

/// Rolls back at once, and waits for the end.
async fn roll_back(deployer: &Deployer, name: &str, to: ReleaseNumber) -> Deployment {
    let target = example(name);
    let request = RollbackRequest::new(target.component_key(), target.environment).to_release(to);
    let accepted = deployer.rollback(request).await.unwrap().deployment;
    ended(deployer, &accepted).await
}
