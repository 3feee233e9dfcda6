//! A rollout without downtime.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::control_plane::{Site, base};
use crate::http;
use crate::image::Image;
use crate::kubernetes::{Cluster, service};
use crate::registry::Registry;

/// The observations during the rollout.
#[derive(Debug, Default)]
struct Seen {
    looks: u32,
    requests: u32,
    bodies: Vec<String>,
}

/// Guards that there is at least one ready pod at all times, and that each request to a ready pod is
/// answered. The test reads the EndpointSlices repeatedly while two new tags roll out, and sends 5 requests
/// to each ready pod after each read. A list is at most as old as one such round. Terminating pods serve 3
/// seconds longer, as they must for any proxy that learns of it late.
#[test]
fn a_new_tag_rolls_over_without_a_gap() {
    let (Some(cluster), Some(registry)) = (Cluster::find(), Registry::start()) else {
        return;
    };
    let images = ["one", "two", "three"]
        .map(|version| registry.push("shop/orders", version, &Image::program(&["serve", version])));
    let configuration = base(&registry.host()) + &cluster.data_plane(3) + &service("orders");
    let site = Site::new(&configuration, registry.password());
    site.run(&["deploy", "orders", &images[0]]).expect(0);
    assert_eq!(cluster.answers("orders"), ["one"]);

    let is_over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&cluster, &is_over));
        let rolling = scope.spawn(|| {
            for image in &images[1..] {
                site.run(&["deploy", "orders", image]).expect(0);
            }
            // Meanwhile, the pods of the second version terminate.
            thread::sleep(Duration::from_secs(4));
        });
        let rolled = rolling.join();
        is_over.store(true, Ordering::Relaxed);
        rolled.expect("both images are deployed");
        watching.join().expect("there was no gap")
    });
    assert!(
        seen.looks > 20 && seen.requests > 100,
        "too little was seen: {seen:?}"
    );
    for version in ["one", "two", "three"] {
        assert!(
            seen.bodies.iter().any(|body| body == version),
            "{version} never answered"
        );
    }
    assert_eq!(seen.bodies.last().map(String::as_str), Some("three"));
}

fn watch(cluster: &Cluster, is_over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !is_over.load(Ordering::Relaxed) {
        let endpoints = cluster.endpoints("orders");
        assert!(!endpoints.is_empty(), "no pod is ready, after {seen:?}");
        seen.looks += 1;
        for endpoint in endpoints.iter().cycle().take(5 * endpoints.len()) {
            let answer = http::send(*endpoint, "GET /", &[], b"");
            let answer =
                answer.unwrap_or_else(|error| panic!("{endpoint}: {error}, after {seen:?}"));
            assert_eq!(answer.status, 200, "{answer:?}");
            seen.requests += 1;
            if seen.bodies.last() != Some(&answer.body) {
                seen.bodies.push(answer.body);
            }
        }
    }
    seen
}
