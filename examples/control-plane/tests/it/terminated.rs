//! SIGTERM under load: `serve` ends quickly and loses no acknowledged deployment.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::control_plane::{Site, base};
use crate::image::Image;
use crate::registry::Registry;
use crate::{http, wait_for};

/// The number of clients. Each has its own component.
const CLIENTS: usize = 16;
/// The number of deployments that are acknowledged before the signal.
const BEFORE: usize = 200;
/// The maximum time from the signal to the end of the process.
const LIMIT: Duration = Duration::from_secs(1);

/// Guards that `serve` exits with status 0 within a second of SIGTERM while 16 clients post deployments in
/// a closed loop, and that each acknowledged deployment is in the store and ends after a restart.
#[test]
fn sigterm_under_load_loses_no_acknowledged_deployment() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let image = registry.push("shop/orders", "1", &Image::empty());
    let site = Site::new(&configuration(&registry.host()), registry.password());
    let tokens: Vec<String> = { 0..CLIENTS }
        .map(|number| site.token(&component(number)))
        .collect();
    let serve = site.serve();
    let (address, count) = (serve.address(), AtomicUsize::new(0));
    let (ended, took, accepted) = thread::scope(|scope| {
        let clients: Vec<_> = { tokens.iter() }
            .map(|token| scope.spawn(|| post_until_refused((address, token), &image, &count)))
            .collect();
        let enough = || (count.load(Ordering::Relaxed) >= BEFORE).then_some(());
        let show = || format!("{count:?} deployments are accepted");
        wait_for("the load", Duration::from_secs(60), enough, show);
        let begun = Instant::now();
        let ended = serve.terminate();
        let took = begun.elapsed();
        let accepted = clients.into_iter().map(|client| client.join().unwrap());
        (ended, took, accepted.collect::<Vec<_>>())
    });
    let ended = ended.expect(0).complains("stopped");
    assert!(took < LIMIT, "it ended after {took:?}\n{}", ended.stderr);
    // The control: every client has posted.
    for locations in &accepted {
        assert!(!locations.is_empty(), "{accepted:?}");
    }

    let serve = site.serve();
    for (token, locations) in tokens.iter().zip(&accepted) {
        for location in locations {
            let deployment = serve.follow(token, location);
            let phase = deployment["phase"].as_str().unwrap_or_default();
            assert!(["ready", "superseded"].contains(&phase), "{deployment}");
        }
        let newest = locations.last().expect("there is one");
        let deployment = serve.follow(token, newest);
        assert_eq!(deployment["phase"], "ready", "{deployment}");
    }
    serve.terminate().expect(0);
}

/// Posts an image repeatedly, and returns the path of each accepted deployment. It ends at the first
/// request without an answer or with 503, because the server stops.
fn post_until_refused(
    (address, token): (SocketAddr, &str),
    image: &str,
    count: &AtomicUsize,
) -> Vec<String> {
    let (authorization, body) = (
        format!("Bearer {token}"),
        json!({ "image": image }).to_string(),
    );
    let mut locations = Vec::new();
    loop {
        let key = format!("key-{:x}", crate::random());
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", key.as_str()),
        ];
        match http::send(address, "POST /v1/deployments", &headers, body.as_bytes()) {
            Ok(answer) if answer.status == 202 => {
                let location = answer.header("location").expect("202 has a location");
                locations.push(format!("/v1/{location}"));
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) if answer.status != 503 => panic!("{answer:?}"),
            Ok(_) | Err(_) => return locations,
        }
    }
}

fn component(number: usize) -> String {
    format!("orders{number}")
}

fn configuration(registry: &str) -> String {
    let mut text = base(registry) + "\n[[data_planes]]\nid = \"local\"\nbackend = \"memory\"\n";
    for number in 0..CLIENTS {
        let id = component(number);
        let _ = write!(
            text,
            "\n[[components]]\nid = \"{id}\"\nproject = \"shop\"\ntype = \"manual-task\"\n\
             registry = \"images\"\n"
        );
    }
    text
}
