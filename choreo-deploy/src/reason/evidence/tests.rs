use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::string::string_regex;
use proptest::test_runner::TestRunner;

use super::*;

fn shown(text: &str) -> String {
    Evidence::from_untrusted(text).as_str().to_owned()
}

/// The forms of tokens according to their vendors and to the rules of secret scanners. The values are
/// random at run time, so that the source contains none.
const VENDORS: &[(&str, &str)] = &[
    ("1password service account", "ops_eyJ[A-Za-z0-9+/]{250}"),
    ("adobe", "p8e-[a-z0-9]{32}"),
    (
        "age",
        "AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
    ),
    ("alibaba", "LTAI[a-z0-9]{20}"),
    ("anthropic", "sk-ant-api03-[A-Za-z0-9_-]{93}AA"),
    ("artifactory key", "AKCp[A-Za-z0-9]{69}"),
    ("artifactory reference", "cmVmd[A-Za-z0-9]{59}"),
    ("atlassian", "ATATT3[A-Za-z0-9_=-]{186}"),
    ("aws access key id", "(AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{15}7"),
    ("azure entra", "[A-Za-z0-9_]{3}8Q~[A-Za-z0-9_.-]{31}"),
    ("bitbucket app password", "ATBB[A-Za-z0-9]{32}"),
    ("buildkite", "bkua_[a-z0-9]{40}"),
    ("choreo", "chd_[A-Za-z0-9]{36}"),
    ("circleci", "CCIPAT_[A-Za-z0-9]{22}_[a-f0-9]{40}"),
    ("clojars", "CLOJARS_[a-z0-9]{60}"),
    ("contentful", "CFPAT-[A-Za-z0-9_-]{43}"),
    ("crates.io", "cio[A-Za-z0-9]{31}4"),
    ("databricks", "dapi[a-f0-9]{31}3"),
    ("digitalocean", "dop_v1_[a-f0-9]{64}"),
    ("docker organization", "dckr_oat_[A-Za-z0-9_-]{32}"),
    ("docker personal", "dckr_pat_[A-Za-z0-9_-]{27}"),
    ("doppler", "dp\\.pt\\.[A-Za-z0-9]{43}"),
    ("dynatrace", "dt0c01\\.[A-Z0-9]{24}\\.[A-Z0-9]{64}"),
    ("easypost", "EZ(AK|TK)[A-Za-z0-9]{54}"),
    ("figma", "figd_[A-Za-z0-9_-]{40}"),
    ("fly.io", "fm2_[A-Za-z0-9+/]{100}"),
    ("gcp api key", "AIza[A-Za-z0-9_-]{35}"),
    ("gcp oauth secret", "GOCSPX-[A-Za-z0-9_-]{28}"),
    ("gcp oauth token", "ya29\\.[A-Za-z0-9_-]{60}"),
    ("github app", "(ghu|ghs)_[A-Za-z0-9]{36}"),
    (
        "github fine grained",
        "github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
    ),
    ("github oauth", "gho_[A-Za-z0-9]{36}"),
    ("github personal", "ghp_[A-Za-z0-9]{36}"),
    ("github refresh", "ghr_[A-Za-z0-9]{36}"),
    ("gitlab deploy", "gldt-[A-Za-z0-9_-]{20}"),
    ("gitlab job", "glcbt-[A-Za-z0-9]{2}_[A-Za-z0-9_-]{20}"),
    ("gitlab personal", "glpat-[A-Za-z0-9_-]{20}"),
    ("gitlab runner", "glrt-[A-Za-z0-9_-]{20}"),
    ("gitlab trigger", "glptt-[a-f0-9]{40}"),
    ("grafana cloud", "glc_[A-Za-z0-9+/]{60}"),
    (
        "grafana service account",
        "glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}",
    ),
    ("groq", "gsk_[A-Za-z0-9]{52}"),
    ("heroku", "HRKU-AA[A-Za-z0-9_-]{58}"),
    ("hugging face", "hf_[A-Za-z]{34}"),
    (
        "json web token",
        "eyJ[A-Za-z0-9_-]{30}\\.eyJ[A-Za-z0-9_-]{40}\\.[A-Za-z0-9_-]{43}",
    ),
    ("linear", "lin_api_[A-Za-z0-9]{40}"),
    ("mailgun", "key-[a-f0-9]{31}2"),
    ("neon", "napi_[a-z0-9]{64}"),
    ("netlify", "nfp_[A-Za-z0-9]{36}"),
    ("new relic", "NRAK-[A-Z0-9]{27}"),
    ("notion", "ntn_[A-Za-z0-9]{46}"),
    ("npm", "npm_[A-Za-z0-9]{36}"),
    ("nuget", "oy2[a-z0-9]{42}3"),
    (
        "openai project",
        "sk-proj-[A-Za-z0-9_-]{74}T3BlbkFJ[A-Za-z0-9_-]{74}",
    ),
    ("openai", "sk-[A-Za-z0-9]{19}1T3BlbkFJ[A-Za-z0-9]{20}"),
    ("openrouter", "sk-or-v1-[a-f0-9]{64}"),
    ("openshift", "sha256~[A-Za-z0-9_-]{42}1"),
    ("perplexity", "pplx-[A-Za-z0-9]{48}"),
    ("planetscale", "pscale_(tkn|pw|oauth)_[A-Za-z0-9_.-]{40}"),
    ("postman", "PMAK-[a-f0-9]{24}-[a-f0-9]{34}"),
    ("prefect", "pnu_[A-Za-z0-9]{36}"),
    ("pulumi", "pul-[a-f0-9]{40}"),
    ("pypi", "pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{60}"),
    ("readme", "rdme_[a-z0-9]{70}"),
    ("replicate", "r8_[A-Za-z0-9]{37}"),
    ("rubygems", "rubygems_[a-f0-9]{48}"),
    ("sendgrid", "SG\\.[A-Za-z0-9_-]{22}\\.[A-Za-z0-9_-]{43}"),
    ("sendinblue", "xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}"),
    ("sentry", "sntrys_eyJ[A-Za-z0-9+/]{60}_[A-Za-z0-9+/]{43}"),
    ("shippo", "shippo_(live|test)_[a-f0-9]{40}"),
    ("shopify", "(shpat|shpca|shppa|shpss)_[A-Fa-f0-9]{32}"),
    ("slack app", "xapp-1-[A-Z0-9]{11}-[0-9]{13}-[a-f0-9]{64}"),
    ("slack bot", "xoxb-[0-9]{12}-[0-9]{12}-[A-Za-z0-9]{24}"),
    (
        "slack user",
        "xoxp-[0-9]{12}-[0-9]{12}-[0-9]{12}-[a-f0-9]{32}",
    ),
    ("sonar", "(squ|sqp|sqa)_[a-f0-9]{40}"),
    ("sourcegraph", "sgp_[A-Fa-f0-9]{16}_[A-Fa-f0-9]{40}"),
    ("square", "sq0csp-[A-Za-z0-9_-]{43}"),
    ("stripe", "(sk|rk)_(live|test)_[A-Za-z0-9]{24}"),
    ("stripe webhook", "whsec_[A-Za-z0-9]{32}"),
    ("supabase", "sbp_[a-f0-9]{40}"),
    (
        "tailscale",
        "tskey-auth-[A-Za-z0-9]{12}CNTRL-[A-Za-z0-9]{32}",
    ),
    ("telegram", "[0-9]{9}:AA[A-Za-z0-9_-]{32}7"),
    (
        "terraform cloud",
        "[A-Za-z0-9]{14}\\.atlasv1\\.[A-Za-z0-9]{67}",
    ),
    ("twilio", "SK[a-f0-9]{31}4"),
    ("typeform", "tfp_[A-Za-z0-9_.=-]{59}"),
    ("vault", "hv[sbr]\\.[A-Za-z0-9_-]{90}"),
    ("xai", "xai-[A-Za-z0-9]{80}"),
    ("yandex", "AQVN[A-Za-z0-9_-]{33}a7"),
];

#[test]
fn tokens_of_known_vendors_are_hidden() {
    let mut runner = TestRunner::deterministic();
    for (vendor, form) in VENDORS {
        let form = string_regex(form).unwrap();
        for _ in 0..20 {
            let token = form.new_tree(&mut runner).unwrap().current();
            // The beginning of a token may be shown, but not its second half.
            let (_, half) = token.split_at(token.len() / 2);
            let half = half.trim_end_matches(['.', '=', '-', '_', '+', '/']);
            for text in [
                token.clone(),
                format!("could not log in: {token} is not valid"),
                format!("[\"{token}\"]"),
                format!("({token}), and so on"),
            ] {
                let shown = shown(&text);
                assert!(!shown.contains(half), "{vendor}: {text}\n{shown}");
            }
        }
    }
}

/// The ways in which a value follows a name or a place. `%` is the value.
const CARRIERS: &[&str] = &[
    r#"{"auths":{"ghcr.io":{"auth":"%"}}}"#,
    r#"{"auths": {"ghcr.io": {"username": "me", "password": "%"}}}"#,
    r#""auth": "%""#,
    r#"{\"auth\":\"%\"}"#,
    r#"{"identitytoken" : "%"}"#,
    r#"{"token": "%"}"#,
    r#"{"client_secret": "%", "x": 1}"#,
    "{'password': '%'}",
    "AWS_SECRET_ACCESS_KEY=%",
    "export DB_PASS='%'",
    "api_key=%",
    "apiKey: \"%\"",
    "X-Api-Key: %",
    "X-Vault-Token: %",
    "X-Registry-Auth: %",
    "Server=db;Uid=sa;Pwd=%;",
    "passphrase: %",
    "password: %",
    "password:%",
    "password=%",
    "password = %",
    "password is %1",
    "token: %",
    "  token: %\n  user: me",
    "client_secret: %",
    "password: |\n  %\n  %\nuser: me",
    "Cookie: session=%",
    "set-cookie: sid=%; Path=/",
    "Authorization: Basic %",
    "authorization: %",
    "Authorization: Digest username=\"x\", response=\"%\"",
    "Authorization:[Bearer %]",
    "map[Authorization:[Basic %] Host:[r]]",
    r#"{"authorization": "Basic %"}"#,
    r#"headers: {"authorization": "%"}"#,
    "Proxy-Authorization: Bearer %",
    "Bearer %",
    "--password % --quiet",
    "--token=% --quiet",
    "curl -u me:% https://r.example",
    r#"args: ["--password=%", "x"]"#,
    "postgres://me:%@db/x",
    "https://%@github.com/o/r",
    "https://r.example/x?sig=%&y=1",
    "Get \"https://r.example/v2/?token=%\": EOF",
    "jdbc:sqlserver://h:1433;user=sa;password=%;x=y",
    "jdbc:oracle:thin:scott/%@//h:1521/x",
    "redis u:%@db:6379",
    "me:%@db/x",
    "//registry.npmjs.org/:_authToken=%",
    "<password>%</password>",
    ":password=>\"%\"",
    "Config { password: \"%\", user: \"me\" }",
    "Config { password: Some(\"%\"), user: \"me\" }",
    "-----BEGIN RSA PRIVATE KEY-----\n%\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\\n%\\n",
    "{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n%\\n-----END PRIVATE KEY-----\\n\"}",
    "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n%\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
    "%\n-----END PRIVATE KEY-----\n",
    "client-key-data: %",
    ".dockerconfigjson: %",
    "AccountName=x;AccountKey=%;EndpointSuffix=y",
];

/// Carriers whose value may contain blanks.
const QUOTED: &[&str] = &[
    r#"{"password": "%"}"#,
    r#"{\"password\": \"%\"}"#,
    "password=\"%\" user=me",
    "password: '%'",
    r#"args: ["--password=%", "x"]"#,
    "--password \"%\" --quiet",
    "<password>%</password>",
    "password: |\n  %\nuser: me",
    "Cookie: a=%",
    "Config { password: \"%\", user: \"me\" }",
];

/// Pieces of text that the redaction recognizes.
const PIECES: &[&str] = &[
    "-----BEGIN ",
    "-----END ",
    "-----",
    "---- ",
    "password",
    "token",
    "Authorization",
    "Cookie",
    "Bearer",
    "Basic",
    "-u",
    "-p",
    "--",
    "x-",
    "key",
    "=",
    ":",
    "=>",
    "://",
    "@",
    "/",
    "?",
    "#",
    ";",
    ",",
    "\"",
    "'",
    "`",
    "\\",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "|",
    " ",
    "\n",
    "\t",
    "\u{1b}",
    "[",
    "Ä",
    "㐀",
    "𐐀",
    "sha256:",
    "Q~",
    ".atlasv1.",
    ":AA",
    "12345678",
    "ghp_",
    "eyJ",
    "is ",
    "a",
    "A1b2C3d4E5f6G7h8I9",
    "2cf24dba5fb0a30e26e83b2ac5b9e29e",
];

proptest! {
    #[test]
    fn a_secret_is_hidden_in_whatever_carries_it(
        secret in "[A-Za-z0-9][A-Za-z0-9!$%^*+/_.~-]{10,38}[A-Za-z0-9]",
        carrier in prop::sample::select(CARRIERS),
        before in prop::sample::select(&["", "error: ", "2026-11-26 12:00:00 ", "  ", "\u{1b}[31m", "said \"x\": "][..]),
        hidden in prop::sample::select(&["", "\u{200b}", "\u{1b}[0m", "\u{202e}"][..]),
    ) {
        // `token: word` after other words is a sentence unless the word looks like a value.
        let secret = format!("{secret}7");
        let carrier = carrier.replace('%', &format!("{hidden}{secret}"));
        // Preceding text would indent the block.
        let before = if carrier.contains("|\n") { "" } else { before };
        let text = format!("{before}{carrier}");
        prop_assert!(!shown(&text).contains(&secret), "{}\n{}", text, shown(&text));
    }

    #[test]
    fn words_of_a_quoted_secret_are_hidden(
        words in "[a-z]{8} [a-z]{9} [a-z]{10}",
        carrier in prop::sample::select(QUOTED),
    ) {
        let shown = shown(&carrier.replace('%', &words));
        for word in words.split(' ') {
            prop_assert!(!shown.contains(word), "{}", shown);
        }
    }

    #[test]
    fn evidence_is_bounded_and_plain(
        text in ".{0,300}",
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40),
    ) {
        for text in [text, pieces.concat()] {
            let shown = shown(&text);
            prop_assert!(shown.len() <= Evidence::LIMIT);
            prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
        }
    }

    #[test]
    fn evidence_of_evidence_is_the_same(
        secret in "[A-Za-z0-9]{12,40}",
        carrier in prop::sample::select(CARRIERS),
    ) {
        let once = shown(&carrier.replace('%', &secret));
        prop_assert_eq!(shown(&once), once);
    }
}

#[test]
fn random_base64_is_hidden() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let mut shown_in_part = 0;
    for number in 0..2000_u32 {
        let bytes = sha2::Sha512::digest(number.to_be_bytes());
        let text =
            base64::engine::general_purpose::STANDARD.encode(&bytes[..30 + number as usize % 34]);
        let half = &text[text.len() / 2..text.len() - 2];
        let shown = shown(&format!("got {text} from it"));
        shown_in_part += usize::from(shown.contains(half));
    }
    // A random value may look like a path.
    assert!(shown_in_part <= 4, "{shown_in_part} of 2000");
}

#[test]
fn what_people_need_stays() {
    const HEX: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    for text in [
        "back-off pulling image \"r/app:1\"",
        "pull access denied for shop/orders, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
        "no basic auth credentials",
        "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://auth.docker.io/token: 401 Unauthorized",
        "Www-Authenticate: Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\"",
        "unauthorized: the token is not valid",
        "invalid token: signature is invalid",
        "secret \"orders-pull\" was not found",
        "couldn't find key API_URL in Secret default/orders",
        "references non-existent secret key: API_URL",
        "password authentication failed for user \"orders\"",
        "the password is not valid",
        "token_type=x",
        "shop/issue-token:1.4 and registry.example.com:5000/auth:1.4",
        "ReplicaFailureBecauseTheSecretNameIsMissingInTheNamespace",
        "pod orders-development-7c9d8b6f5d-x2x4z of 6f1c2f0e-8a55-4a0e-9f0b-0c1d2e3f4a5b",
        "dial tcp 10.0.0.1:443: connect: connection refused",
        "open /etc/ssl/Certs/App2/Keys3/client.pem: no such file or directory",
        "at com.example.OrderService2Factory3Bean$$Lambda.run(OrderService.java:829)",
        "/go/pkg/mod/github.com/Azure/go-autorest@v14.2.0/autorest/client.go:12",
        "git@github.com:shop/orders.git and me@example.com",
        "exec /usr/local/bin/node: exec format error",
        "0/3 nodes are available: 3 Insufficient memory.",
        "x509: certificate signed by unknown authority",
        "Readiness probe failed: Get \"http://10.244.0.7:8080/healthz\": context deadline exceeded",
        "process_linux.go:458: setting cgroup config for procHooks process caused: unable to freeze",
        "  File \"/app/main.py\", line 3, in <module>\nKeyError: 'DATABASE_URL'",
        "Caused by: java.lang.IllegalStateException: session: closed by peer",
        "Größe überschritten: 3 > 2",
    ] {
        assert_eq!(shown(text), text);
    }
    for text in [
        format!("r.example/app@sha256:{HEX}"),
        format!("r.example:5000/app:1.4@sha256:{HEX}: not found"),
        format!("manifest sha256:{HEX}: not found"),
        format!("failed to create containerd task: sandbox \"{HEX}\" not found"),
        format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{HEX}/rootfs"),
        format!("https://r.example/v2/app/blobs/sha256:{HEX}: 404"),
        format!("built from commit {}", &HEX[..40]),
        format!("trace_id={}", &HEX[..32]),
    ] {
        assert_eq!(shown(&text), text);
    }
}

#[test]
fn only_the_secret_is_hidden() {
    for (text, expected) in [
        ("https://u:hunter2@r.example/v2/", "https://r.example/v2/"),
        (
            "Head \"https://r.example/v2/app?X-Amz-Signature=abc\": 403 Forbidden",
            "Head \"https://r.example/v2/app\": 403 Forbidden",
        ),
        (
            "authorization: Basic dXNlcjpwYXNz next",
            "authorization: Basic <redacted> next",
        ),
        (
            "login with password=hunter2 failed",
            "login with password=<redacted> failed",
        ),
        (
            "--password hunter2 --quiet",
            "--password <redacted> --quiet",
        ),
        (
            r#"{"auths":{"r":{"password":"hunter2","user":"u"}}}"#,
            r#"{"auths":{"r":{"password":"<redacted>","user":"u"}}}"#,
        ),
        (
            r#"{"authorization":"Bearer hunter2"}"#,
            r#"{"authorization":"Bearer <redacted>"}"#,
        ),
        (
            "https://a.example/x,https://u:hunter2@b.example/y",
            "https://a.example/x,https://b.example/y",
        ),
        ("https://u:hun/ter2@b.example/y", "https://b.example/y"),
        (
            "key 2f1d6a9c0b8e7f6a5d4c3b2a190807060504030201 of it",
            "key <redacted> of it",
        ),
        (
            "me:hunter2@db:5432 refused",
            "me:<redacted>@db:5432 refused",
        ),
    ] {
        assert_eq!(shown(text), expected);
    }
}

#[test]
fn nothing_acts_on_a_terminal_or_a_ci_system() {
    for (text, expected) in [
        ("a\u{1b}[2Jb\u{1b}[1;1Hc", "abc"),
        ("a\u{1b}]0;title\u{7}b", "ab"),
        ("a\u{1b}]8;;https://x\u{1b}\\b", "ab"),
        ("a\u{1b}]0;never ends", "a0;never ends"),
        ("a\u{9b}2Jb", "a2Jb"),
        ("ok \u{202e}evil\u{200b}x\u{feff}", "ok evilx"),
        ("one\rtwo\r\nthree", "one\ntwo\nthree"),
        (
            "x\n::add-mask::y\n  ::stop-commands::z",
            "x\n: :add-mask::y\n  : :stop-commands::z",
        ),
        ("##vso[task.x]y ##[error]z", "# #vso[task.x]y # #[error]z"),
    ] {
        assert_eq!(shown(text), expected, "{text:?}");
    }
    assert_eq!(printable("a\nb\tc\u{1b}[0m"), "a b c");
}

#[test]
fn evidence_keeps_its_end() {
    let text = format!("{} the cause", "x".repeat(5000));
    let evidence = Evidence::from_untrusted(&text);
    assert!(evidence.as_str().ends_with("the cause"));
    assert!(evidence.as_str().len() <= Evidence::LIMIT);
}

#[test]
fn evidence_of_any_length_is_read_at_once() {
    for word in [
        "a://,",
        "=:",
        "a:b@",
        "token=",
        "Bearer ",
        "token:",
        "token=\"",
        "token=[",
        "a-",
        "a/",
        "\u{1b}]",
        "-----BEGIN ",
        "password: |\n ",
        "\\\"",
        "<password>",
        "a@",
        "Aa1/",
        "::",
        ",a:",
    ] {
        let start = std::time::Instant::now();
        let evidence = Evidence::from_untrusted(&word.repeat(1_000_000));
        assert!(evidence.as_str().len() <= Evidence::LIMIT, "{word}");
        assert!(
            start.elapsed().as_secs() < 5,
            "{word}: {:?}",
            start.elapsed()
        );
    }
}
