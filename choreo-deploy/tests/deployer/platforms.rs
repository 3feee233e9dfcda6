//! The platforms of images and data planes.

use std::collections::HashMap;
use std::sync::Arc;

use choreo_deploy::backend::DeploymentBackend;
use choreo_deploy::catalog::{Plan, Stage};
use choreo_deploy::deployment::{Cause, Phase};
use choreo_deploy::target::{DataPlane, Environment};
use choreo_deploy::workload::{ComponentType, ManualTask};
use choreo_deploy::{InMemoryBackend, Intake};

use crate::world::{World, component, id, submission};

/// Guards that each environment checks the platforms of its own data plane.
#[tokio::test(start_paused = true)]
async fn an_image_is_for_the_processors_of_its_own_data_plane() {
    let backend = Arc::new(InMemoryBackend::new());
    let component = component("orders", ComponentType::ManualTask);
    let stage = |environment: &str, platform: &str| {
        let plane = DataPlane::new(id(environment)).with_platform(platform.parse().unwrap());
        Stage::new(Environment::new(id(environment), id(environment)), plane)
    };
    let plan = Plan::new(component, ManualTask::new())
        .then(stage("dev", "linux/amd64"))
        .then(stage("prod", "linux/arm64"));
    let planes = ["dev", "prod"].map(|plane| {
        let backend: Arc<dyn DeploymentBackend> = backend.clone();
        (id(plane), backend)
    });
    let world = World::of(backend, HashMap::from(planes), [plan]).await;
    let platforms = &world.registry.platforms;
    platforms.lock().unwrap().push("linux/arm64".to_owned());
    for (environment, phase) in [("dev", Phase::Failed), ("prod", Phase::Ready)] {
        let image = submission("orders", "orders:1", Cause::Manual).to_environment(id(environment));
        let accepted = world.deployer.accept(image).await.unwrap().deployment;
        world.deployer.work_until_idle().await.unwrap();
        let deployment = world.read(&accepted).await;
        assert_eq!(deployment.phase, phase, "{environment}: {deployment:?}");
    }
}
