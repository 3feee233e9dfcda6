//! Progress beside data planes and registries that do not answer, and the end of all work.

use std::sync::atomic::Ordering;
use std::time::Duration;

use choreo_deploy::Intake;
use choreo_deploy::deployer::{DeployerOptions, RunRequest};
use choreo_deploy::deployment::{Cause, Phase, RequestedImage};
use choreo_deploy::intake::Submission;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::run::RunPhase;
use choreo_deploy::store::Store;

use crate::crowd::{Place, World};
use crate::world::id;

/// Returns data planes or registries with four components each, and a healthy component of another
/// organization.
fn beside(dead: usize, plane: &str, host: &str, each_its_own: bool) -> Vec<Place<'static>> {
    let mut places = Vec::new();
    for number in 0..dead {
        for part in 0..4 {
            let organization = match (each_its_own, number % 3) {
                (false, _) | (true, 0) => "one",
                (true, 1) => "two",
                _ => "three",
            };
            places.push(Place {
                component: format!("c-{number}-{part}"),
                organization,
                plane: plane.replace("{}", &number.to_string()),
                host: host.replace("{}", &number.to_string()),
            });
        }
    }
    places.push(Place {
        component: "healthy".to_owned(),
        organization: "healthy",
        plane: "eu-1".to_owned(),
        host: "registry.example.com".to_owned(),
    });
    places
}

async fn healthy_is_ready_within_2_s(dead: usize, plane: &str, host: &str, each_its_own: bool) {
    let places = beside(dead, plane, host, each_its_own);
    let world = World::new(&places, DeployerOptions::default()).await;
    let mut submitted = Vec::new();
    for place in &places {
        submitted.push(world.submit(place).await);
    }
    world.work_for(Duration::from_secs(2)).await;
    let healthy = world.read(submitted.last().unwrap()).await;
    assert_eq!(
        healthy.phase,
        Phase::Ready,
        "beside {dead} of {plane}, {host}"
    );
    let other = world.read(&submitted[0]).await;
    assert_ne!(other.phase, Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn dead_data_planes_hold_up_nobody() {
    let steps = DeployerOptions::default().steps.get();
    for dead in 1..=steps + 1 {
        for each_its_own in [false, true] {
            healthy_is_ready_within_2_s(dead, "dead-{}", "registry.example.com", each_its_own)
                .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dead_registries_hold_up_nobody() {
    let steps = DeployerOptions::default().steps.get();
    for dead in 1..=steps + 1 {
        for each_its_own in [false, true] {
            healthy_is_ready_within_2_s(dead, "eu-1", "dead-{}.example.com", each_its_own).await;
        }
    }
}

fn many(count: usize, plane: &str) -> Vec<Place<'static>> {
    let place = |number| Place {
        component: format!("c-{number}"),
        organization: "one",
        plane: plane.to_owned(),
        host: "registry.example.com".to_owned(),
    };
    (0..count).map(place).collect()
}

#[tokio::test(start_paused = true)]
async fn a_dead_data_plane_is_tried_by_one_at_a_time_and_comes_back() {
    let places = many(40, "dead-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    let mut submitted = Vec::new();
    for place in &places {
        submitted.push(world.submit(place).await);
    }
    let plane = &world.planes["dead-1"];
    world.work_for(Duration::from_secs(600)).await;
    let calls = plane.calls.load(Ordering::SeqCst);
    assert!(
        calls < 4 + 12,
        "{calls} calls in ten minutes of a minute each"
    );
    let waiting = world.read(&submitted[39]).await;
    assert_eq!(waiting.reasons[0].code, ReasonCode::BackendUnreachable);
    plane.dead.store(false, Ordering::SeqCst);
    world.work_for(Duration::from_secs(130)).await;
    for deployment in &submitted {
        assert_eq!(world.read(deployment).await.phase, Phase::Ready);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_dead_data_plane_times_out_and_says_why() {
    let places = many(40, "dead-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    let mut submitted = Vec::new();
    for place in &places {
        submitted.push(world.submit(place).await);
    }
    // The retries to take it back end after five more minutes.
    world.work_for(Duration::from_secs(23 * 60)).await;
    for deployment in &submitted {
        let found = world.read(deployment).await;
        assert_eq!(found.phase, Phase::TimedOut);
        let codes = crate::world::codes(&found);
        assert_eq!(codes[0], ReasonCode::ProgressDeadlineExceeded);
        assert!(codes.contains(&ReasonCode::BackendUnreachable), "{codes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn runs_start_beside_rollouts_that_are_looked_at() {
    let places = many(401, "eu-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    let plane = &world.planes["eu-1"];
    let ready = world.submit(&places[400]).await;
    world.work_for(Duration::from_secs(2)).await;
    assert_eq!(world.read(&ready).await.phase, Phase::Ready);
    plane.never_ready.store(true, Ordering::SeqCst);
    *plane.latency.lock().unwrap() = Duration::from_millis(200);
    for place in &places[..400] {
        world.submit(place).await;
    }
    world.work_for(Duration::from_secs(60)).await;
    let run = world
        .deployer
        .run_task(RunRequest::new(places[400].key()))
        .await;
    let run = run.unwrap();
    world.work_for(Duration::from_secs(5)).await;
    let store: &dyn Store = &*world.store;
    let run = store.run(&id("one"), &run.id).await;
    let run = run.unwrap().unwrap();
    assert_ne!(run.phase, RunPhase::Pending, "it has started");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_panics_whenever_it_looks_ends_with_its_deadline() {
    let places = many(1, "eu-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    world.planes["eu-1"]
        .panics_when_looked_at
        .store(true, Ordering::SeqCst);
    let deployment = world.submit(&places[0]).await;
    world.work_for(Duration::from_secs(22 * 60)).await;
    let found = world.read(&deployment).await;
    assert_eq!(found.phase, Phase::TimedOut);
    let codes = crate::world::codes(&found);
    let expected = [
        ReasonCode::ProgressDeadlineExceeded,
        ReasonCode::InternalError,
        ReasonCode::TakenBack,
    ];
    assert_eq!(codes, expected);
    let calls = world.planes["eu-1"].calls.load(Ordering::SeqCst);
    assert!(calls < 150, "{calls} calls: each counts, and waits longer");
}

/// Guards that a deployment ends although each step kills its worker and nothing is written.
#[tokio::test(start_paused = true)]
async fn a_step_that_kills_its_worker_ends_with_its_deadline() {
    let places = many(1, "dead-1");
    let mut options = DeployerOptions::default();
    options.call_timeout = Duration::from_secs(3600);
    let world = World::new(&places, options).await;
    let deployment = world.submit(&places[0]).await;
    // First the steps that apply it, then those that look at it, then those that take it back.
    let mut reasons = Vec::new();
    for _ in 0..70 {
        world.work_for(Duration::from_secs(5)).await;
        tokio::time::sleep(Duration::from_secs(31)).await;
        reasons.extend(world.read(&deployment).await.reasons);
    }
    let found = world.read(&deployment).await;
    assert_eq!(found.phase, Phase::TimedOut);
    assert_eq!(
        crate::world::codes(&found),
        [
            ReasonCode::ProgressDeadlineExceeded,
            ReasonCode::InternalError,
            ReasonCode::NotTakenBack
        ]
    );
    let said = "internal error: 8 steps began and none of them ended";
    assert_eq!(reasons[0].message, said, "it is shown before the deadline");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_stops_nothing() {
    for back in [-60, -300, -3600, -86_400] {
        let places = many(1, "eu-1");
        let world = World::new(&places, DeployerOptions::default()).await;
        let plane = &world.planes["eu-1"];
        plane.never_ready.store(true, Ordering::SeqCst);
        let deployment = world.submit(&places[0]).await;
        world.work_for(Duration::from_secs(10)).await;
        world.clock.jump(back);
        plane.never_ready.store(false, Ordering::SeqCst);
        world.work_for(Duration::from_secs(10)).await;
        let found = world.read(&deployment).await;
        assert_eq!(found.phase, Phase::Ready, "{back} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_times_nothing_out() {
    let places = many(2, "eu-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    let plane = &world.planes["eu-1"];
    plane.never_ready.store(true, Ordering::SeqCst);
    let before = world.submit(&places[0]).await;
    let jump = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.clock.jump(3600);
        let after = world.submit(&places[1]).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        (world.read(&before).await, after)
    };
    let (seen, after) = tokio::select! {
        () = world.deployer.run(std::future::pending()) => unreachable!("it runs for ever"),
        seen = jump => seen,
    };
    assert_eq!(seen.phase, Phase::Progressing);
    world.work_for(Duration::from_secs(16 * 60)).await;
    for deployment in [before, after] {
        let found = world.read(&deployment).await;
        assert_eq!(found.phase, Phase::TimedOut, "its time ends all the same");
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_data_plane_is_not_asked_about_again_and_again() {
    let places = many(9, "dead-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    for place in &places {
        world.submit(place).await;
    }
    world.work_for(Duration::from_secs(40)).await;
    let asked = world.registries.asked.load(Ordering::SeqCst);
    assert!(asked <= 9, "asked {asked} times");
}

/// Guards that slow steps give up their places, with any number of organizations with dead data planes.
#[tokio::test(start_paused = true)]
async fn dead_data_planes_of_many_organizations_hold_up_nobody() {
    let options = DeployerOptions::default();
    let names: Vec<String> = (0..options.steps.get() + 4)
        .map(|number| format!("o-{number}"))
        .collect();
    let mut places = beside(0, "", "", false);
    places.extend(names.iter().map(|name| Place {
        component: "c".to_owned(),
        organization: name,
        plane: format!("dead-{name}"),
        host: "registry.example.com".to_owned(),
    }));
    let world = World::new(&places, options).await;
    for dead in &places[1..] {
        world.submit(dead).await;
    }
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let healthy = world.submit(&places[0]).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.read(&healthy).await.phase
    };
    let phase = tokio::select! {
        () = world.deployer.run(std::future::pending()) => None,
        phase = later => Some(phase),
    };
    assert_eq!(phase, Some(Phase::Ready));
}

/// Guards that removals do not all call a data plane that does not answer.
#[tokio::test(start_paused = true)]
async fn removals_from_a_dead_data_plane_are_tried_by_one_at_a_time() {
    let places = many(40, "eu-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    for place in &places {
        world.submit(place).await;
    }
    world.work_for(Duration::from_secs(60)).await;
    let plane = &world.planes["eu-1"];
    plane.dead.store(true, Ordering::SeqCst);
    plane.calls.store(0, Ordering::SeqCst);
    let mut removed = Vec::new();
    for place in &places {
        let removal = world.deployer.remove(&place.key(), &id("dev")).await;
        removed.push(removal.unwrap().deployment);
    }
    world.work_for(Duration::from_secs(600)).await;
    let calls = plane.calls.load(Ordering::SeqCst);
    assert!(calls < 16, "{calls} calls in ten minutes of a minute each");
    plane.dead.store(false, Ordering::SeqCst);
    world.work_for(Duration::from_secs(130)).await;
    for removal in &removed {
        assert_eq!(world.read(removal).await.phase, Phase::Ready);
    }
}

/// Guards against panics of `now + Duration::MAX`.
#[tokio::test(start_paused = true)]
async fn options_take_whatever_a_duration_can_be() {
    let places = many(3, "eu-1");
    let most = std::num::NonZeroUsize::MAX;
    let mut options = DeployerOptions::default();
    for count in [
        &mut options.steps,
        &mut options.steps_per_data_plane,
        &mut options.steps_per_organization,
        &mut options.calls_per_registry,
    ] {
        *count = most;
    }
    for time in [
        &mut options.slow_step,
        &mut options.lease,
        &mut options.call_timeout,
        &mut options.deployment_deadline,
        &mut options.run_grace,
        &mut options.poll,
        &mut options.retry_first,
        &mut options.retry_longest,
        &mut options.retry_after_longest,
        &mut options.key_lifetime,
        &mut options.repeat_window,
        &mut options.look,
    ] {
        *time = Duration::MAX;
    }
    let world = World::new(&places, options).await;
    for place in &places {
        let image = format!("{}/app:1", place.host).parse().unwrap();
        let submission = Submission::new(place.key(), RequestedImage::new(image), Cause::Manual)
            .with_idempotency_key("one");
        let accepted = world.deployer.accept(submission).await.unwrap();
        world.work_for(Duration::from_secs(5)).await;
        assert_eq!(world.read(&accepted.deployment).await.phase, Phase::Ready);
    }
    let run = world
        .deployer
        .run_task(RunRequest::new(places[0].key()))
        .await;
    let run = run.unwrap();
    world.work_for(Duration::from_secs(5)).await;
    let store: &dyn Store = &*world.store;
    let run = store.run(&id("one"), &run.id).await.unwrap().unwrap();
    assert_eq!(run.phase, RunPhase::Succeeded);
}
