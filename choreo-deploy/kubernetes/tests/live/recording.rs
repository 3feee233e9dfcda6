//! Records the requests to the API server.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::{Method, Request, Response, StatusCode};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::{Layer, Service};

/// The recorded requests and the rights that they needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    requests: Vec<Call>,
    rights: BTreeSet<Call>,
}

/// A request as an authorizer sees it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Call {
    /// A resource as in roles, such as `apps/deployments` or `/pods/log`.
    pub(crate) resource: String,
    pub(crate) verb: &'static str,
}

impl Recording {
    /// Returns a client whose requests are recorded.
    pub(crate) fn client(&self, config: Config) -> Client {
        let builder = ClientBuilder::try_from(config).expect("a client can be made");
        builder.with_layer(self).build()
    }

    /// Returns the requests since the last call, in order.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.recorded().requests)
    }

    /// Returns the rights that were needed so far.
    pub(crate) fn rights(&self) -> BTreeSet<Call> {
        self.recorded().rights.clone()
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// Returns `true` if the request changes something.
    pub(crate) fn writes(&self) -> bool {
        !matches!(self.verb, "get" | "list")
    }
}

/// Returns the resource of a path, and whether the path names one object.
fn resource(path: &str) -> (String, bool) {
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let group = match parts[0] {
        "api" => "",
        _ => parts.remove(1),
    };
    // The remaining parts begin with "api" and the version.
    let rest = match parts[2..] {
        ["namespaces", _, _, ..] => &parts[4..],
        _ => &parts[2..],
    };
    match rest {
        [resource, _, below] => (format!("{group}/{resource}/{below}"), true),
        [resource, name @ ..] => (format!("{group}/{resource}"), !name.is_empty()),
        [] => panic!("{path} is of no resource"),
    }
}

impl<S> Layer<S> for Recording {
    type Service = Layered<S>;

    fn layer(&self, inner: S) -> Layered<S> {
        let recording = self.clone();
        Layered { inner, recording }
    }
}

#[derive(Debug)]
pub(crate) struct Layered<S> {
    inner: S,
    recording: Recording,
}

impl<S, B> Service<Request<Body>> for Layered<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (resource, is_named) = resource(request.uri().path());
        let verb = match *request.method() {
            Method::GET if is_named => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            ref other => panic!("{other} is not expected"),
        };
        let recording = self.recording.clone();
        let call = Call { resource, verb };
        {
            let mut recorded = recording.recorded();
            recorded.rights.insert(call.clone());
            recorded.requests.push(call.clone());
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            // An apply that creates an object needs both rights.
            if call.verb == "patch" && answer.status() == StatusCode::CREATED {
                let right = Call {
                    verb: "create",
                    ..call
                };
                recording.recorded().rights.insert(right);
            }
            Ok(answer)
        })
    }
}
