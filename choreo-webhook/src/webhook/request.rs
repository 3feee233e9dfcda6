//! The body of `POST /v1/deployments`.
//!
//! The JSON becomes members first and values second. So a problem distinguishes bad JSON from a bad
//! field, names the field, and repeats no value, as a JSON library's error would.

use std::fmt;

use choreo_deploy::deployment::{Provenance, RequestedImage};
use choreo_registry::{Digest, ImageReference};
use http::{HeaderMap, Uri};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::problem::{Problem, ROTATE};
use crate::problem::ProblemType;
use crate::token::is_exposed_in;

/// A request to deploy an image.
#[derive(Debug)]
pub(super) struct DeployRequest {
    pub(super) image: RequestedImage,
    pub(super) provenance: Provenance,
}

impl DeployRequest {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        if body.starts_with(BYTE_ORDER_MARK) {
            return Err(Problem::new(
                ProblemType::InvalidJson,
                "body begins with a byte order mark, which JSON does not allow",
            )
            .help(
                "write the body as UTF-8 without a byte order mark: PowerShell's \
                 'Out-File -Encoding utf8' and some editors add one",
            ));
        }
        let members = match serde_json::from_slice::<Document>(body) {
            Ok(Document::Object(members)) => members,
            Ok(Document::Other) => {
                return Err(invalid("body must be a JSON object: {\"image\": \"…\"}"));
            }
            // The library's message repeats values; the position does not.
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                return Err(Problem::new(
                    ProblemType::InvalidJson,
                    format!("body is not JSON: syntax error at line {line}, column {column}"),
                ));
            }
        };
        Fields::collect(&members)?.into_request()
    }
}

/// The byte order mark in UTF-8. Implementations must not add one
/// (<https://www.rfc-editor.org/rfc/rfc8259#section-8.1>).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The members of the body, each a string and at most once.
#[derive(Default)]
struct Fields {
    image: Option<String>,
    digest: Option<String>,
    commit: Option<String>,
    run_url: Option<String>,
}

impl Fields {
    fn collect(members: &[(String, Value)]) -> Result<Self, Problem> {
        let mut fields = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in members {
            reject_token(name, value)?;
            let (field, limit) = match name.as_str() {
                "image" => (&mut fields.image, 1024),
                "digest" => (&mut fields.digest, 255),
                "commit" => (&mut fields.commit, 128),
                "run_url" => (&mut fields.run_url, 2048),
                _ => return Err(unknown(name)),
            };
            if seen.contains(&name.as_str()) {
                return Err(invalid(format!(
                    "field {name:?} is duplicate: send it once"
                )));
            }
            seen.push(name);
            *field = match value {
                Value::String(text) => Some(visible(name, text, limit)?.to_owned()),
                Value::Null if name != "image" => None,
                _ => return Err(invalid(format!("field {name:?} must be a string"))),
            };
        }
        Ok(fields)
    }

    fn into_request(self) -> Result<DeployRequest, Problem> {
        let written = self
            .image
            .ok_or_else(|| invalid("field \"image\" is missing: send the image to deploy"))?;
        let reference: ImageReference =
            written
                .parse()
                .map_err(|error: choreo_registry::reference::ParseReferenceError| {
                    Problem::new(ProblemType::InvalidImage, error.to_string())
                })?;
        let mut image = RequestedImage::new(reference).written(written);
        if let Some(text) = self.digest {
            image.claimed = Some(claimed(&text, image.claimed.as_ref())?);
        }
        self.run_url.as_deref().map(check_run_url).transpose()?;
        Ok(DeployRequest {
            image,
            provenance: Provenance::new(self.commit, self.run_url),
        })
    }
}

/// Returns the text if it is neither empty nor too long and contains only visible ASCII characters.
fn visible<'a>(name: &str, text: &'a str, limit: usize) -> Result<&'a str, Problem> {
    if text.is_empty() {
        return Err(invalid(format!(
            "field {name:?} is empty: remove it or send a value"
        )));
    }
    if text.len() > limit {
        return Err(invalid(format!(
            "field {name:?} is longer than {limit} bytes"
        )));
    }
    // The parser of references has a better message for an image.
    if name != "image" && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(format!(
            "field {name:?} contains a character that is not visible ASCII"
        )));
    }
    Ok(text)
}

/// Rejects a token before a message repeats it or the store contains it. A mix-up of CI variables puts
/// one into a field.
fn reject_token(name: &str, value: &Value) -> Result<(), Problem> {
    let detail = if is_exposed_in(name) {
        "name of a field contains a deploy token".to_owned()
    } else if value.as_str().is_some_and(is_exposed_in) {
        let short: String = name.chars().take(64).collect();
        format!("field {short:?} contains a deploy token")
    } else {
        return Ok(());
    };
    Err(invalid(detail).help(ROTATE))
}

fn claimed(text: &str, in_image: Option<&Digest>) -> Result<Digest, Problem> {
    let digest: Digest = text
        .parse()
        .map_err(|error| invalid(format!("field \"digest\" is not valid: {error}")))?;
    match in_image {
        Some(other) if *other != digest => Err(invalid(
            "field \"digest\" differs from the digest in the image: send only one of them",
        )),
        _ => Ok(digest),
    }
}

/// Accepts only a link without a password, because user interfaces show it as a link.
fn check_run_url(text: &str) -> Result<(), Problem> {
    let uri = text.parse::<Uri>().ok();
    let is_link = uri.as_ref().is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
    });
    if is_link {
        Ok(())
    } else {
        Err(invalid(
            "field \"run_url\" must be an http or https URL without user name and password",
        ))
    }
}

fn unknown(name: &str) -> Problem {
    let short: String = name.chars().take(64).collect();
    let problem = invalid(format!("field {short:?} is unknown"));
    match name {
        "environment" => problem.help(
            "remove it: a deploy token deploys to the component's first environment, and \
             promotion deploys the image to the next",
        ),
        "tag" | "imageTag" | "image_tag" => {
            problem.help("write the tag as part of the image: registry.example.com/shop/orders:1.4")
        }
        _ => problem.help("known fields are image, digest, commit and run_url"),
    }
}

fn invalid(detail: impl AsRef<str>) -> Problem {
    Problem::new(ProblemType::InvalidField, detail)
}

/// Returns the `Idempotency-Key` header, which is a structured-field string or bare
/// (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>).
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let wrong = || {
        Problem::new(
            ProblemType::InvalidIdempotencyKey,
            "header 'Idempotency-Key' must appear once, with 1 to 255 visible ASCII characters, \
             quoted or not",
        )
    };
    let mut all = headers.get_all("idempotency-key").iter();
    let Some(value) = all.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| wrong())?.trim();
    if is_exposed_in(text) {
        let detail = "header 'Idempotency-Key' contains a deploy token";
        return Err(Problem::new(ProblemType::InvalidIdempotencyKey, detail).help(ROTATE));
    }
    let key = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or_else(wrong)?,
        None => text,
    };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if all.next().is_none() && (1..=255).contains(&key.len()) && key.bytes().all(is_plain) {
        Ok(Some(key.to_owned()))
    } else {
        Err(wrong())
    }
}

/// A JSON value: the members of an object, in order and with duplicates, or another value.
enum Document {
    Object(Vec<(String, Value)>),
    Other,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Document::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Document::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn refusal(body: &str) -> (u16, Value) {
        let response = DeployRequest::parse(body.as_bytes())
            .unwrap_err()
            .into_response();
        (
            response.status().as_u16(),
            serde_json::from_slice(response.body().as_bytes()).unwrap(),
        )
    }

    #[test]
    fn accepts_all_fields() {
        let body = format!(
            r#"{{"run_url":"https://ci.example/runs/7","commit":"4b825dc","digest":"{DIGEST}","image":"nginx:1.26"}}"#
        );
        let request = DeployRequest::parse(body.as_bytes()).unwrap();
        assert_eq!(request.image.as_written, "nginx:1.26");
        assert_eq!(
            request.image.reference.to_string(),
            "docker.io/library/nginx:1.26"
        );
        assert_eq!(request.image.claimed.unwrap().to_string(), DIGEST);
        assert_eq!(request.provenance.commit.as_deref(), Some("4b825dc"));
        assert_eq!(
            request.provenance.run_url.as_deref(),
            Some("https://ci.example/runs/7")
        );
    }

    #[test]
    fn null_means_absent() {
        let body = br#"{"image":"nginx","commit":null,"digest":null,"run_url":null}"#;
        let request = DeployRequest::parse(body).unwrap();
        assert_eq!(request.provenance, Provenance::default());
        assert_eq!(request.image.claimed, None);
    }

    #[test]
    fn the_digest_of_the_image_is_claimed() {
        let body = format!(r#"{{"image":"nginx@{DIGEST}","digest":"{DIGEST}"}}"#);
        let request = DeployRequest::parse(body.as_bytes()).unwrap();
        assert_eq!(request.image.claimed.unwrap().to_string(), DIGEST);
    }

    #[test]
    fn rejects_each_invalid_field_by_name() {
        let other = DIGEST.replace("sha256:2", "sha256:3");
        for (body, detail) in [
            ("[]", "body must be a JSON object: {\"image\": \"…\"}"),
            ("7", "body must be a JSON object: {\"image\": \"…\"}"),
            ("{}", "field \"image\" is missing: send the image to deploy"),
            (r#"{"image":null}"#, "field \"image\" must be a string"),
            (
                r#"{"image":{"a":["hunter2"]}}"#,
                "field \"image\" must be a string",
            ),
            (
                r#"{"image":""}"#,
                "field \"image\" is empty: remove it or send a value",
            ),
            (
                r#"{"image":"a","image":"b"}"#,
                "field \"image\" is duplicate: send it once",
            ),
            (
                r#"{"image":"a","digest":null,"digest":null}"#,
                "field \"digest\" is duplicate: send it once",
            ),
            (r#"{"image":"a","hunter":2}"#, "field \"hunter\" is unknown"),
            (
                r#"{"image":"a","commit":7}"#,
                "field \"commit\" must be a string",
            ),
            (
                r#"{"image":"a","commit":"a b"}"#,
                "field \"commit\" contains a character that is not visible ASCII",
            ),
            (
                r#"{"image":"a","run_url":"javascript:alert(1)"}"#,
                "field \"run_url\" must be an http or https URL without user name and password",
            ),
            (
                r#"{"image":"a","run_url":"https://me:hunter2@ci.example"}"#,
                "field \"run_url\" must be an http or https URL without user name and password",
            ),
            (
                &format!(r#"{{"image":"a@{DIGEST}","digest":"{other}"}}"#),
                "field \"digest\" differs from the digest in the image: send only one of them",
            ),
            (
                &format!(r#"{{"image":"{}"}}"#, "a".repeat(1025)),
                "field \"image\" is longer than 1024 bytes",
            ),
            (
                &format!(r#"{{"{}":1}}"#, "x".repeat(999)),
                &format!("field \"{}\" is unknown", "x".repeat(64)),
            ),
        ] {
            let (status, problem) = refusal(body);
            assert_eq!(
                (status, problem["detail"].as_str().unwrap()),
                (422, detail),
                "{body}"
            );
        }
    }

    #[test]
    fn reports_the_position_of_bad_json_without_its_values() {
        for (body, column) in [
            ("", 0),
            ("{", 1),
            (r#"{"image":"hunter2"#, 17),
            (r#"{"a":1}hunter2"#, 8),
            ("{}\u{feff}", 3),
        ] {
            let (status, problem) = refusal(body);
            assert_eq!(status, 400, "{body}");
            assert_eq!(
                problem["detail"],
                format!("body is not JSON: syntax error at line 1, column {column}")
            );
        }
    }

    #[test]
    fn a_byte_order_mark_is_explained() {
        let (status, problem) = refusal("\u{feff}{\"image\":\"a\"}");
        assert_eq!(status, 400);
        assert_eq!(problem["type"], "urn:choreo:problem:invalid-json");
        assert_eq!(
            problem["detail"],
            "body begins with a byte order mark, which JSON does not allow"
        );
        assert!(problem["help"].as_str().unwrap().contains("UTF-8 without"));
    }

    #[test]
    fn a_wrong_digest_and_a_wrong_image_have_the_parsers_message() {
        let (status, problem) = refusal(r#"{"image":"a","digest":"sha256:12"}"#);
        assert_eq!(status, 422);
        let error = "sha256:12".parse::<Digest>().unwrap_err();
        assert_eq!(
            problem["detail"],
            format!("field \"digest\" is not valid: {error}")
        );

        let (status, problem) = refusal(r#"{"image":"nginx@1.26"}"#);
        let error = "nginx@1.26".parse::<ImageReference>().unwrap_err();
        assert_eq!(status, 422);
        assert_eq!(problem["type"], "urn:choreo:problem:invalid-image");
        assert_eq!(problem["detail"], error.to_string());
    }

    #[test]
    fn explains_why_an_environment_is_rejected() {
        let (_, problem) = refusal(r#"{"image":"a","environment":"production"}"#);
        assert!(
            problem["help"].as_str().unwrap().contains("promotion"),
            "{problem}"
        );
    }

    /// The limits that the protocol promises.
    #[test]
    fn limits_of_fields_are_exact() {
        let url = |length: usize| format!("https://{}", "x".repeat(length - 8));
        let commit = |length: usize| "c".repeat(length);
        for (name, longest, too_long) in [
            ("commit", commit(128), commit(129)),
            ("run_url", url(2048), url(2049)),
        ] {
            let body = |value| format!(r#"{{"image":"a","{name}":"{value}"}}"#);
            assert!(
                DeployRequest::parse(body(longest).as_bytes()).is_ok(),
                "{name}"
            );
            let (status, problem) = refusal(&body(too_long));
            let detail = problem["detail"].as_str().unwrap();
            assert_eq!(status, 422);
            assert!(
                detail.starts_with(&format!("field \"{name}\" is longer than ")),
                "{detail}"
            );
        }
    }

    #[test]
    fn explains_where_a_tag_belongs() {
        for name in ["tag", "imageTag", "image_tag"] {
            let (_, problem) = refusal(&format!(r#"{{"image":"a","{name}":"1"}}"#));
            let help = problem["help"].as_str().unwrap();
            assert!(help.contains("as part of the image"), "{problem}");
        }
    }

    #[test]
    fn accepts_an_idempotency_key_quoted_or_bare() {
        let key = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = http::HeaderValue::from_str(value).unwrap();
                headers.append("idempotency-key", value);
            }
            idempotency_key(&headers).map_err(|problem| problem.into_response().status().as_u16())
        };
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&["abc-1"]), Ok(Some("abc-1".to_owned())));
        assert_eq!(key(&["\"abc-1\""]), Ok(Some("abc-1".to_owned())));
        let long = "x".repeat(255);
        assert_eq!(key(&[&long]), Ok(Some(long.clone())));
        for bad in [
            &[""][..],
            &["\"\""],
            &["\"a"],
            &["a\""],
            &["a b"],
            &["a\\b"],
            &["a", "a"],
        ] {
            assert_eq!(key(bad), Err(400), "{bad:?}");
        }
        assert_eq!(key(&[&"x".repeat(256)]), Err(400));
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = DeployRequest::parse(&body);
        }

        #[test]
        fn never_panics_on_json(name in "image|digest|commit|run_url|.{0,9}", value in ".{0,99}") {
            let body = serde_json::json!({ "image": "a", name: value });
            let _ = DeployRequest::parse(body.to_string().as_bytes());
        }
    }
}
