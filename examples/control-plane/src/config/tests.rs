//! The exact messages about invalid configurations.

mod sample;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

const GOOD: &str = r#"
organization = "acme"
[sealing]
key = { id = "2026-11", file = "sealing.key" }
[egress]
networks = ["127.0.0.0/8"]
plain_http = ["127.0.0.1:5000"]
trusted_realms = [{ registry = "r.example", realm = "auth.example" }]
[deployer]
deadline_seconds = 60
steps = 2
[[registries]]
id = "images"
host = "registry.example.com"
authentication = "basic"
username = "ada"
password = { file = "password" }
[[data_planes]]
id = "local"
backend = "kubernetes"
cloud = "azure"
platforms = ["linux/amd64"]
[data_planes.policy]
security = "baseline"
[[environments]]
id = "development"
data_plane = "local"
[[environments]]
id = "production"
production = true
data_plane = "local"
[[components]]
id = "orders"
project = "shop"
type = "service"
registry = "images"
[components.workload]
endpoints = [{ name = "http", port = 8080, protocol = "http" }]
[components.settings.production]
scaling = { replicas = 3 }
"#;

/// A directory with the files that these configurations name.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("sealing.key"), "07".repeat(32)).unwrap();
        fs::write(directory.path().join("password"), "correct horse\n").unwrap();
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, text: &str) -> PathBuf {
        let path = self.path().join("control-plane.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// Returns all problems of a configuration, one per line.
    fn problems(&self, text: &str) -> String {
        let directory = format!("{}/", self.path().display());
        match Configuration::open(&self.write(text)) {
            Ok(_) => String::new(),
            Err(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                lines.join("\n").replace(&directory, "")
            }
        }
    }

    /// Returns the problems of the good configuration after one change.
    fn changed(&self, good: &str, bad: &str) -> String {
        assert!(GOOD.contains(good), "{good}");
        self.problems(&GOOD.replacen(good, bad, 1))
    }
}

#[test]
fn a_good_configuration_makes_plans() {
    let directory = Directory::new();
    let (configuration, secrets) = Configuration::open(&directory.write(GOOD)).unwrap();
    assert_eq!(
        configuration.store,
        directory.path().join("control-plane.db")
    );
    assert_eq!(configuration.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(configuration.public_url.as_str(), "http://127.0.0.1:8080");
    assert_eq!(
        configuration.options.deployment_deadline,
        Duration::from_secs(60)
    );
    let plan = configuration.plan(&"orders".parse().unwrap()).unwrap();
    let stages: Vec<_> = plan
        .stages
        .iter()
        .map(|stage| stage.environment.id.as_str())
        .collect();
    assert_eq!(stages, ["development", "production"]);
    assert_eq!(plan.stages[0].settings.scaling, None);
    assert_eq!(
        plan.stages[1]
            .settings
            .scaling
            .map(|scaling| scaling.minimum()),
        Some(3)
    );
    let OpenRegistry::Known(registry) = &secrets.registries[&"images".parse().unwrap()] else {
        panic!("it has a credential");
    };
    let credential = registry.credential().unwrap();
    assert_eq!(
        credential.expose_password(),
        "correct horse",
        "one line end is dropped"
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    let directory = Directory::new();
    let text = r#"
        organisation = "acme"
        [server]
        listen = "8080"
        public_url = "http://cd.example.com"
        [sealing]
        key = { id = "2026-11", file = "missing.key" }
        [egress]
        networks = ["10.0.0.0/8", "10.0.0.0/99"]
        [deployer]
        steps = 0
        [[registries]]
        id = "images"
        host = "registry.example.com/team"
        authentication = "basic"
        username = "ada"
        password = "hunter2"
        [[registries]]
        id = "images"
        host = "docker.io"
        authentication = "oauth"
        [[data_planes]]
        id = "local"
        backend = "nomad"
        [[environments]]
        id = "development"
        data_plane = "lokal"
        [[components]]
        id = "Orders"
        project = "shop"
        type = "service"
        registry = "image"
        workload = { endpoints = [] }
        [components.settings.prod]
        scaling = { replicas = 3 }
    "#;
    let problems = directory.problems(text);
    assert!(
        !problems.contains("hunter2"),
        "a secret in the wrong place is not shown: {problems}"
    );
    let expected = r#"registries[1].id: "images" is a duplicate: choose another id
environments[0].data_plane: data plane "lokal" does not exist: did you mean "local"? use one of local
"#;
    assert!(problems.starts_with(expected), "{problems}");
    let expected = r#"
components[0].registry: registry "image" does not exist: did you mean "images"? use one of images
components[0].settings.prod: environment "prod" does not exist: use one of development
"#;
    assert!(problems.contains(expected), "{problems}");
    let paths: Vec<_> = problems
        .lines()
        .filter_map(|line| line.split(": ").next())
        .collect();
    for path in [
        "server.listen",
        "server.public_url",
        "egress.networks[1]",
        "deployer.steps",
        "registries[0].host",
        "registries[0].password",
        "registries[1].authentication",
        "data_planes[0].backend",
        "components[0].id",
        "components[0].workload.endpoints",
        "organisation",
        "sealing.key",
    ] {
        assert!(paths.contains(&path), "{path} is not among {problems}");
    }
}

#[test]
fn each_problem_has_its_message() {
    let directory = Directory::new();
    for (good, bad, problem) in [
        (
            "organization = ",
            "organisation = ",
            "organisation: is not known: did you mean \"organization\"? use one of organization, server, store, sealing, egress, \
             deployer, registries, data_planes, environments, components",
        ),
        (
            "project = \"shop\"",
            "",
            "components[0].project: is missing",
        ),
        (
            "port = 8080",
            "prot = 8080",
            "components[0].workload.endpoints[0].port: is missing\n\
             components[0].workload.endpoints[0].prot: is not known: did you mean \"port\"?",
        ),
        (
            "scaling = { replicas = 3 }",
            "scailing = { replicas = 3 }",
            "components[0].settings.production.scailing: is not known: did you mean \"scaling\"?",
        ),
        (
            "security = \"baseline\"",
            "securty = \"baseline\"",
            "data_planes[0].policy.securty: is not known: did you mean \"security\"? use one of \
             namespaces, security, writable-root, pull-policy, labels, annotations, zones, \
             scratch, timing",
        ),
        (
            "protocol = \"http\" }]",
            "protocol = \"http\" }]\n[components.workload.probes]\n\
             readiness = { http = { path = \"ready\", port = 8080 } }",
            "components[0].workload.probes.readiness.http.path: is not valid: begin with '/', \
             without blanks",
        ),
        (
            "protocol = \"http\" }]",
            "protocol = \"http\" }]\n[components.workload.probes]\n\
             startup = { tcp = { port = 9090 } }\nliveness = { http = { path = \"/\", port = 8081 } }",
            "components[0].workload.probes.liveness.http.port: 8081 is not the port of an \
             endpoint: use one of 8080\n\
             components[0].workload.probes.startup.tcp.port: 9090 is not the port of an \
             endpoint: use one of 8080",
        ),
        (
            "cloud = \"azure\"",
            "in_cluster = true\ncontext = \"eu-1\"",
            "data_planes[0].in_cluster: uses the service account: remove kubeconfig and \
             context",
        ),
        (
            "steps = 2",
            "steps = 2\nspeed = 3",
            "deployer.speed: is not known: use one of deadline_seconds, steps, \
             steps_per_data_plane, lease_seconds",
        ),
        (
            "[sealing]\nkey = { id = \"2026-11\", file = \"sealing.key\" }",
            "",
            "sealing.key: is missing: write key = { id = \"NAME\", env = \"VARIABLE\" }, of 64 \
             hexadecimal digits",
        ),
    ] {
        assert_eq!(directory.changed(good, bad), problem);
    }
}

/// Guards that a number that TOML has and JSON does not have is rejected at its path. It used to turn
/// the component into "not a table".
#[test]
fn numbers_that_are_not_finite_are_rejected() {
    let directory = Directory::new();
    for number in ["nan", "inf", "-inf"] {
        for (good, bad, path) in [
            (
                "port = 8080",
                "port = NUMBER",
                "components[0].workload.endpoints[0].port",
            ),
            (
                "scaling = { replicas = 3 }",
                "scaling = NUMBER",
                "components[0].settings.production.scaling",
            ),
            (
                "scaling = { replicas = 3 }",
                "variables = { \"a b\" = NUMBER }",
                "components[0].settings.production.variables[\"a b\"]",
            ),
            (
                "project = ",
                "name = NUMBER\nproject = ",
                "components[0].name",
            ),
        ] {
            let problems = directory.changed(good, &bad.replace("NUMBER", number));
            let wanted = format!("{path}: {number} is not valid: use a finite number");
            let said: Vec<_> = { problems.lines() }
                .filter(|line| line.starts_with(&format!("{path}: ")))
                .collect();
            assert_eq!(said, [wanted], "{problems}");
        }
        let steps = directory.changed("steps = 2", &format!("steps = {number}"));
        assert!(steps.starts_with("deployer.steps: is "), "{steps}");
        // An inline list.
        let whole = format!("components = [{{ id = \"a\", type = {number} }}]");
        let problems = directory.problems(&whole);
        let wanted = format!("components[0].type: {number} is not valid: use a finite number");
        assert!(problems.contains(&wanted), "{problems}");
    }
}

#[test]
fn a_wrong_field_hides_no_other_problem_of_its_entry() {
    let directory = Directory::new();
    let text = r#"
        [sealing]
        key = { id = "a", file = "sealing.key" }
        [[registries]]
        id = "images"
        host = "not a host"
        authentication = "basic"
        username = "ada"
        password = { env = "CHOREO_TEST_NEVER_SET" }
        [[environments]]
        id = "development"
        data_plane = "local"
        [[data_planes]]
        id = "local"
        backend = "memory"
        [[components]]
        id = "orders"
        project = "shop"
        type = "servise"
        registry = "images"
        workload = { container = { argz = [] } }
    "#;
    let problems = directory.problems(text);
    for said in [
        "registries[0].password: environment variable \"CHOREO_TEST_NEVER_SET\" is not set",
        "components[0].type: component type \"servise\" is not known: did you mean \"service\"?",
        "components[0].workload.container.argz: is not known: did you mean \"args\"?",
    ] {
        assert!(problems.contains(said), "{problems}");
    }
}

#[test]
fn a_schedule_that_the_api_server_rejects_is_reported() {
    let directory = Directory::new();
    let text = GOOD
        .replace("\"service\"", "\"scheduled-task\"")
        .replace(
            "endpoints = [{ name = \"http\", port = 8080, protocol = \"http\" }]",
            "schedule = { cron = \"0 25 * * *\", time_zone = \"europe/berlin\" }",
        )
        .replace("scaling = { replicas = 3 }", "suspended = true");
    let problems = directory.problems(&text);
    for said in [
        "components[0].workload.schedule.cron: schedule's hour \"25\" is not valid: use 0 to 23",
        "components[0].workload.schedule.time_zone: time zone \"europe/berlin\" is not in the IANA \
         database: did you mean \"Europe/Berlin\"?",
    ] {
        assert!(problems.contains(said), "{problems}");
    }
}

/// Guards that a secret is read also if its entry has another problem.
#[test]
fn secrets_of_invalid_entries_are_read() {
    let directory = Directory::new();
    let missing = "env = \"CHOREO_TEST_NEVER_SET\"";
    let said = "environment variable \"CHOREO_TEST_NEVER_SET\" is not set: set it to the secret";
    for (good, bad, path) in [
        ("\"basic\"", "\"basik\"", "registries[0].password"),
        ("username = \"ada\"", "", "registries[0].password"),
        ("id = \"images\"", "", "registries[0].password"),
        ("id = \"2026-11\", ", "", "sealing.key"),
    ] {
        let field = if path == "sealing.key" {
            "sealing.key"
        } else {
            "password"
        };
        let text = GOOD.replace(&format!("file = {field:?}"), missing);
        let changed = text.replacen(good, bad, 1);
        assert_ne!(changed, text, "{good}");
        let problems = directory.problems(&changed);
        assert!(
            problems.contains(&format!("{path}: {said}")),
            "{good}: {problems}"
        );
    }
    fs::write(directory.path().join("good.pem"), "no certificate").unwrap();
    let certificates = "root_certificates = [\"missing.pem\", \"good.pem\"]\nnetworks";
    let problems = directory.changed("networks", certificates);
    assert!(
        problems.contains("egress.root_certificates[0]: file "),
        "{problems}"
    );
    assert!(
        problems.contains("egress.root_certificates[1]: file "),
        "{problems}"
    );
}

#[test]
fn secrets_are_read() {
    let directory = Directory::new();
    fs::write(directory.path().join("empty"), "\n").unwrap();
    fs::write(
        directory.path().join("config.json"),
        r#"{"credHelpers": {"a": "b"}}"#,
    )
    .unwrap();
    let password = "password = { file = \"password\" }";
    let hint = "write { env = \"NAME\" } or { file = \"PATH\" }, because this file must not contain secrets";
    for (good, bad, problem) in [
        (
            password,
            "password = { env = \"CHOREO_TEST_NEVER_SET\" }",
            "registries[0].password: environment variable \"CHOREO_TEST_NEVER_SET\" is not set: set it to \
             the secret"
                .to_owned(),
        ),
        (
            password,
            "password = { file = \"missing\" }",
            "registries[0].password: file \"missing\" cannot be read: No such file or directory"
                .to_owned(),
        ),
        (
            password,
            "password = { file = \"empty\" }",
            "registries[0].password: file \"empty\" is empty: write the secret to it".to_owned(),
        ),
        (
            password,
            "password = \"hunter2\"",
            format!("registries[0].password: is not a table: {hint}"),
        ),
        (
            password,
            "password = { file = \"password\", env = \"A\" }",
            format!("registries[0].password: {hint}"),
        ),
        (
            password,
            "",
            "registries[0].authentication: basic needs either username and password, or \
             existing_secret"
                .to_owned(),
        ),
        (
            "file = \"sealing.key\"",
            "file = \"password\"",
            "sealing.key: sealing key is not valid: write 32 random bytes as 64 hexadecimal digits"
                .to_owned(),
        ),
        (
            "networks",
            "root_certificates = [\"missing.pem\"]\nnetworks",
            "egress.root_certificates[0]: file \"missing.pem\" cannot be read: No such file or \
             directory"
                .to_owned(),
        ),
    ] {
        assert_eq!(directory.changed(good, bad), problem);
    }
    let basic =
        "authentication = \"basic\"\nusername = \"ada\"\npassword = { file = \"password\" }";
    let helpers = "authentication = \"docker-config\"\ndocker_config = { file = \"config.json\" }";
    let problem = directory.changed(basic, helpers);
    assert!(
        problem.starts_with("registries[0].docker_config: ") && problem.contains("credHelpers"),
        "{problem}"
    );
}

#[test]
fn rules_of_registries_are_checked() {
    let directory = Directory::new();
    let basic =
        "authentication = \"basic\"\nusername = \"ada\"\npassword = { file = \"password\" }";
    assert_eq!(
        directory.changed(basic, "authentication = \"vendor\""),
        "registries[0].authentication: \"registry.example.com\" (self-hosted registry) gives nodes no access by \
         their identity: choose basic or docker-config"
    );
    let existing = "authentication = \"basic\"\nexisting_secret = \"pull\"";
    assert_eq!(directory.changed(basic, existing), "");
    let of_a_component = existing.replace("pull", "orders-8913b73fb1d8-pull");
    assert_eq!(
        directory.changed(basic, &of_a_component),
        "registries[0].existing_secret: \"orders-8913b73fb1d8-pull\" is the pull secret of a \
         component: use your own Secret"
    );
}

#[test]
fn text_that_is_not_toml_is_not_shown() {
    let directory = Directory::new();
    let problems = directory.problems("a = 1\npassword = \"hunter2");
    assert!(problems.starts_with("line 2, column "), "{problems}");
    assert!(!problems.contains("hunter2"), "{problems}");
    let missing = Configuration::read(&directory.path().join("none.toml")).unwrap_err();
    assert!(
        missing[0].message.contains("cannot be read: No such file"),
        "{missing:?}"
    );
}

#[test]
fn no_secret_is_read_if_none_is_needed() {
    let directory = Directory::new();
    let text = GOOD
        .replace("sealing.key", "missing.key")
        .replace("\"password\"", "\"missing\"");
    assert!(Configuration::read(&directory.write(&text)).is_ok());
}

#[test]
fn the_sample_is_good() {
    let sample = include_str!("../../control-plane.toml");
    let directory = Directory::new();
    // Its one variable becomes a file, because other tests run at the same time.
    let sample = sample.replace("env = \"CHOREO_SEALING_KEY\"", "file = \"sealing.key\"");
    assert_eq!(directory.problems(&sample), "");
}
