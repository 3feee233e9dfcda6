use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, MapDeserializer};
use serde_json::{Value, json};

use super::*;
use crate::Workload;
use crate::deployment::Deployment;
use crate::reason::Reason;
use crate::release::{Release, ReleaseDraft};
use crate::rollout::{Rollout, RunStatus};
use crate::run::{Run, RunOverrides};
use crate::settings::Settings;
use crate::target::{Component, Environment, Target};

fn problems<T: Document + Debug>(text: &str) -> Vec<String> {
    let problems = parse::<T>(text).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn typos_in_workloads_and_settings_are_refused() {
    assert_eq!(
        problems::<Settings>(r#"{"replicas": 3}"#),
        ["replicas: is not known: use one of scaling, variables, schedule, resources, suspended"]
    );
    assert_eq!(
        problems::<Workload>(r#"{"type": "manual-task", "contianer": {}}"#),
        ["contianer: is not known: did you mean \"container\"?"]
    );
    assert_eq!(
        problems::<RunOverrides>(r#"{"arg": ["x"]}"#),
        ["arg: is not known: did you mean \"args\"?"]
    );
    let login = |name: &str| {
        format!(
            r#"{{"variables": {{"LOGIN": {{"from": {{"secret": {{"name": "{name}", "key": "k"}}}}}}}}}}"#
        )
    };
    assert_eq!(
        problems::<Settings>(&login("orders-8913b73fb1d8-pull")),
        [
            "variables.LOGIN.from.secret: Secret \"orders-8913b73fb1d8-pull\" has the name of a pull \
          secret, which no component may read: make a Secret of another name"
        ]
    );
    assert!(parse::<Settings>(&login("orders-pull")).is_ok());
    // The `Deserialize` of an HTTP API is equally strict.
    for error in [
        serde_json::from_str::<Settings>(r#"{"replicas": 3}"#).map(drop),
        serde_json::from_str::<Workload>(r#"{"type": "manual-task", "contianer": {}}"#).map(drop),
        serde_json::from_value::<Workload>(json!({ "type": "manual-task", "contianer": {} }))
            .map(drop),
    ] {
        assert!(error.unwrap_err().to_string().contains("is not known"));
    }
}

#[test]
fn every_problem_is_said_at_once_with_its_path() {
    let text = r#"{
        "type": "service",
        "container": {
            "args": ["a", 1],
            "variables": {"1X": {"literal": "x"}, "A": {"from": {"secrt": {}}}, "B": {"literal": 7}},
            "files": {"etc": {"secret": {"name": "a"}}},
            "resources": {"cpu_request": "lots", "memory_limit": 7},
            "run_as": {"user": 0}
        },
        "endpoints": [
            {"name": "Api", "port": 0, "protocol": "https"},
            {"name": "api", "port": 70000, "protocol": "http", "visibilty": "public"}
        ],
        "scaling": {"minimum": 3, "maximum": 1, "cpu_percent": 70, "cpu": 1},
        "scalling": {},
        "probes": {"readiness": {"http": {"path": "ready", "port": 80}, "tcp": {"port": 80}}, "liveness": {}}
    }"#;
    assert_eq!(
        problems::<Workload>(text),
        [
            "container.args[1]: is a number: write a text",
            "container.variables.1X: environment variable name \"1X\" is not valid: start with a letter or '_', then letters, digits, '_', '.' or '-'",
            "container.variables.A.from.secrt: is not known: did you mean \"secret\"?",
            "container.variables.B.literal: is a number: write a text",
            "container.files.etc: mount path \"etc\" is not valid: use an absolute path without '.', '..' or ':'",
            "container.files.etc.secret.key: is missing",
            "container.resources.cpu_request: cpu \"lots\" is not valid: write cores or thousandths, such as 0.5 or 500m",
            "container.resources.memory_limit: is a number: write an amount of memory as text, such as \"256Mi\"",
            "container.run_as.user: 0 is not valid: use a whole number from 1 to 4294967295",
            "endpoints[0].name: endpoint name \"Api\" is not valid: use 1 to 15 characters of a-z, 0-9 and single '-', with at least one letter",
            "endpoints[0].port: 0 is not valid: use a whole number from 1 to 65535",
            "endpoints[0].protocol: \"https\" is not valid: did you mean \"http\"?",
            "endpoints[1].port: 70000 is not valid: use a whole number from 1 to 65535",
            "endpoints[1].visibilty: is not known: did you mean \"visibility\"?",
            "scaling: maximum of 1 replicas is below the minimum of 3: raise the maximum",
            "scaling.cpu: is not known: use one of minimum, maximum, cpu_percent",
            "probes.readiness.http.path: is not valid: begin with '/', without blanks",
            "probes.liveness: needs exactly one of http, tcp and exec",
            "scalling: is not known: did you mean \"scaling\"?",
        ]
    );
}

#[test]
fn duplicate_members_are_rejected() {
    let text =
        r#"{"scaling": {"replicas": 1, "replicas": 3}, "suspended": true, "suspended": false}"#;
    assert_eq!(
        problems::<Settings>(text),
        [
            "scaling.replicas: is a duplicate: remove one",
            "suspended: is a duplicate: remove one",
        ]
    );
}

/// Guards that a number that JSON does not have is rejected with its path. It used to be read as
/// `null`, and so as a missing member.
#[test]
fn numbers_that_are_not_finite_are_rejected() {
    for (number, shown) in [
        (f64::NAN, "nan"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
    ] {
        let document = || {
            let members = [("minimum", 1.0), ("maximum", 2.5), ("cpu_percent", number)];
            let scaling = MapDeserializer::<_, ValueError>::new(members.into_iter());
            MapDeserializer::<_, ValueError>::new([("scaling", scaling)].into_iter())
        };
        let wanted = format!("scaling.cpu_percent: {shown} is not valid: use a finite number");
        let error = Settings::deserialize(document()).unwrap_err().to_string();
        assert!(error.contains(&wanted), "{error}");
        assert!(
            error.contains("scaling.maximum: 2.5 is not valid"),
            "{error}"
        );
        // The member is not reported as missing too.
        assert_eq!(error.matches("cpu_percent").count(), 1, "{error}");
        let error = Stored::<Settings>::deserialize(document()).unwrap_err();
        assert!(error.to_string().contains(&wanted), "{error}");
    }
}

#[test]
fn what_is_no_document_says_so() {
    let code = |text: &str| parse::<Settings>(text).unwrap_err()[0].code;
    assert_eq!(code("{"), DocumentProblemCode::Syntax);
    assert_eq!(code("{} {}"), DocumentProblemCode::Syntax);
    assert_eq!(code("[]"), DocumentProblemCode::WrongType);
    assert_eq!(code(&"[".repeat(100_000)), DocumentProblemCode::Syntax);
    assert_eq!(code(&" ".repeat(LIMIT + 1)), DocumentProblemCode::TooLarge);
    for code in DocumentProblemCode::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}

#[test]
fn a_value_at_a_wrong_place_is_not_shown() {
    let text = r#"{"type": "manual-task", "container": {"variables": {"A": "hunter2"}, "run_as": "hunter2"}}"#;
    assert!(!problems::<Workload>(text).concat().contains("hunter2"));
}

#[test]
fn rows_of_other_versions_stay_readable() {
    let row = r#"{"type": "web-application", "endpoint": {"name": "http", "port": 8080, "protocol": "http",
        "visibility": "public"}, "later": 1, "container": {"later": {"x": 1}}}"#;
    let Stored(workload) = serde_json::from_str::<Stored<Workload>>(row).unwrap();
    assert_eq!(workload.endpoints()[0].port.get(), 8080);
    assert!(serde_json::from_str::<Workload>(row).is_err());
    // An invalid value is still rejected.
    let row = r#"{"type": "web-application", "port": 0}"#;
    assert!(serde_json::from_str::<Stored<Workload>>(row).is_err());
}

/// Reads a document, writes it again, and compares both.
fn holds<T: Serialize + DeserializeOwned>(document: &Value) {
    let read: T = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), *document);
}

fn workload() -> Value {
    json!({
        "type": "service",
        "container": {
            "command": ["/app"],
            "args": ["--quiet"],
            "variables": {
                "DATABASE_URL": { "from": { "secret": { "name": "database", "key": "url" } } },
                "MODE": { "literal": "fast" },
            },
            "files": { "/etc/app/config.yaml": { "config-map": { "name": "app", "key": "config" } } },
            "resources": {
                "cpu_request": "250m", "cpu_limit": "1000m", "memory_request": "256Mi", "memory_limit": "1Gi",
            },
            "run_as": { "user": 10001, "group": 10002 },
        },
        "endpoints": [
            { "name": "api", "port": 8080, "protocol": "http", "visibility": "project" },
            { "name": "live", "port": 8081, "protocol": "websocket", "visibility": "public", "base_path": "/live" },
        ],
        "scaling": { "minimum": 1, "maximum": 5, "cpu_percent": 70 },
        "probes": {
            "readiness": {
                "http": { "path": "/ready", "port": 8080 },
                "period_seconds": 5, "timeout_seconds": 2, "failure_threshold": 3,
            },
            "liveness": {
                "tcp": { "port": 8080 }, "period_seconds": 5, "timeout_seconds": 2, "failure_threshold": 3,
            },
            "startup": {
                "exec": { "command": ["/check"] },
                "period_seconds": 5, "timeout_seconds": 2, "failure_threshold": 3,
            },
        },
        "progress_deadline": 300,
    })
}

fn container() -> Value {
    json!({
        "command": [], "args": [], "variables": {}, "files": {},
        "resources": { "cpu_request": "100m", "memory_request": "256Mi", "memory_limit": "256Mi" },
    })
}

fn schedule() -> Value {
    json!({
        "cron": "0 3 * * *", "time_zone": "Europe/Berlin", "concurrency": "forbid",
        "starting_deadline_seconds": 300,
    })
}

/// The JSON of users. A change here breaks their documents.
#[test]
fn the_json_of_documents() {
    holds::<Workload>(&workload());
    holds::<Workload>(&json!({
        "type": "web-application", "container": container(), "port": 8080, "scaling": { "replicas": 1 },
        "probes": {}, "progress_deadline": 300,
    }));
    let limits = json!({ "deadline_seconds": 3600, "retries": 0 });
    holds::<Workload>(&json!({
        "type": "scheduled-task", "container": container(), "schedule": schedule(), "limits": limits,
    }));
    holds::<Workload>(
        &json!({ "type": "manual-task", "container": container(), "limits": limits }),
    );
    holds::<Settings>(&json!({}));
    holds::<Settings>(&json!({
        "scaling": { "replicas": 3 }, "variables": { "A": { "literal": "b" } }, "schedule": schedule(),
        "resources": { "cpu_request": "100m", "memory_request": "256Mi", "memory_limit": "256Mi" },
        "suspended": true,
    }));
    holds::<RunOverrides>(&json!({ "args": ["x"], "variables": { "A": "b" } }));
    holds::<DocumentProblem>(
        &json!({ "path": "a.b", "code": "missing-member", "message": "is missing" }),
    );
}

fn target() -> Value {
    json!({
        "organization": "acme", "project": "shop", "component": "orders", "environment": "development",
    })
}

fn reason() -> Value {
    json!({ "code": "image-not-found", "message": "a", "help": "b", "evidence": "c" })
}

/// The JSON of records. A change here breaks stored rows and other readers.
#[test]
fn the_json_of_records() {
    let (time, digest) = ("2026-11-26T12:00:00Z", format!("sha256:{}", "0".repeat(64)));
    let image = json!({ "requested": "registry.example.com/orders:1", "pin": { "digest": digest, "by": "resolved" } });
    holds::<Target>(&target());
    holds::<Reason>(&reason());
    holds::<ReleaseDraft>(&json!({ "workload": workload(), "image": image }));
    holds::<Release>(&json!({
        "format": 1, "render_version": 1, "organization": "acme", "component": "orders", "number": 1,
        "workload": workload(), "image": image, "registry": "images", "created_at": time,
    }));
    holds::<Rollout>(&json!({
        "generation": { "epoch": 0, "number": 1 }, "phase": "progressing", "reasons": [reason()],
        "running": digest,
    }));
    holds::<RunStatus>(
        &json!({ "phase": "failed", "exit_code": 1, "reasons": [reason()], "is_stuck": false }),
    );
    holds::<Component>(&json!({
        "id": "orders", "project": { "organization": "acme", "id": "shop" }, "name": "Orders",
        "component_type": "web-application", "registry": "images",
    }));
    holds::<Environment>(&json!({
        "id": "development", "name": "Development", "production": false, "data_plane": "eu-1",
    }));
    holds::<Run>(&json!({
        "id": "r-0123456789abcdef", "target": target(), "data_plane": "eu-1",
        "generation": { "epoch": 0, "number": 1 }, "release": 1, "settings_version": 1,
        "overrides": { "args": [], "variables": {} }, "phase": "pending", "exit_code": null,
        "reasons": [], "accepted_at": time, "deadline_at": time, "cancel_requested": false,
        "changed_at": time, "revision": 1,
    }));
    let image = json!({
        "reference": "registry.example.com/orders:1", "as_written": "registry.example.com/orders:1",
        "claimed": digest,
    });
    for (cause, subject) in [
        (
            json!({ "ci": "t-0123456789abcdef" }),
            json!({ "image": image }),
        ),
        (json!("promotion"), json!({ "release": 1 })),
        (json!("manual"), json!("absence")),
    ] {
        holds::<Deployment>(&json!({
            "id": "d-0123456789abcdef", "target": target(), "data_plane": "eu-1",
            "generation": { "epoch": 0, "number": 1 }, "cause": cause, "subject": subject,
            "settings_version": 1, "release": null, "phase": "timed-out", "reasons": [reason()],
            "provenance": { "commit": "abc", "run_url": "https://ci.example.com/1" }, "accepted_at": time,
            "deadline_at": time, "changed_at": time, "revision": 1,
        }));
    }
}
