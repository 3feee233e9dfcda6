//! Requests to the API server, written down on their way.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Method, Request, Response, StatusCode};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::{Layer, Service};

/// What was requested, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording(Arc<Mutex<Vec<Call>>>);

/// One request as an authorizer sees it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Call {
    /// As roles have it, such as `apps/deployments` or `/pods/log`.
    pub(crate) resource: String,
    pub(crate) verb: &'static str,
}

impl Recording {
    /// A client whose requests are written down here.
    pub(crate) fn client(&self, config: Config) -> Client {
        let builder = ClientBuilder::try_from(config).expect("a client can be made");
        builder.with_layer(self).build()
    }

    /// What was requested since this was asked last.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Which rights were used since this was asked last.
    pub(crate) fn rights(&self) -> BTreeSet<Call> {
        self.take().into_iter().collect()
    }

    fn add(&self, resource: &str, verb: &'static str) {
        let resource = resource.to_owned();
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(Call { resource, verb });
    }
}

/// The resource of a path, and whether it names one object.
fn resource(path: &str) -> (String, bool) {
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let group = match parts[0] {
        "api" => "",
        _ => parts.remove(1),
    };
    // What is left begins with "api" and the version.
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
    type Service = Recorded<S>;

    fn layer(&self, inner: S) -> Recorded<S> {
        let recording = self.clone();
        Recorded { inner, recording }
    }
}

#[derive(Debug)]
pub(crate) struct Recorded<S> {
    inner: S,
    recording: Recording,
}

impl<S, B> Service<Request<Body>> for Recorded<S>
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
        recording.add(&resource, verb);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            // An apply that creates an object needs both rights.
            if verb == "patch" && answer.status() == StatusCode::CREATED {
                recording.add(&resource, "create");
            }
            Ok(answer)
        })
    }
}
