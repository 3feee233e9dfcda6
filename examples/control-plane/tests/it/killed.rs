//! SIGKILL: an accepted deployment is deployed nevertheless.

use std::thread;
use std::time::Duration;

use crate::control_plane::{Serve, Site, in_memory};
use crate::image::Image;
use crate::random;
use crate::registry::Registry;

const SITES: usize = 4;
const ROUNDS: usize = 25;

/// Guards the promise of a 202: if `serve` is killed at a random moment after it and started again, it
/// deploys the image. The test has 100 rounds at 4 concurrent sites. In every third round, two images are
/// accepted in a row. Then the first may be superseded, and the last one is ready.
#[test]
fn accepted_images_survive_sigkill() {
    let Some(registry) = Registry::start() else {
        return;
    };
    registry.push("shop/orders", "base", &Image::empty());
    thread::scope(|scope| {
        for site in 0..SITES {
            let registry = &registry;
            scope.spawn(move || rounds(registry, site));
        }
    });
}

/// A deployment that was answered with 202.
struct Accepted {
    location: String,
    image: String,
    is_last_of_round: bool,
}

fn rounds(registry: &Registry, number: usize) {
    let site = Site::new(&in_memory(&registry.host()), registry.password());
    let token = site.token("orders");
    let mut ledger = Vec::new();
    let mut serve = site.serve();
    for round in 0..ROUNDS {
        let before = ledger.len();
        let images = if round % 3 == 2 { 2 } else { 1 };
        for part in 0..images {
            let tag = format!("s{number}-{round}-{part}");
            let image = registry.push_variant("shop/orders", &tag, &Image::empty());
            let location = serve.accept(&token, &image);
            ledger.push(Accepted {
                location,
                image,
                is_last_of_round: part + 1 == images,
            });
        }
        let moment = Duration::from_micros(random() % 30_000);
        thread::sleep(moment);
        serve.kill();
        serve = site.serve();
        let last = ledger.last().expect("something was accepted");
        let deployment = serve.follow(&token, &last.location);
        let when = format!("site {number}, round {round}, killed {moment:?} after the 202");
        assert_eq!(deployment["phase"], "ready", "{when}: {deployment}");
        assert_eq!(deployment["image"], last.image, "{when}");
        audit(&serve, &token, &ledger[before..]);
    }
    // Later rounds have not changed the outcomes.
    audit(&serve, &token, &ledger);
    let newest = &site.json(&["deployments", "orders"])[0];
    assert_eq!(newest["phase"], "ready", "{newest}");
    assert_eq!(
        newest["image"],
        ledger.last().expect("rounds were played").image,
        "{newest}"
    );
    serve.terminate().expect(0);
}

fn audit(serve: &Serve, token: &str, ledger: &[Accepted]) {
    for accepted in ledger {
        let deployment = serve
            .get(token, &accepted.location)
            .expect("it answers")
            .json();
        let phase = deployment["phase"].as_str().unwrap_or_default();
        // A deployment that was ready still says so after a newer one.
        let was_ready = deployment["superseded_by"].is_string();
        let is_good = match phase {
            "ready" => true,
            "superseded" => was_ready || !accepted.is_last_of_round,
            _ => false,
        };
        assert!(is_good, "{deployment}");
    }
}
