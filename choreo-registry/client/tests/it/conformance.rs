//! The contract of transports over the real one; and over ones that break it, each of which must
//! fail the clause that is meant for it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use choreo_registry_client::{
    conformance::{self, TransportFixture},
    egress::Egress,
    transport::{HttpTransport, Outbound, ReqwestTransport, TransportError},
};
use http::{HeaderValue, Response, Uri, header};

choreo_registry_client::transport_conformance!(TransportFixture::new(real));

fn real(egress: Egress) -> ReqwestTransport {
    ReqwestTransport::new(egress).unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Flaw {
    AddsAHeader,
    DropsTheQuery,
    FollowsRedirects,
    IgnoresTheDeadline,
    IgnoresTheLimit,
    IgnoresThePolicy,
    Retries,
}

/// The real transport with one flaw.
#[derive(Debug)]
struct Flawed {
    inner: ReqwestTransport,
    told: Egress,
    flaw: Flaw,
}

#[async_trait]
impl HttpTransport for Flawed {
    async fn send(&self, mut outbound: Outbound) -> Result<Response<Bytes>, TransportError> {
        let again = || {
            Outbound::new(
                outbound.request.clone(),
                outbound.body_limit,
                outbound.deadline,
            )
        };
        let mut second = again();
        match self.flaw {
            Flaw::AddsAHeader => {
                let value = HeaderValue::from_static("yes");
                outbound.request.headers_mut().insert("x-added", value);
            }
            Flaw::DropsTheQuery => {
                let bare = outbound.request.uri().to_string();
                let bare = bare.split('?').next().unwrap().parse().unwrap();
                *outbound.request.uri_mut() = bare;
            }
            Flaw::IgnoresTheDeadline => {
                outbound.deadline = Instant::now() + Duration::from_secs(60)
            }
            Flaw::IgnoresTheLimit => outbound.body_limit = 1 << 20,
            Flaw::FollowsRedirects | Flaw::IgnoresThePolicy | Flaw::Retries => {}
        }
        let outcome = self.inner.send(outbound).await;
        match (self.flaw, &outcome) {
            (Flaw::Retries, Err(_)) => self.inner.send(second).await,
            (Flaw::FollowsRedirects, Ok(answer)) => match answer.headers().get(header::LOCATION) {
                Some(location) => {
                    *second.request.uri_mut() = Uri::try_from(location.as_bytes()).unwrap();
                    self.inner.send(second).await
                }
                None => outcome,
            },
            _ => outcome,
        }
    }

    fn egress(&self) -> Egress {
        self.told.clone()
    }
}

fn flawed(flaw: Flaw) -> TransportFixture {
    TransportFixture::new(move |told: Egress| {
        let obeyed = match flaw {
            Flaw::IgnoresThePolicy => told
                .clone()
                .allow_network("127.0.0.0/8".parse().unwrap())
                .allow_network("::1".parse().unwrap()),
            _ => told.clone(),
        };
        Flawed {
            inner: real(obeyed),
            told,
            flaw,
        }
    })
}

/// The flaw of the policy allows only addresses and names, because the inner transport checks
/// everything else.
#[test]
fn each_flaw_fails_the_clause_that_is_meant_for_it() {
    let flaws: [(Flaw, &[&str]); 7] = [
        (Flaw::AddsAHeader, &["nothing_is_added"]),
        (Flaw::DropsTheQuery, &["request_line_is_unchanged"]),
        (Flaw::FollowsRedirects, &["redirects_are_returned"]),
        (
            Flaw::IgnoresTheDeadline,
            &[
                "silence_ends_at_the_deadline",
                "dribble_ends_at_the_deadline",
            ],
        ),
        (Flaw::IgnoresTheLimit, &["limit_is_exact"]),
        (
            Flaw::IgnoresThePolicy,
            &[
                "addresses_are_judged_in_any_spelling",
                "names_are_judged_by_their_addresses",
            ],
        ),
        (Flaw::Retries, &["nothing_is_retried"]),
    ];
    let clauses = conformance::all();
    std::thread::scope(|scope| {
        for (flaw, name) in flaws
            .iter()
            .flat_map(|(flaw, meant)| meant.iter().map(|name| (*flaw, *name)))
        {
            let (_, clause) = clauses.iter().find(|(known, _)| *known == name).unwrap();
            scope.spawn(move || {
                let fixture = flawed(flaw);
                let fails = catch_unwind(AssertUnwindSafe(|| clause(&fixture))).is_err();
                assert!(fails, "{flaw:?} passes {name}");
            });
        }
    });
}
