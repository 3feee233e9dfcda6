//! End-to-end tests of the control plane: the program itself, Debian's `docker-registry`, images pushed
//! with skopeo, and a real Kubernetes cluster if `CHOREO_TEST_KUBECONFIG` names one.
//!
//! If a test lacks something that it needs, it writes a line that begins with `SKIPPED: ` to standard
//! error. The nodes of the cluster must reach 127.0.0.1 of this machine, where the registry listens.

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

/// Reports that something was not tested. It writes directly, because the harness captures the output
/// of tests.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Waits until `look` returns a value, or fails with the text of `show`.
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

/// Returns `true` if a program is installed.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Returns a random number, for moments in time.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now())
}
