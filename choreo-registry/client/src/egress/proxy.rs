//! The operator's proxy.

use std::{fmt, str::FromStr, sync::Arc};

use url::Url;

use choreo_registry::Credential;

/// An HTTP proxy for [`Egress::through_proxy`](super::Egress::through_proxy): `http` or `https`, a
/// host, and a port unless it is the scheme's.
///
/// ```
/// use choreo_registry::Credential;
/// use choreo_registry_client::egress::Proxy;
///
/// let proxy: Proxy = "http://proxy.corp.example:3128".parse()?;
/// assert_eq!(proxy.to_string(), "http://proxy.corp.example:3128/");
/// // A proxy that asks for a login:
/// let proxy = proxy.with_credential(Credential::new("platform", "secret")?);
/// assert_eq!(proxy.credential().unwrap().username(), "platform");
///
/// let error = "socks5://proxy.corp.example".parse::<Proxy>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "proxy is not an HTTP proxy's address: write http://HOST:PORT, and give its login apart",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Proxy {
    url: Url,
    credential: Option<Arc<Credential>>,
}

impl Proxy {
    /// Logs in to the proxy, by Basic authentication.
    #[must_use]
    pub fn with_credential(self, credential: Credential) -> Self {
        Self {
            credential: Some(Arc::new(credential)),
            ..self
        }
    }

    /// The login, for your own transport.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_deref()
    }

    #[cfg(feature = "reqwest")]
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }
}

impl FromStr for Proxy {
    type Err = ParseProxyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| ParseProxyError(()))?;
        let is_bare = url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        if matches!(url.scheme(), "http" | "https") && is_bare {
            Ok(Self {
                url,
                credential: None,
            })
        } else {
            Err(ParseProxyError(()))
        }
    }
}

impl fmt::Display for Proxy {
    /// The address; never the login.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.url, f)
    }
}

/// The reason why a text is not a [`Proxy`]. It contains nothing of the text, which may contain a
/// login.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseProxyError(());

impl fmt::Display for ParseProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "proxy is not an HTTP proxy's address: write http://HOST:PORT, and give its login apart",
        )
    }
}

impl std::error::Error for ParseProxyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_of_http_proxies_are_taken() {
        for good in [
            "http://p.example",
            "https://p.example:8443/",
            "http://10.0.0.1:3128",
        ] {
            assert!(good.parse::<Proxy>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "p.example:3128",
            "socks5://p.example",
            "http://user@p.example",
            "http://user:canary@p.example",
            "http://p.example/path",
            "http://p.example/?x",
            "http://p.example/#x",
        ] {
            let error = bad.parse::<Proxy>().unwrap_err();
            assert!(!error.to_string().contains("canary"));
        }
    }

    #[test]
    fn the_login_is_not_shown() {
        let proxy: Proxy = "http://p.example".parse().unwrap();
        let proxy = proxy.with_credential(Credential::new("platform", "canary").unwrap());
        assert!(!format!("{proxy:?} {proxy}").contains("canary"));
    }
}
