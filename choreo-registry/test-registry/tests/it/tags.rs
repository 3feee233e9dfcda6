use choreo_test_registry::{Image, TestRegistry};
use serde_json::json;

use crate::client::ask;

async fn with_tags(tags: &[&str]) -> TestRegistry {
    let registry = TestRegistry::builder().start().await.unwrap();
    for tag in tags {
        registry
            .push("team/app", tag, &Image::builder().build())
            .unwrap();
    }
    registry
}

#[tokio::test]
async fn tags_come_in_order() {
    let registry = with_tags(&["v2", "v10", "Latest", "v1"]).await;
    let list = ask(&registry, "GET /v2/team/app/tags/list", &[], "").await;
    let expected = json!({ "name": "team/app", "tags": ["Latest", "v1", "v10", "v2"] });
    assert_eq!(list.json(), expected);
    assert_eq!(list.header("link"), None);
}

#[tokio::test]
async fn pages_are_linked_until_the_last() {
    let registry = with_tags(&["a", "b", "c", "d"]).await;
    let mut path = "/v2/team/app/tags/list?n=2".to_owned();
    let mut pages = Vec::new();
    loop {
        let page = ask(&registry, &format!("GET {path}"), &[], "").await;
        pages.push(page.json()["tags"].clone());
        let Some(link) = page.header("link") else {
            break;
        };
        let target = link
            .strip_prefix('<')
            .and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
        path = target.unwrap().to_owned();
    }
    assert_eq!(pages, [json!(["a", "b"]), json!(["c", "d"])]);
}

#[tokio::test]
async fn limits_are_numbers_and_none_is_one_of_them() {
    let registry = with_tags(&["a"]).await;
    let none = ask(&registry, "GET /v2/team/app/tags/list?n=0", &[], "").await;
    assert_eq!(
        (none.json()["tags"].clone(), none.header("link")),
        (json!([]), None)
    );
    let bad = ask(&registry, "GET /v2/team/app/tags/list?n=few", &[], "").await;
    assert_eq!(bad.error(), (400, "PAGINATION_NUMBER_INVALID".to_owned()));
    let unknown = ask(&registry, "GET /v2/none/tags/list", &[], "").await;
    assert_eq!(unknown.error(), (404, "NAME_UNKNOWN".to_owned()));
}
