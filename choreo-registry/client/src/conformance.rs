//! The contract of [`HttpTransport`], as tests for your own transport.
//!
//! There is one clause for each sentence of the contract. The macro creates a `#[test]` of each:
//!
//! ```
//! # #[cfg(feature = "reqwest")]
//! # mod tests {
//! use choreo_registry_client::{conformance::TransportFixture, transport::ReqwestTransport};
//!
//! choreo_registry_client::transport_conformance!(TransportFixture::new(|egress| {
//!     ReqwestTransport::new(egress).expect("the system has certificates")
//! }));
//! # }
//! ```
//!
//! Call the clauses outside of a Tokio runtime, because each creates one. A clause starts its own
//! servers on loopback, sends requests to them through the transport, and panics with the broken
//! sentence of the contract. A correct transport does not connect to other machines. TLS and proxies
//! are not covered. Neither are names that do not exist, because a look-up would query a name server
//! elsewhere. The suite is exempt
//! from semantic versioning: a stricter clause is not a breaking change.

mod clauses;
mod peer;

use std::{fmt, sync::Arc};

pub use self::clauses::TransportClause;
use crate::{egress::Egress, transport::HttpTransport};

/// Creates a `#[test]` of each clause for transports.
///
/// The argument is an expression that creates a
/// [`TransportFixture`](crate::conformance::TransportFixture). It is evaluated for each clause.
#[macro_export]
macro_rules! transport_conformance {
    (@tests $fixture:expr; $($clause:ident,)*) => {
        $(
            #[test]
            fn $clause() {
                $crate::conformance::TransportClause::$clause(&$fixture);
            }
        )*
    };
    (@all; $($clause:ident,)*) => {
        vec![$((stringify!($clause), TransportClause::$clause as _),)*]
    };
    (@list $($then:tt)*) => {
        $crate::transport_conformance! {@$($then)*;
            request_line_is_unchanged, headers_are_unchanged, body_is_unchanged, nothing_is_added,
            answer_is_unchanged, answer_is_not_decompressed, redirects_are_returned,
            nothing_is_retried, cookies_are_not_kept, head_has_no_body, cut_body_is_no_success,
            limit_is_exact, endless_body_is_left, silence_ends_at_the_deadline,
            dribble_ends_at_the_deadline, cancelled_exchange_is_closed, calls_do_not_wait,
            addresses_are_judged_in_any_spelling, names_are_judged_by_their_addresses,
            plain_http_needs_leave, other_schemes_are_blocked, user_info_is_blocked,
            failures_are_told_apart, errors_hold_no_secret,
        }
    };
    ($fixture:expr) => {
        $crate::transport_conformance!(@list tests $fixture);
    };
}

/// A function that panics if the transport breaks the contract.
pub type Clause = fn(&TransportFixture);

/// Returns every clause with its name, to run it outside of a test.
///
/// ```no_run
/// use choreo_registry_client::conformance::{self, TransportFixture};
///
/// fn check(fixture: &TransportFixture) {
///     for (name, clause) in conformance::all() {
///         clause(fixture);
///         println!("{name}: kept");
///     }
/// }
/// ```
#[must_use]
pub fn all() -> Vec<(&'static str, Clause)> {
    crate::transport_conformance!(@list all)
}

/// Creates the transports under test.
pub struct TransportFixture {
    make: Box<dyn Fn(Egress) -> Arc<dyn HttpTransport> + Send + Sync>,
}

impl TransportFixture {
    /// Creates a fixture from a function that creates a transport for a policy. The function is called
    /// within a Tokio runtime.
    pub fn new<T: HttpTransport + 'static>(
        make: impl Fn(Egress) -> T + Send + Sync + 'static,
    ) -> Self {
        Self {
            make: Box::new(move |egress| Arc::new(make(egress))),
        }
    }

    fn transport(&self, egress: Egress) -> Arc<dyn HttpTransport> {
        (self.make)(egress)
    }
}

impl fmt::Debug for TransportFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportFixture").finish_non_exhaustive()
    }
}
