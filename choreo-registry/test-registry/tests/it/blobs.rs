use choreo_test_registry::{TestRegistry, User};

use crate::client::{Answer, ask};

/// The SHA-256 digest of `hello`.
const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const NONE: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

async fn open() -> TestRegistry {
    TestRegistry::builder().start().await.unwrap()
}

/// Starts an upload, and returns its location: a path with a query.
async fn start(registry: &TestRegistry) -> String {
    let started = ask(registry, "POST /v2/team/app/blobs/uploads/", &[], "").await;
    assert_eq!(started.status, 202);
    location(&started)
}

fn location(answer: &Answer) -> String {
    answer.header("location").unwrap().to_owned()
}

async fn pulled(registry: &TestRegistry) -> Answer {
    ask(
        registry,
        &format!("GET /v2/team/app/blobs/{HELLO}"),
        &[],
        "",
    )
    .await
}

#[tokio::test]
async fn a_blob_is_pushed_with_post_and_put() {
    let registry = open().await;
    let line = format!("PUT {}&digest={HELLO}", start(&registry).await);
    let put = ask(&registry, &line, &[], "hello").await;
    assert_eq!(put.status, 201);
    assert_eq!(location(&put), format!("/v2/team/app/blobs/{HELLO}"));
    let got = pulled(&registry).await;
    assert_eq!(got.body, "hello");
    assert_eq!(got.header("docker-content-digest"), Some(HELLO));

    let again = ask(&registry, &line, &[], "hello").await;
    assert_eq!(again.error(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_blob_is_pushed_with_one_post() {
    let registry = open().await;
    let line = format!("POST /v2/team/app/blobs/uploads/?digest={HELLO}");
    let wrong = ask(&registry, &line, &[], "other").await;
    assert_eq!(wrong.error(), (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(pulled(&registry).await.status, 404);
    assert_eq!(ask(&registry, &line, &[], "hello").await.status, 201);
    assert_eq!(pulled(&registry).await.body, "hello");
}

#[tokio::test]
async fn a_blob_is_pushed_in_chunks_that_follow_each_other() {
    let registry = open().await;
    let place = start(&registry).await;
    let range = [("content-range", "0-2")];
    let first = ask(&registry, &format!("PATCH {place}"), &range, "hel").await;
    assert_eq!(
        (first.status.as_u16(), first.header("range")),
        (202, Some("0-2"))
    );
    let place = location(&first);

    for wrong in ["0-1", "2-3", "4-5", "3-9", "x-y"] {
        let range = [("content-range", wrong)];
        let answer = ask(&registry, &format!("PATCH {place}"), &range, "lo").await;
        assert_eq!(answer.error(), (416, "BLOB_UPLOAD_INVALID".to_owned()));
        assert_eq!(answer.header("range"), Some("0-2"));
    }
    let progress = ask(&registry, &format!("GET {place}"), &[], "").await;
    assert_eq!(
        (progress.status.as_u16(), progress.header("range")),
        (204, Some("0-2"))
    );

    let range = [("content-range", "3-4")];
    let line = format!("PUT {place}&digest={HELLO}");
    assert_eq!(ask(&registry, &line, &range, "lo").await.status, 201);
    assert_eq!(pulled(&registry).await.body, "hello");
}

#[tokio::test]
async fn an_upload_can_be_cancelled_and_belongs_to_its_repository() {
    let registry = open().await;
    let place = start(&registry).await;
    let elsewhere = place.replace("team/app", "other");
    let unknown = (404, "BLOB_UPLOAD_UNKNOWN".to_owned());
    let delete = async |place: &str| ask(&registry, &format!("DELETE {place}"), &[], "").await;
    assert_eq!(delete(&elsewhere).await.error(), unknown);
    assert_eq!(delete(&place).await.status, 204);
    assert_eq!(delete(&place).await.error(), unknown);
}

#[tokio::test]
async fn a_mounted_blob_needs_no_upload_and_a_missing_one_begins_it() {
    let registry = open().await;
    registry.push_blob("base", "hello").unwrap();
    let mount =
        |digest, from| format!("POST /v2/team/app/blobs/uploads/?mount={digest}&from={from}");
    let missing = ask(&registry, &mount(NONE, "base"), &[], "").await;
    assert_eq!(missing.status, 202);
    assert!(location(&missing).starts_with("/v2/team/app/blobs/uploads/"));
    assert_eq!(
        ask(&registry, &mount(HELLO, "none"), &[], "").await.status,
        202
    );
    assert_eq!(
        ask(&registry, &mount(HELLO, "base"), &[], "").await.status,
        201
    );
    assert_eq!(pulled(&registry).await.body, "hello");
}

#[tokio::test]
async fn only_who_may_pull_there_mounts_from_there() {
    let registry = TestRegistry::builder()
        .basic()
        .user(
            User::without_rights("u", "p")
                .may_push("team")
                .may_pull("open"),
        )
        .start()
        .await
        .unwrap();
    registry.push_blob("closed", "hello").unwrap();
    // `u:p` in base64.
    let login = [("authorization", "Basic dTpw")];
    let mount = async |from| {
        let line = format!("POST /v2/team/app/blobs/uploads/?mount={HELLO}{from}");
        ask(&registry, &line, &login, "").await.status
    };
    assert_eq!(mount("&from=closed").await, 202);
    assert_eq!(mount("&from=open").await, 202);
    assert_eq!(mount("").await, 202);
    registry.push_blob("open", "hello").unwrap();
    assert_eq!(mount("&from=closed").await, 202);
    assert_eq!(mount("&from=open").await, 201);
    // Without a repository, any repository that may be pulled can provide the blob.
    assert_eq!(mount("").await, 201);
}

#[tokio::test]
async fn parts_of_a_blob_are_pulled_by_range() {
    let registry = open().await;
    registry.push_blob("team/app", "hello").unwrap();
    let line = format!("GET /v2/team/app/blobs/{HELLO}");
    let part = ask(&registry, &line, &[("range", "bytes=1-3")], "").await;
    assert_eq!((part.status.as_u16(), &*part.body), (206, &b"ell"[..]));
    assert_eq!(part.header("content-range"), Some("bytes 1-3/5"));
    let beyond = ask(&registry, &line, &[("range", "bytes=5-")], "").await;
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), Some("bytes */5"));

    let head = format!("HEAD /v2/team/app/blobs/{HELLO}");
    let head = ask(&registry, &head, &[], "").await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-length")),
        (200, Some("5"))
    );
}

#[tokio::test]
async fn a_deleted_blob_is_gone() {
    let registry = open().await;
    registry.push_blob("team/app", "hello").unwrap();
    let line = format!("DELETE /v2/team/app/blobs/{HELLO}");
    assert_eq!(ask(&registry, &line, &[], "").await.status, 202);
    let unknown = (404, "BLOB_UNKNOWN".to_owned());
    assert_eq!(ask(&registry, &line, &[], "").await.error(), unknown);
    assert_eq!(pulled(&registry).await.error(), unknown);
}

#[tokio::test]
async fn a_blob_beyond_the_limit_is_refused() {
    let registry = TestRegistry::builder().blob_limit(5).start().await.unwrap();
    let line = format!("POST /v2/team/app/blobs/uploads/?digest={HELLO}");
    let large = ask(&registry, &line, &[], "hello!").await;
    assert_eq!(large.error(), (413, "SIZE_INVALID".to_owned()));
    assert_eq!(ask(&registry, &line, &[], "hello").await.status, 201);

    // The limit applies to the sum of the chunks.
    let place = start(&registry).await;
    let first = ask(&registry, &format!("PATCH {place}"), &[], "hel").await;
    assert_eq!(first.status, 202);
    let more = ask(&registry, &format!("PATCH {place}"), &[], "lo!").await;
    assert_eq!(more.error(), (413, "SIZE_INVALID".to_owned()));
    let line = format!("PUT {place}&digest={HELLO}");
    assert_eq!(ask(&registry, &line, &[], "lo").await.status, 201);
}
