//! An API server in memory with the features that the backend uses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use choreo_deploy_kubernetes::{KubernetesBackend, Policy};
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::pair;

pub(crate) type Answer = (u16, Value);
type Hook = Box<dyn FnMut(&mut Objects, &str, &str) -> Option<Answer> + Send>;

/// The objects by their paths.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) by_path: BTreeMap<String, Value>,
    changes: u64,
}

/// The number of objects in a page.
pub(crate) const PAGE: usize = 2;

impl Objects {
    pub(crate) fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.changes += 1;
        let uid = self
            .by_path
            .get(path)
            .map(|old| old["metadata"]["uid"].clone());
        let uid = uid.unwrap_or_else(|| format!("uid-{}", self.changes).into());
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = (self.changes + 100).to_string().into();
        self.by_path.insert(path.to_owned(), object.clone());
        object
    }

    /// Returns the only path that contains this text.
    pub(crate) fn path(&self, end: &str) -> String {
        let mut found = self.by_path.keys().filter(|path| path.contains(end));
        found.next().unwrap_or_else(|| panic!("no {end}")).clone()
    }

    /// Changes an object like another client.
    pub(crate) fn change(&mut self, end: &str, change: impl FnOnce(&mut Value)) {
        let path = self.path(end);
        let mut object = self.by_path[&path].clone();
        change(&mut object);
        self.put(&path, object);
    }

    fn answer(&mut self, method: &str, (path, query): (&str, &str), body: &Value) -> Answer {
        let known = self.by_path.get(path).cloned();
        let version = &body["metadata"]["resourceVersion"];
        match (method, known) {
            ("GET", Some(object)) => (200, object),
            ("GET", None) if self.is_list(path) => (200, self.list(path, query)),
            ("GET" | "DELETE", None) => status(404, "not found"),
            ("POST", _) => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                match self.by_path.contains_key(&path) {
                    true => status(409, "is there"),
                    false => (201, self.put(&path, body.clone())),
                }
            }
            ("DELETE", Some(object)) => {
                let wanted = &body["preconditions"];
                let fits = |field: &str| {
                    wanted[field].is_null() || wanted[field] == object["metadata"][field]
                };
                if !fits("uid") || !fits("resourceVersion") {
                    return status(409, "has changed");
                }
                self.by_path.remove(path);
                (200, object)
            }
            ("PATCH" | "PUT", None) if version == "1" => (201, self.put(path, body.clone())),
            ("PATCH" | "PUT", None) => status(409, "is gone"),
            (_, Some(object)) if *version != object["metadata"]["resourceVersion"] => {
                status(409, "has changed")
            }
            ("PATCH", Some(mut object)) if query.contains("force") || body["kind"].is_string() => {
                let managers = object["metadata"]["managedFields"].take();
                object.clone_from(body);
                if managers.is_array() {
                    object["metadata"]["managedFields"] = managers;
                }
                (200, self.put(path, object))
            }
            ("PATCH", Some(mut object)) => {
                merge(&mut object, body);
                (200, self.put(path, object))
            }
            _ => (200, self.put(path, body.clone())),
        }
    }

    fn is_list(&self, path: &str) -> bool {
        let last = path.rsplit('/').next().unwrap_or_default();
        ["pods", "jobs", "replicasets", "events"].contains(&last)
    }

    fn list(&self, path: &str, query: &str) -> Value {
        let selector = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("labelSelector="));
        let selector = selector
            .unwrap_or_default()
            .replace("%2C", ",")
            .replace("%3D", "=");
        let selector = selector.replace("%2F", "/");
        let fits = |object: &Value| {
            selector
                .split(',')
                .filter(|part| !part.is_empty())
                .all(|part| {
                    let (name, value) = part
                        .split_once('=')
                        .map_or((part, None), |(n, v)| (n, Some(v)));
                    let label = object["metadata"]["labels"][name].as_str();
                    label.is_some() && (value.is_none() || label == value)
                })
        };
        let begin = format!("{path}/");
        let all = self
            .by_path
            .iter()
            .filter(|(path, _)| path.starts_with(&begin));
        let all: Vec<&Value> = all.map(|(_, object)| object).filter(|o| fits(o)).collect();
        let token = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("continue="));
        let skip: usize = token.map_or(0, |token| token.parse().unwrap());
        let page: Vec<&Value> = all.iter().copied().skip(skip).take(PAGE).collect();
        let next = skip + page.len();
        let more = if next < all.len() {
            next.to_string()
        } else {
            String::new()
        };
        json!({ "metadata": { "continue": more }, "items": page })
    }
}

fn merge(object: &mut Value, change: &Value) {
    let Value::Object(members) = change else {
        object.clone_from(change);
        return;
    };
    for (name, value) in members {
        match value {
            Value::Null => _ = object.as_object_mut().unwrap().remove(name),
            value => {
                if !object[name].is_object() {
                    object[name] = json!({});
                }
                merge(&mut object[name], value);
            }
        }
    }
}

pub(crate) fn status(code: u16, message: &str) -> Answer {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "Invalid",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    });
    (code, body)
}

/// An API server, and actions before and after its responses.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) objects: Arc<Mutex<Objects>>,
    /// The methods and paths of the writes.
    written: Arc<Mutex<Vec<String>>>,
    /// The `Date` header of its responses.
    date: Arc<Mutex<Option<String>>>,
    before: Arc<Mutex<Option<Hook>>>,
    after: Arc<Mutex<Option<Hook>>>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            objects: Arc::default(),
            written: Arc::default(),
            date: Arc::default(),
            before: Arc::default(),
            after: Arc::default(),
        }
    }

    /// Executes an action once, before the first request with this method and a path that contains
    /// this text.
    pub(crate) fn before(
        &self,
        method: &'static str,
        part: &'static str,
        mut act: impl FnMut(&mut Objects) -> Option<Answer> + Send + 'static,
    ) {
        *self.before.lock().unwrap() = Some(once(method, part, move |o| act(o)));
    }

    /// Executes an action in the same way, but after the response.
    pub(crate) fn after(
        &self,
        method: &'static str,
        part: &'static str,
        mut act: impl FnMut(&mut Objects) + Send + 'static,
    ) {
        let act = move |objects: &mut Objects| {
            act(objects);
            None
        };
        *self.after.lock().unwrap() = Some(once(method, part, act));
    }

    pub(crate) async fn call<T>(
        &self,
        policy: Policy,
        call: impl AsyncFnOnce(KubernetesBackend) -> T,
    ) -> T {
        let (service, mut handle) = pair::<Request<Body>, Response<Body>>();
        let backend = KubernetesBackend::new(kube::Client::new(service, "default"), policy);
        let server = self.clone();
        let serving = tokio::spawn(async move {
            while let Some((request, respond)) = handle.next_request().await {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (code, json) = server.answer(parts.method.as_str(), &parts.uri, &body);
                let body = Body::from(json.to_string().into_bytes());
                let mut answer = Response::builder().status(code);
                if let Some(date) = &*server.date.lock().unwrap() {
                    answer = answer.header("date", date);
                }
                respond.send_response(answer.body(body).unwrap());
            }
        });
        let result = call(backend).await;
        serving.await.unwrap();
        result
    }

    fn answer(&self, method: &str, uri: &http::Uri, body: &Value) -> Answer {
        let mut objects = self.objects.lock().unwrap();
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let run = |hook: &Mutex<Option<Hook>>, objects: &mut Objects| {
            let mut hook = hook.lock().unwrap();
            hook.as_mut().and_then(|hook| hook(objects, method, path))
        };
        if let Some(answer) = run(&self.before, &mut objects) {
            return answer;
        }
        // A dry run changes nothing.
        if query.contains("dryRun") {
            return (200, body.clone());
        }
        if method != "GET" {
            self.written
                .lock()
                .unwrap()
                .push(format!("{method} {path}"));
        }
        let answer = objects.answer(method, (path, query), body);
        run(&self.after, &mut objects);
        answer
    }

    /// Returns the writes since the last call.
    pub(crate) fn take_written(&self) -> Vec<String> {
        std::mem::take(&mut *self.written.lock().unwrap())
    }

    /// Sets its clock.
    pub(crate) fn set_date(&self, date: String) {
        *self.date.lock().unwrap() = Some(date);
    }

    pub(crate) fn has(&self, part: &str) -> bool {
        let objects = self.objects.lock().unwrap();
        objects.by_path.keys().any(|path| path.contains(part))
    }

    pub(crate) fn look(&self, part: &str) -> Value {
        let objects = self.objects.lock().unwrap();
        objects.by_path[&objects.path(part)].clone()
    }

    pub(crate) fn change(&self, part: &str, change: impl FnOnce(&mut Value)) {
        self.objects.lock().unwrap().change(part, change);
    }
}

fn once(
    method: &'static str,
    part: &'static str,
    mut act: impl FnMut(&mut Objects) -> Option<Answer> + Send + 'static,
) -> Hook {
    let mut is_done = false;
    Box::new(move |objects, asked, path| {
        if is_done || asked != method || !path.contains(part) {
            return None;
        }
        is_done = true;
        act(objects)
    })
}
