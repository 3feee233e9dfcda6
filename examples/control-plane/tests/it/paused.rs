//! A worker that is paused in the middle of an older apply cannot undo a newer deployment.

use std::thread;
use std::time::Duration;

use crate::control_plane::{Outcome, Running, Site};
use crate::image::Image;
use crate::kubernetes::{Cluster, service};
use crate::random;
use crate::registry::Registry;

const TARGETS: usize = 2;
const ROUNDS: usize = 5;

/// Guards the fence on a real cluster: a process that deploys is paused at a random moment, another one
/// deploys a newer image, the first continues, and the newer image stays. The test has 10 rounds, at two
/// concurrent targets. The conformance suite pauses workers at each of their requests in turn.
#[test]
fn a_paused_worker_cannot_undo_a_newer_deployment() {
    let (Some(cluster), Some(registry)) = (Cluster::find(), Registry::start()) else {
        return;
    };
    for target in 0..TARGETS {
        let component = format!("orders{target}");
        let image = Image::program(&["serve", &component]);
        registry.push(&format!("shop/{component}"), "base", &image);
    }
    let paused: usize = thread::scope(|scope| {
        let play = |target| {
            let (cluster, registry) = (&cluster, &registry);
            scope.spawn(move || rounds(cluster, registry, &format!("orders{target}")))
        };
        let playing: Vec<_> = (0..TARGETS).map(play).collect();
        playing
            .into_iter()
            .map(|rounds| rounds.join().expect("the newer image stays"))
            .sum()
    });
    assert!(
        paused > 0,
        "no worker was stopped in the middle: the moments do not fit"
    );
}

/// Runs the rounds of a target, and returns the number of older deployments that were paused.
fn rounds(cluster: &Cluster, registry: &Registry, component: &str) -> usize {
    let site = cluster.site(registry, &[service(component)]);
    let repository = format!("shop/{component}");
    let image = Image::program(&["serve", component]);
    let mut paused = 0;
    for round in 0..ROUNDS {
        let push =
            |what: &str| registry.push_variant(&repository, &format!("{what}{round}"), &image);
        let (older, newer) = (push("older"), push("newer"));
        let moment = Duration::from_millis(50 + random() % 1500);
        let mut first = site.start(&["deploy", component, &older]);
        thread::sleep(moment);
        let is_over = first.is_over();
        if !is_over {
            first.signal("STOP");
        }
        let second = deploy_beside(&site, component, &newer, &first).json();
        assert_eq!(second["phase"], "ready", "{second}");
        if !is_over {
            first.signal("CONT");
        }
        let first = first.wait();
        let when = format!("{component}, round {round}, stopped after {moment:?}: {first:?}");
        // If it was paused before it was accepted, it is the newer one, and the round proves nothing.
        let deployments = site.json(&["deployments", component]);
        if deployments[0]["id"] != second["id"] {
            continue;
        }
        assert!(first.status == 3 || first.status == 0, "{when}");
        paused += usize::from(first.status == 3);
        let digest = second["digest"].as_str().expect("what is ready is pinned");
        let live = cluster.objects("deployments", component);
        let runs = live[0]["spec"]["template"]["spec"]["containers"][0]["image"]
            .as_str()
            .expect("a container has an image");
        assert!(runs.ends_with(digest), "{runs} undoes {digest}: {when}");
        assert_eq!(deployments[0]["phase"], "ready", "{when}");
    }
    paused
}

/// Deploys while another process is paused. That process may be paused during a write to the database,
/// which then rejects others: it continues until the write has ended.
fn deploy_beside(site: &Site, component: &str, image: &str, stopped: &Running) -> Outcome {
    for _ in 0..5 {
        let outcome = site.run(&["deploy", component, image, "--json"]);
        if outcome.status != 7 {
            return outcome.expect(0);
        }
        stopped.signal("CONT");
        thread::sleep(Duration::from_millis(20));
        stopped.signal("STOP");
    }
    panic!("the database stays locked");
}
