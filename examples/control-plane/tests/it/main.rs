//! The control plane from end to end: the program itself, Debian's `docker-registry`, images pushed
//! with skopeo, and a real Kubernetes where `CHOREO_TEST_KUBECONFIG` names one.
//!
//! What a test needs and does not find is said on stderr in a line that begins with `SKIPPED: `.
//! The nodes of the cluster must reach this machine's 127.0.0.1, where the tests' registry listens.

mod canary;
mod checking;
mod cluster;
mod configuration;
mod connecting;
mod control_plane;
mod failing;
mod http;
mod image;
mod killed;
mod kubernetes;
mod looking;
mod paused;
mod quiet;
mod registering;
mod registry;
mod release;
mod removing;
mod restoring;
mod rolling;
mod task;
mod terminated;
mod webhook;

use std::io::Write;
use std::time::{Duration, Instant};

/// Says loudly that something was not tested. Written at once, for the harness keeps what a test
/// prints to itself.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Waits until `look` finds something, or fails with what `show` says.
fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Option<T>,
    show: impl FnOnce() -> String,
) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < end,
            "{what} took longer than {patience:?}\n{}",
            show()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a program is there.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// A number that nobody can foresee: where in time something happens.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now())
}
