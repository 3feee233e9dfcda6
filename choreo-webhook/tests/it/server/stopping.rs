//! Guards the shutdown of the server.

use std::time::Duration;

use choreo_webhook::server::ServerLimits;
use tokio::io::AsyncWriteExt as _;

use super::{connect, get, hangs_up, serve};
use crate::support::World;

/// Guards that idle connections are closed at once, started requests are answered, and no
/// connection is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_are_answered() {
    let world = World::new().await;
    let server = serve(&world, ServerLimits::default());
    let mut idle = connect(server.address).await;
    *world.intake.closed.lock().unwrap() = true;
    let (address, authorization) = (server.address, format!("Bearer {}", world.token.expose()));
    let poll =
        tokio::spawn(
            async move { get(address, "/v1/deployments/d-1?wait=25", &authorization).await },
        );
    while world.intake.waits.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop.send(()).unwrap();
    assert!(hangs_up(&mut idle).await < Duration::from_secs(1));
    assert!(get(address, "/healthz", "").await.is_err());
    assert_eq!(server.health.is_ready(), Err("stopping"));
    *world.intake.closed.lock().unwrap() = false;
    let answer = poll.await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(server.ended.await.unwrap(), 0);
}

/// Guards that a request that takes too long is cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends() {
    let world = World::new().await;
    let mut limits = ServerLimits::default();
    limits.drain = Duration::from_millis(100);
    let server = serve(&world, limits);
    // There is one on the first address, and two on that of the health checks.
    let mut slow = Vec::new();
    let health_address = server.health_address.unwrap();
    for address in [server.address, health_address, health_address] {
        let mut stream = connect(address).await;
        stream.write_all(b"GET").await.unwrap();
        slow.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.send(()).unwrap();
    for stream in &mut slow {
        assert!(hangs_up(stream).await < Duration::from_secs(1));
    }
    assert_eq!(server.ended.await.unwrap(), 3);
}
