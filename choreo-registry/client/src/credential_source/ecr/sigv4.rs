//! Amazon's Signature Version 4, for requests to `/` without a query.
//!
//! The algorithm is that of [the IAM user
//! guide](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::AwsCredentials;

/// The signed values other than the headers.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) now: Timestamp,
}

/// Returns the headers that a signed request needs besides the given ones: date, session token,
/// authorization. The given names are in lower case and include `host`.
pub(super) fn sign<'h>(
    credentials: &AwsCredentials,
    scope: &Scope<'_>,
    headers: &[(&'h str, &str)],
    message: (&str, &[u8]),
) -> Vec<(&'h str, Zeroizing<String>)> {
    let (method, body) = message;
    let stamp = scope.now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let date = &stamp[..8];
    let mut added = vec![("x-amz-date", Zeroizing::new(stamp.clone()))];
    if let Some(token) = &credentials.session_token {
        added.push((
            "x-amz-security-token",
            Zeroizing::new(token.expose().to_owned()),
        ));
    }
    let mut all: Vec<(&str, &str)> = headers.to_vec();
    all.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
    all.sort_unstable();
    let names = all
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(";");

    let mut canonical = Zeroizing::new(format!("{method}\n/\n\n"));
    for (name, value) in &all {
        canonical.extend([name, ":", value.trim(), "\n"]);
    }
    canonical.extend(["\n", &names, "\n", &hex(&Sha256::digest(body))]);
    let credential_scope = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{stamp}\n{credential_scope}\n{}",
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let secret = credentials.secret_access_key.expose();
    let mut key = Zeroizing::new([b"AWS4", secret.as_bytes()].concat());
    for part in [date, scope.region, scope.service, "aws4_request", &to_sign] {
        key = hmac(&key, part.as_bytes());
    }
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{credential_scope}, SignedHeaders={names}, Signature={}",
        credentials.access_key_id,
        hex(&key)
    );
    added.push(("authorization", Zeroizing::new(authorization)));
    added
}

fn hmac(key: &[u8], message: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

    /// Method, further headers, body, session token, signed headers and signature of cases of
    /// Amazon's published test suite whose request is for `/` without a query.
    #[test]
    fn signatures_are_those_of_amazons_test_suite() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let table = [
            (
                "GET",
                None,
                "",
                false,
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                None,
                "",
                false,
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "POST",
                Some(form),
                "Param1=value1",
                false,
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "POST",
                None,
                "",
                true,
                "host;x-amz-date;x-amz-security-token",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
            (
                "POST",
                Some(("my-header1", "VALUE1")),
                "",
                false,
                "host;my-header1;x-amz-date",
                "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
            ),
        ];
        for (method, header, body, token, names, signature) in table {
            let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".parse().unwrap();
            let mut credentials = AwsCredentials::new("AKIDEXAMPLE", secret).unwrap();
            if token {
                credentials = credentials.with_session_token(TOKEN.parse().unwrap());
            }
            let now = "2015-08-30T12:36:00Z".parse().unwrap();
            let scope = Scope {
                region: "us-east-1",
                service: "service",
                now,
            };
            let mut headers = vec![("host", "example.amazonaws.com")];
            headers.extend(header);
            let added = sign(&credentials, &scope, &headers, (method, body.as_bytes()));
            assert_eq!(added[0].1.as_str(), "20150830T123600Z");
            assert_eq!(
                added.last().unwrap().1.as_str(),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                     SignedHeaders={names}, Signature={signature}"
                )
            );
        }
    }
}
