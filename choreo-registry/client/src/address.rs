//! The addresses of requests, parsed once for repeated requests.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use http::Uri;
use url::Url;

/// A URL, and the same URL as HTTP libraries represent it.
pub(super) struct Address {
    url: Url,
    uri: Option<Uri>,
}

impl Address {
    pub(super) fn new(url: Url) -> Self {
        // A fragment stays with the client (RFC 9110, section 4.2.5).
        let (text, _) = url.as_str().split_once('#').unwrap_or((url.as_str(), ""));
        let uri = text.parse().ok();
        Self { url, uri }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the URI; `None` if HTTP cannot express it.
    pub(super) fn uri(&self) -> Option<&Uri> {
        self.uri.as_ref()
    }

    /// Returns the host, and the port unless it is the scheme's default.
    pub(super) fn authority(&self) -> Authority<'_> {
        Authority(&self.url)
    }
}

/// Shows the host and the port: the rest of an address may contain a secret of the registry.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.authority())
    }
}

/// Displays the host, and the port unless it is the scheme's default.
#[derive(Debug)]
pub(super) struct Authority<'a>(pub(super) &'a Url);

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.host_str().unwrap_or_default())?;
        self.0.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A cache of addresses below one root, by their paths.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<HashMap<String, Arc<Address>>>);

impl Addresses {
    /// Returns the address of a path; `write` creates it if it is not in the cache.
    pub(super) fn of(
        &self,
        path: &str,
        write: impl FnOnce() -> Option<Url>,
    ) -> Option<Arc<Address>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = known.get(path) {
            return Some(Arc::clone(address));
        }
        let address = Arc::new(Address::new(write()?));
        // An address that a registry names, such as a later page, is requested once and may contain a
        // secret.
        if path.len() <= MAX_PATH && !path.contains("://") {
            if known.len() >= LIMIT {
                known.clear();
            }
            known.insert(path.to_owned(), Arc::clone(&address));
        }
        Some(address)
    }
}

const LIMIT: usize = 64;

/// The path of a manifest contains at most the longest repository, a digest of SHA-512 and 20 bytes.
const MAX_PATH: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_once_and_few_are_kept() {
        let root = Url::parse("https://registry.example.com/").unwrap();
        let addresses = Addresses::default();
        let write = |path: &str| root.join(path).ok();
        let first = addresses.of("v2/", || write("v2/")).unwrap();
        assert_eq!(first.url().as_str(), "https://registry.example.com/v2/");
        let again = addresses.of("v2/", || unreachable!("it is known")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));

        for number in 0..2 * LIMIT {
            let path = format!("v2/{number}");
            addresses.of(&path, || write(&path)).unwrap();
            assert!(addresses.0.lock().unwrap().len() <= LIMIT);
        }
        let long = "x".repeat(MAX_PATH + 1);
        let before = addresses.0.lock().unwrap().len();
        assert!(addresses.of(&long, || write(&long)).is_some());
        assert_eq!(addresses.0.lock().unwrap().len(), before);
        assert!(addresses.of("none", || None).is_none());

        let page = "https://registry.example.com/v2/a/tags/list?token=canary-secret";
        let address = addresses.of(page, || Url::parse(page).ok()).unwrap();
        assert_eq!(address.url().as_str(), page);
        let shown = format!("{addresses:?} {address:?}");
        assert!(
            shown.contains("registry.example.com") && !shown.contains("canary"),
            "{shown}"
        );
    }

    #[test]
    fn a_fragment_stays_at_home() {
        let url = Url::parse("https://cdn.example:444/blob?x=1#part").unwrap();
        let address = Address::new(url.clone());
        assert_eq!(address.url(), &url);
        let uri = address.uri().unwrap();
        assert_eq!(uri.to_string(), "https://cdn.example:444/blob?x=1");
        assert_eq!(address.authority().to_string(), "cdn.example:444");
    }
}
