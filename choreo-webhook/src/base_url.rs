//! The URL under which clients reach the webhook.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;

/// The URL under which clients reach the webhook, such as `https://cd.example.com/hooks`.
///
/// The scheme is `https`, because each request contains a deploy token; `http` is valid on loopback,
/// for tests. Credentials, a query and a fragment are not valid. A slash at the end is removed.
///
/// ```
/// use choreo_webhook::BaseUrl;
///
/// let url: BaseUrl = "https://cd.example.com/hooks/".parse()?;
/// assert_eq!(url.as_str(), "https://cd.example.com/hooks");
/// assert!("http://127.0.0.1:8080".parse::<BaseUrl>().is_ok());
/// assert_eq!(
///     "http://cd.example.com".parse::<BaseUrl>().unwrap_err().to_string(),
///     "base URL \"http://cd.example.com\" is not valid: use https, tokens would travel in clear text",
/// );
/// # Ok::<(), choreo_webhook::base_url::ParseBaseUrlError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Returns the URL, without a slash at the end.
    ///
    /// ```
    /// use choreo_webhook::BaseUrl;
    ///
    /// let url: BaseUrl = "https://cd.example.com/".parse()?;
    /// assert_eq!(url.as_str(), "https://cd.example.com");
    /// # Ok::<(), choreo_webhook::base_url::ParseBaseUrlError>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the scheme, `http` or `https`.
    ///
    /// ```
    /// use choreo_webhook::BaseUrl;
    ///
    /// let url: BaseUrl = "https://cd.example.com".parse()?;
    /// assert_eq!(url.scheme(), "https");
    /// # Ok::<(), choreo_webhook::base_url::ParseBaseUrlError>(())
    /// ```
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0
            .split_once("://")
            .map_or("https", |(scheme, _)| scheme)
    }
}

impl FromStr for BaseUrl {
    type Err = ParseBaseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseBaseUrlError> {
        let error = |rule| ParseBaseUrlError {
            text: text.chars().take(64).collect(),
            rule,
        };
        // A subset of the characters of URLs, so that the URL needs no quoting in shell or YAML.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
        if text.contains('@') {
            return Err(ParseBaseUrlError {
                text: String::new(),
                rule: "remove user name and password",
            });
        }
        if !text.bytes().all(plain) {
            return Err(error(
                "use letters, digits and -._~:/[]% only, without query and fragment",
            ));
        }
        let whole = "write it as https://HOST or https://HOST/PATH";
        let uri: Uri = text.parse().map_err(|_| error(whole))?;
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| error(whole))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(host) => {}
            Some("http") => return Err(error("use https, tokens would travel in clear text")),
            _ => return Err(error(whole)),
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = ParseBaseUrlError;

    fn try_from(text: String) -> Result<Self, ParseBaseUrlError> {
        text.parse()
    }
}

impl AsRef<str> for BaseUrl {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for BaseUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for BaseUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The error of a text that is not a base URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseBaseUrlError {
    /// The text, or empty if it may contain a password.
    text: String,
    rule: &'static str,
}

impl fmt::Display for ParseBaseUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.as_str() {
            "" => write!(f, "base URL is not valid: {}", self.rule),
            text => write!(f, "base URL {text:?} is not valid: {}", self.rule),
        }
    }
}

impl std::error::Error for ParseBaseUrlError {}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_https_and_loopback() {
        for good in [
            "https://cd.example.com",
            "https://cd.example.com:8443/a/b",
            "https://[2001:db8::1]/x",
            "http://localhost:8080",
            "http://127.0.0.2",
            "http://[::1]:80",
        ] {
            let url: BaseUrl = good.parse().unwrap();
            assert_eq!([url.as_str(), url.as_ref()], [good; 2]);
        }
    }

    #[test]
    fn errors_explain_and_hide_passwords() {
        for (bad, rule) in [
            (
                "",
                "base URL is not valid: write it as https://HOST or https://HOST/PATH",
            ),
            (
                "https://me:hunter2@cd.example.com",
                "base URL is not valid: remove user name and password",
            ),
            (
                "ftp://cd.example.com",
                "base URL \"ftp://cd.example.com\" is not valid: write it as https://HOST or https://HOST/PATH",
            ),
            (
                "/hooks",
                "base URL \"/hooks\" is not valid: write it as https://HOST or https://HOST/PATH",
            ),
            (
                "https://cd.example.com/$(id)",
                "base URL \"https://cd.example.com/$(id)\" is not valid: use letters, digits and -._~:/[]% only, without query and fragment",
            ),
            (
                "http://192.0.2.1",
                "base URL \"http://192.0.2.1\" is not valid: use https, tokens would travel in clear text",
            ),
        ] {
            assert_eq!(bad.parse::<BaseUrl>().unwrap_err().to_string(), rule);
        }
    }
}
