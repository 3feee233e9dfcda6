//! Clocks and random values, which tests can replace.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::id::{DeploymentId, RunId};

/// A clock.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}

/// The system clock.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state")]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A source of ids and jitter.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Returns a new, unique id of a deployment.
    fn deployment_id(&self) -> DeploymentId;

    /// Returns a new, unique id of a run.
    fn run_id(&self) -> RunId;

    /// Returns a duration between zero and `longest`, so that many waiters do not retry at once.
    fn jitter(&self, longest: Duration) -> Duration;
}

/// The random numbers of the operating system.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state")]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn deployment_id(&self) -> DeploymentId {
        format!("d-{}", unique())
            .parse()
            .expect("letters and digits make an id")
    }

    fn run_id(&self) -> RunId {
        format!("r-{}", unique())
            .parse()
            .expect("letters and digits make an id")
    }

    fn jitter(&self, longest: Duration) -> Duration {
        let fraction = f64::from(u32::from_le_bytes(random())) / (f64::from(u32::MAX) + 1.0);
        longest.mul_f64(fraction)
    }
}

/// Returns 20 characters of `2`-`7` and `a`-`z`: 45 bits of the time in milliseconds, then 55 random
/// bits. So ids are ordered by time, and the indexes of a store grow at one end.
fn unique() -> String {
    const DIGITS: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
    let digit = |bits: u8| char::from(DIGITS[usize::from(bits & 31)]);
    let time = Timestamp::now().as_millisecond();
    let time = (0..9).rev().map(|place| (time >> (5 * place)) as u8);
    time.chain(random::<11>()).map(digit).collect()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        assert_ne!(SystemEntropy.deployment_id(), SystemEntropy.deployment_id());
        assert_ne!(SystemEntropy.run_id(), SystemEntropy.run_id());
    }

    #[test]
    fn ids_are_in_the_order_of_their_time() {
        let before = SystemEntropy.deployment_id();
        std::thread::sleep(Duration::from_millis(2));
        assert!(before < SystemEntropy.deployment_id());
    }

    #[test]
    fn jitter_takes_any_duration() {
        assert!(SystemEntropy.jitter(Duration::MAX) <= Duration::MAX);
    }

    #[test]
    fn jitter_is_never_longer() {
        let longest = Duration::from_secs(3);
        assert!((0..100).all(|_| SystemEntropy.jitter(longest) <= longest));
    }
}
