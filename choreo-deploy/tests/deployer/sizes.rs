//! Workloads that are too large to run are rejected.

use choreo_deploy::DeploymentBackend;
use choreo_deploy::InMemoryBackend;
use choreo_deploy::Intake;
use choreo_deploy::catalog::Plan;
use choreo_deploy::deployer::RunRequest;
use choreo_deploy::deployment::Cause;
use choreo_deploy::intake::IntakeErrorKind;
use choreo_deploy::run::RunOverrides;
use choreo_deploy::settings::Settings;
use choreo_deploy::workload::{Value, Workload};
use std::collections::HashMap;
use std::sync::Arc;

use crate::world::{World, id, key, service, submission, task};

async fn world(plan: Plan) -> World {
    let backend = Arc::new(InMemoryBackend::new());
    let plane: Arc<dyn DeploymentBackend> = backend.clone();
    World::of(
        backend,
        HashMap::from([(id("eu-1"), plane)]),
        [plan, task()],
    )
    .await
}

/// Guards that a variable of 200 KB is rejected. Its container would crash with "argument list too
/// long".
#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_not_accepted() {
    let long = || Value::Literal("x".repeat(200_000));
    let mut in_workload = service("orders");
    if let Workload::Service(service) = &mut in_workload.workload {
        let variables = &mut service.container.variables;
        variables.insert("DATA".parse().unwrap(), long());
    }
    let mut in_settings = service("orders");
    in_settings.stages[0].settings =
        Settings::default().with_variable("DATA".parse().unwrap(), long());
    for plan in [in_workload, in_settings] {
        let world = world(plan).await;
        let submission = submission("orders", "orders:1", Cause::Manual);
        let error = world.deployer.accept(submission).await.unwrap_err();
        assert_eq!(error.kind(), IntakeErrorKind::NotPossible);
        assert_eq!(
            error.to_string(),
            "variable DATA has 200005 bytes with its name and a program takes 131071: \
             put the data into a file or into the image"
        );
    }
    let world = world(service("orders")).await;
    let mut run = RunRequest::new(key("report"));
    run.overrides = RunOverrides::args(vec!["x".repeat(200_000)]);
    let error = world.deployer.run_task(run).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("an argument has 200000 bytes"),
        "{error}"
    );
}
