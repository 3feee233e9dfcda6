use choreo_registry::credential::Password;

use super::*;
use crate::{egress::Egress, transport::ScriptedTransport};

const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const API: &str = "POST https://api.ecr.eu-west-1.amazonaws.com/";

fn ok(body: &str) -> http::Response<Bytes> {
    http::Response::new(Bytes::copy_from_slice(body.as_bytes()))
}

fn keys() -> AwsCredentials {
    let secret = "canary/secret+key".parse().unwrap();
    AwsCredentials::new("AKIDEXAMPLE", secret)
        .unwrap()
        .with_session_token("canary-session".parse().unwrap())
}

fn source(host: &str, transport: &Arc<ScriptedTransport>) -> EcrSource {
    let transport = Arc::<ScriptedTransport>::clone(transport);
    EcrSource::new(host.parse().unwrap(), Arc::new(keys()), transport)
        .unwrap()
        .with_clock(Clock::new(|| "2026-11-23T10:00:00Z".parse().unwrap()))
}

#[tokio::test]
async fn the_request_is_signed_and_the_login_is_decoded() {
    // 2026-11-23T22:00:00.5Z
    let one = r#"{"authorizationToken":"QVdTOmNhbmFyeS1sb2dpbg==","expiresAt":1795471200.5,"proxyEndpoint":"x"}"#;
    let public = "POST https://api.ecr-public.us-east-1.amazonaws.com/";
    let table = [
        (
            HOST,
            API,
            format!(r#"{{"authorizationData":[{one}]}}"#),
            "AmazonEC2ContainerRegistry_V20150921",
            "eu-west-1/ecr",
        ),
        (
            "public.ecr.aws",
            public,
            format!(r#"{{"authorizationData":{one}}}"#),
            "SpencerFrontendService",
            "us-east-1/ecr-public",
        ),
    ];
    for (host, url, body, target, scope) in table {
        let transport = Arc::new(ScriptedTransport::new().answer(url, ok(&body)));
        let credential = source(host, &transport).credential().await.unwrap();
        assert_eq!(credential.username(), "AWS");
        assert_eq!(credential.expose_password(), "canary-login");
        assert_eq!(
            credential.expires_at().unwrap().to_string(),
            "2026-11-23T22:00:00.5Z"
        );
        let requests = transport.requests();
        let headers = requests[0].headers();
        assert_eq!(requests[0].body(), "{}");
        assert_eq!(headers["content-type"], "application/x-amz-json-1.1");
        assert_eq!(
            headers["x-amz-target"],
            format!("{target}.GetAuthorizationToken")
        );
        assert_eq!(headers["x-amz-date"], "20261123T100000Z");
        assert_eq!(headers["x-amz-security-token"], "canary-session");
        assert!(
            headers["authorization"].is_sensitive()
                && headers["x-amz-security-token"].is_sensitive()
        );
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.starts_with(&format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/{scope}/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature="
        )));
    }
}

#[test]
fn hosts_lead_to_their_own_partitions_api() {
    let table = [
        (
            "123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "api.ecr.us-east-1.amazonaws.com",
        ),
        (
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            "ecr-fips.us-gov-west-1.amazonaws.com",
        ),
        (
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "api.ecr.cn-north-1.amazonaws.com.cn",
        ),
        (
            "123456789012.dkr-ecr.us-west-2.on.aws",
            "api.ecr.us-west-2.amazonaws.com",
        ),
        (
            "123456789012.dkr-ecr-fips.us-gov-east-1.on.aws",
            "ecr-fips.us-gov-east-1.amazonaws.com",
        ),
        (
            "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
            "api.ecr.cn-north-1.amazonaws.com.cn",
        ),
        (
            "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov",
            "api.ecr.us-iso-east-1.c2s.ic.gov",
        ),
        (
            "123456789012.dkr.ecr-fips.us-iso-east-1.c2s.ic.gov",
            "api.ecr-fips.us-iso-east-1.c2s.ic.gov",
        ),
        (
            "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
            "api.ecr.us-isob-east-1.sc2s.sgov.gov",
        ),
        (
            "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
            "api.ecr.eu-isoe-west-1.cloud.adc-e.uk",
        ),
        (
            "123456789012.dkr.ecr.us-isof-east-1.csp.hci.ic.gov",
            "api.ecr.us-isof-east-1.csp.hci.ic.gov",
        ),
        (
            "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
            "api.ecr.eusc-de-east-1.amazonaws.eu",
        ),
        (
            "ecr-public.aws.com",
            "api.ecr-public.us-east-1.amazonaws.com",
        ),
    ];
    for (host, api) in table {
        assert_eq!(
            Endpoint::of(&host.parse().unwrap()).unwrap().host,
            api,
            "{host}"
        );
    }
    for host in [
        "1234567890123.dkr.ecr.us-east-1.amazonaws.com",
        "12345678901a.dkr.ecr.us-east-1.amazonaws.com",
        "123456789012.dkr.ecr.us-east-1.amazonaws.hacker.com",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com.fake.example.com",
        "123456789012.dkr.ecr.us-east-1.on.aws.com.cn",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com:5000",
        "123456789012.dkr.ecr.amazonaws.com",
        "123456789012.dkr.ecr.us.amazonaws.com",
        "123456789012.dkr.ecr.us-east.amazonaws.com",
        "123456789012.dkr.ecr.us-1.amazonaws.com",
        "123456789012.dkr.ecr.us--1.amazonaws.com",
        "123456789012.dkr.ecr.us-e-1.amazonaws.com",
        "123456789012.dkr.ecr.us-east-123.amazonaws.com",
        "123456789012.dkr.ecr.us-ea5t-1.amazonaws.com",
        "dkr.ecr.us-east-1.amazonaws.com",
        "dog.ecr",
        "registry.example.com",
    ] {
        let transport = Arc::new(ScriptedTransport::new());
        let refused = EcrSource::new(host.parse().unwrap(), Arc::new(keys()), transport);
        assert_eq!(
            refused.unwrap_err().kind(),
            SourceErrorKind::WrongRegistry,
            "{host}"
        );
    }
}

#[tokio::test]
async fn answers_that_cannot_be_used_are_refused_without_a_word_of_them() {
    let data = |token: &str, end: &str| {
        format!(r#"{{"authorizationData":[{{"authorizationToken":"{token}","expiresAt":{end}}}]}}"#)
    };
    let no_token = "it is not a JSON object with an authorization token";
    let no_login = "the authorization token is not base64 of a login";
    let no_end = "it does not say when the token ends";
    let table = [
        ("canary".to_owned(), no_token),
        (r#"{"authorizationData":"canary"}"#.to_owned(), no_token),
        (
            r#"{"authorizationData":[]}"#.to_owned(),
            "it has no authorization token",
        ),
        (data("canary!", "1795471200"), no_login),
        (data("Y2FuYXJ5", "1795471200"), no_login),
        (
            data(&STANDARD.encode("root:canary"), "1795471200"),
            no_login,
        ),
        (data(&STANDARD.encode("AWS:"), "1795471200"), no_login),
        (data(&STANDARD.encode(b"AWS:\xff"), "1795471200"), no_login),
        (data(&STANDARD.encode("AWS:canary"), r#""soon""#), no_end),
        (data(&STANDARD.encode("AWS:canary"), "-1"), no_end),
        (data(&STANDARD.encode("AWS:canary"), "1e300"), no_end),
    ];
    for (body, reason) in table {
        let transport = Arc::new(ScriptedTransport::new().answer(API, ok(&body)));
        let source = source(HOST, &transport);
        let error = source.credential().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "Amazon ECR gives an answer that cannot be used: {reason}; check that nothing stands \
                 between the platform and the service"
            ),
            "{body}"
        );
        assert!(!format!("{error:?}{source:?}").contains("canary"));
    }
}

#[tokio::test]
async fn an_instance_is_asked_by_version_two_of_its_metadata_service() {
    let imds = "http://169.254.169.254/latest";
    let roles = format!("GET {imds}/meta-data/iam/security-credentials/");
    let script = |role: &str| {
        let egress = Egress::operator().allow_plain_http("169.254.169.254".parse().unwrap());
        let keys = r#"{"Code":"Success","AccessKeyId":"ASIAX","SecretAccessKey":"canary-s","Token":"canary-t"}"#;
        Arc::new(
            ScriptedTransport::new()
                .with_egress(egress)
                .answer(&format!("PUT {imds}/api/token"), ok("canary-imds"))
                .answer(&roles, ok(role))
                .answer(&format!("{roles}node-role"), ok(keys)),
        )
    };
    let transport = script("node-role\n");
    let keys = InstanceProfile::new(Arc::<ScriptedTransport>::clone(&transport))
        .aws_credentials()
        .await
        .unwrap();
    assert_eq!(keys.access_key_id, "ASIAX");
    assert_eq!(keys.secret_access_key.expose(), "canary-s");
    assert_eq!(keys.session_token.unwrap().expose(), "canary-t");
    let requests = transport.requests();
    assert_eq!(
        requests[0].headers()["x-aws-ec2-metadata-token-ttl-seconds"],
        "60"
    );
    for request in &requests[1..] {
        assert_eq!(request.headers()["x-aws-ec2-metadata-token"], "canary-imds");
    }
    for role in ["", "../x", "a/b", "a?b", "<html>"] {
        let error = InstanceProfile::new(script(role))
            .aws_credentials()
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("it names no role"),
            "{role}: {error}"
        );
    }
}

#[tokio::test]
async fn a_role_is_assumed_for_a_workloads_token() {
    let answer = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>\
        <Audience>sts</Audience><Credentials><SessionToken>canary-t</SessionToken>\
        <SecretAccessKey>canary-s/+=</SecretAccessKey><AccessKeyId>ASIAX</AccessKeyId></Credentials>\
        </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    let table = [
        ("eu-west-1", "POST https://sts.eu-west-1.amazonaws.com/"),
        (
            "cn-north-1",
            "POST https://sts.cn-north-1.amazonaws.com.cn/",
        ),
    ];
    for (region, url) in table {
        let transport = Arc::new(ScriptedTransport::new().answer(url, ok(answer)));
        let token: Password = "a.b.c".parse().unwrap();
        let role = "arn:aws:iam::123456789012:role/puller";
        let identity = WebIdentity::new(
            region,
            role,
            Arc::new(token),
            Arc::<ScriptedTransport>::clone(&transport),
        )
        .unwrap();
        let keys = identity.aws_credentials().await.unwrap();
        assert_eq!(keys.secret_access_key.expose(), "canary-s/+=");
        assert_eq!(keys.session_token.unwrap().expose(), "canary-t");
        assert_eq!(
            transport.requests()[0].body(),
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A\
             123456789012%3Arole%2Fpuller&RoleSessionName=choreo-registry&WebIdentityToken=a.b.c"
        );
    }
}
