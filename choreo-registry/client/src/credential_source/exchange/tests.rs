use super::*;
use crate::{egress::Egress, transport::ScriptedTransport};

const URL: &str = "https://identity.example/token";

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> http::Response<Bytes> {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap()
}

async fn send(transport: ScriptedTransport, url: &str) -> Result<Bytes, SourceError> {
    let exchange = Exchange::new(Arc::new(transport));
    let request = get(url, &[]).unwrap();
    let answer = exchange.send("it", request, exchange.deadline()).await?;
    Ok(answer.into_body())
}

#[tokio::test]
async fn each_failure_is_sorted_by_its_status_and_its_known_code() {
    use SourceErrorKind::{InvalidResponse, RateLimited, Refused, Unavailable};
    let table = [
        (
            answer(400, &[], r#"{"error":"invalid_client"}"#),
            Refused,
            Some("invalid_client"),
        ),
        (answer(401, &[], ""), Refused, None),
        (answer(403, &[], "<html>"), Refused, None),
        (answer(404, &[], "[]"), Refused, None),
        (
            answer(
                400,
                &[],
                r#"{"error":"invalid_client","error_codes":[7000215]}"#,
            ),
            Refused,
            Some("AADSTS7000215"),
        ),
        (
            answer(
                400,
                &[],
                r#"{"error":"invalid_grant","error_codes":[12345678]}"#,
            ),
            Refused,
            Some("invalid_grant"),
        ),
        (
            answer(
                400,
                &[],
                r#"{"__type":"com.amazon.coral#ExpiredTokenException"}"#,
            ),
            Refused,
            Some("ExpiredTokenException"),
        ),
        (
            answer(
                400,
                &[("x-amzn-errortype", "AccessDeniedException:http://x")],
                "{}",
            ),
            Refused,
            Some("AccessDeniedException"),
        ),
        (
            answer(
                403,
                &[],
                "<E><Error><Code>InvalidIdentityToken</Code></Error></E>",
            ),
            Refused,
            Some("InvalidIdentityToken"),
        ),
        (
            answer(400, &[], r#"{"__type":"ThrottlingException"}"#),
            RateLimited,
            Some("ThrottlingException"),
        ),
        (answer(429, &[], ""), RateLimited, None),
        (answer(410, &[], ""), Unavailable, None),
        (answer(408, &[], ""), Unavailable, None),
        (answer(500, &[], ""), Unavailable, None),
        (answer(599, &[], ""), Unavailable, None),
        (answer(204, &[], ""), InvalidResponse, None),
        (
            answer(302, &[("location", "https://evil.example/")], ""),
            InvalidResponse,
            None,
        ),
        // An unknown code may be a secret that the service repeats.
        (
            answer(400, &[], r#"{"error":"hunter2hunter2"}"#),
            Refused,
            None,
        ),
    ];
    for (answer, kind, code) in table {
        let shown = format!("{answer:?}");
        let status = answer.status().as_u16();
        let transport = ScriptedTransport::new().answer(&format!("GET {URL}"), answer);
        let error = send(transport, URL).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, code), "{shown}");
        assert_eq!(error.status(), Some(status));
        assert!(!error.to_string().contains("hunter2"));
    }
}

#[tokio::test]
async fn the_wait_that_a_service_asks_for_is_kept() {
    for (value, expected) in [
        ("7", Some(7)),
        (" 7 ", Some(7)),
        ("soon", None),
        ("-1", None),
    ] {
        let busy = answer(429, &[("retry-after", value)], "");
        let transport = ScriptedTransport::new().answer(&format!("GET {URL}"), busy);
        let wait = send(transport, URL).await.unwrap_err().retry_after();
        assert_eq!(wait.map(|wait| wait.as_secs()), expected, "{value}");
    }
}

#[tokio::test]
async fn failures_of_the_transport_keep_their_meaning() {
    let table = [
        (TransportErrorKind::Blocked, SourceErrorKind::Blocked),
        (TransportErrorKind::Connect, SourceErrorKind::Unreachable),
        (
            TransportErrorKind::Protocol,
            SourceErrorKind::InvalidResponse,
        ),
        (TransportErrorKind::Resolve, SourceErrorKind::Unreachable),
        (TransportErrorKind::Timeout, SourceErrorKind::Timeout),
        (TransportErrorKind::Tls, SourceErrorKind::Tls),
        (
            TransportErrorKind::TooLarge,
            SourceErrorKind::InvalidResponse,
        ),
    ];
    for (failure, expected) in table {
        let transport = ScriptedTransport::new().fail(&format!("GET {URL}"), failure);
        assert_eq!(send(transport, URL).await.unwrap_err().kind(), expected);
    }
    let long = answer(200, &[], &"x".repeat(BODY_LIMIT + 1));
    let transport = ScriptedTransport::new().answer(&format!("GET {URL}"), long);
    let error = send(transport, URL).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::InvalidResponse);
}

/// Whatever the transport does, nothing is handed to it that its policy forbids.
#[tokio::test]
async fn the_policy_is_asked_before_the_transport() {
    let metadata = "http://169.254.169.254/latest";
    let transport =
        || ScriptedTransport::new().answer(&format!("GET {metadata}"), answer(200, &[], "x"));
    let plain = Egress::operator().allow_plain_http("169.254.169.254".parse().unwrap());
    let tenant = Egress::tenant().allow_plain_http("169.254.169.254".parse().unwrap());
    let kind = |result: Result<Bytes, SourceError>| result.map_err(|error| error.kind());
    let blocked = Err(SourceErrorKind::Blocked);
    assert_eq!(kind(send(transport(), metadata).await), blocked);
    assert_eq!(
        kind(send(transport().with_egress(tenant), metadata).await),
        blocked
    );
    assert_eq!(
        kind(send(transport().with_egress(Egress::operator()), metadata).await),
        blocked
    );
    assert!(send(transport().with_egress(plain), metadata).await.is_ok());
}

#[test]
fn access_tokens_are_read_as_services_send_them() {
    let read = |body: &str| {
        access_token("it", body.as_bytes(), Timestamp::UNIX_EPOCH)
            .map(|(token, end)| format!("{} until {}", token.expose(), end.as_second()))
            .unwrap_or_else(|error| error.to_string())
    };
    assert_eq!(
        read(r#"{"access_token":"a","expires_in":3599}"#),
        "a until 3599"
    );
    assert_eq!(
        read(r#"{"access_token":"a","expires_in":"86399","x":1}"#),
        "a until 86399"
    );
    assert_eq!(
        read(r#"{"access_token":"a","expires_in":99999999999999}"#),
        "a until 86400"
    );
    let help = "; check that nothing stands between the platform and the service";
    let refused = [
        ("", "it is not a JSON object with an access token"),
        ("<html>", "it is not a JSON object with an access token"),
        (r#"{"access_token":["hunter2"]}"#, "it has no usable token"),
        (
            r#"{"access_token":"a"}"#,
            "it does not say when the token ends",
        ),
        (
            r#"{"access_token":"a","expires_in":-1}"#,
            "it does not say when the token ends",
        ),
        (
            r#"{"access_token":"a","expires_in":"soon"}"#,
            "it does not say when the token ends",
        ),
        (r#"{"expires_in":1}"#, "it has no usable token"),
        (
            r#"{"access_token":"","expires_in":1}"#,
            "it has no usable token",
        ),
        (
            r#"{"access_token":"a\r\nx: y","expires_in":1}"#,
            "the token has characters that no header may carry",
        ),
    ];
    for (body, reason) in refused {
        let expected = format!("it gives an answer that cannot be used: {reason}{help}");
        assert_eq!(read(body), expected, "{body}");
    }
    let long = format!(
        r#"{{"access_token":"{}","expires_in":1}}"#,
        "x".repeat(16 * 1024 + 1)
    );
    assert!(read(&long).contains("it has no usable token"));
}

#[test]
fn secrets_in_headers_are_marked_and_forms_are_encoded() {
    let request = get(URL, &[("authorization", "Bearer t"), ("metadata", "true")]).unwrap();
    assert!(request.headers()["authorization"].is_sensitive());
    assert!(!request.headers()["metadata"].is_sensitive());
    assert!(get(URL, &[("authorization", "a\nb")]).is_none());

    let form = post_form(URL, &[("a", "1 &=\n"), ("b", "ä")]).unwrap();
    assert_eq!(form.body(), "a=1+%26%3D%0A&b=%C3%A4");
    assert_eq!(
        form.headers()["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(form.method(), Method::POST);
}
