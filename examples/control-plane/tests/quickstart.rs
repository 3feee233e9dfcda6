//! The quickstart writes no secret to its logs or its output.
//!
//! The test runs the example and captures the logs of all crates at trace level. It searches them for the
//! password of the registry, its encoded form and deploy tokens. It is the only test of its program,
//! because a process has one logger.

// The tour writes its lines to the log and to standard output.
#[expect(dead_code, reason = "a program's `main` is not called from here")]
#[path = "../../quickstart.rs"]
mod quickstart;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The captured log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns the kind of the first secret in a text.
fn leak(text: &str) -> Option<&'static str> {
    let login = STANDARD.encode(format!("ada:{}", quickstart::PASSWORD));
    // The encoded form of the password, independent of its offset.
    let inner = &login[8..login.len() - 8];
    let token = |rest: &str| {
        let rest = rest.as_bytes();
        rest.len() >= 51 && rest[12] == b'_' && rest[13..51].iter().all(u8::is_ascii_alphanumeric)
    };
    if text.contains(quickstart::PASSWORD) {
        Some("the password")
    } else if text.contains(inner) {
        Some("the login as it is sent")
    } else if text.split("chd_").skip(1).any(token) {
        Some("a deploy token")
    } else {
        None
    }
}

#[test]
fn no_secret_is_logged_or_said() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    tokio::runtime::Runtime::new()?.block_on(quickstart::tour())?;

    let text = log.text();
    for seen in ["TRACE", "POST ", "loopback", "rollback"] {
        assert!(
            text.contains(seen),
            "the log contains {seen}, so it covers the whole path"
        );
    }
    assert_eq!(leak(&text), None);

    // The control: each kind of secret is found.
    let login = STANDARD.encode(format!("ada:{}", quickstart::PASSWORD));
    let token = format!("Bearer chd_{}_{}", "a".repeat(12), "B7".repeat(19));
    for (planted, what) in [
        (quickstart::PASSWORD, "the password"),
        (&login, "the login as it is sent"),
        (&token, "a deploy token"),
    ] {
        assert_eq!(leak(&format!("{text}{planted}\n")), Some(what));
    }
    Ok(())
}
