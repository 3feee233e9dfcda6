//! The message and the help of each kind of error, for developers.

use choreo_registry::quote::Quoted;

use super::{evidence::Evidence, kind::ErrorKind};
use crate::transport::TransportError;

/// The facts that messages are written from.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) kind: ErrorKind,
    pub(super) registry: String,
    pub(super) image: Option<String>,
    pub(super) detail: Option<String>,
    /// The response may mean a wrong login or a missing permission, so the message names both.
    pub(super) is_ambiguous: bool,
    /// The response is a page, possibly of a firewall or proxy in front of the registry.
    pub(super) is_page: bool,
    /// The request was for a list of tags.
    pub(super) is_list: bool,
    pub(super) evidence: Evidence,
    pub(super) source: Option<TransportError>,
}

impl Facts {
    /// Returns the message.
    pub(super) fn message(&self) -> String {
        let host = Quoted::new(&self.registry);
        let of_registry = |what: &str| format!("registry {host} {what}");
        let detailed = |what: &str| format!("registry {host} {what}{}", self.detail());
        match self.kind {
            ErrorKind::Blocked => detailed("is not allowed by this platform"),
            ErrorKind::CredentialRefused if self.is_ambiguous => {
                of_registry("rejects the login, or does not let it pull") + &self.image_after(" ")
            }
            ErrorKind::CredentialRefused => of_registry("rejects the user name or the password"),
            ErrorKind::Denied if self.is_list => {
                of_registry("does not allow listing the tags")
                    + &self.image_after(" of ")
                    + &self.detail()
            }
            ErrorKind::Denied => {
                of_registry("does not allow pulling") + &self.image_after(" ") + &self.detail()
            }
            ErrorKind::DigestMismatch => {
                of_registry("serves content that does not match its digest")
            }
            ErrorKind::InvalidResponse => detailed("violates the protocol"),
            ErrorKind::NotARegistry => {
                format!("host {host} does not answer like a container registry")
            }
            ErrorKind::NotFound => self.not_found(),
            ErrorKind::RateLimited => of_registry("has received too many requests"),
            ErrorKind::RealmNotTrusted => {
                detailed("sends logins to a token server that is not trusted")
            }
            ErrorKind::Timeout => of_registry("did not answer in time"),
            ErrorKind::Tls if self.lacks_tls() => {
                of_registry("needs https, but this platform's transport was built without TLS")
            }
            ErrorKind::Tls => of_registry("does not offer a trusted TLS connection"),
            ErrorKind::TooLarge => of_registry("sends a response that is too large"),
            ErrorKind::Unauthorized => {
                of_registry("requires a login") + &self.image_after(" to pull ")
            }
            ErrorKind::Unavailable => of_registry("responds with a server error") + &self.status(),
            ErrorKind::Unreachable => of_registry("cannot be reached") + &self.cause(),
            ErrorKind::UnsupportedImage => {
                format!("image{} cannot run{}", self.image_after(" "), self.detail())
            }
            ErrorKind::WrongRegistry => {
                format!("image{} is not in registry {host}", self.image_after(" "))
            }
        }
    }

    /// Returns the next step.
    pub(super) fn help(&self) -> String {
        let help = match self.kind {
            ErrorKind::Blocked => "ask the platform's operator to allow the registry's address",
            ErrorKind::CredentialRefused | ErrorKind::Denied => self.help_if_denied(),
            ErrorKind::DigestMismatch => {
                "do not deploy it; push the image again, and inform the registry's operator"
            }
            ErrorKind::InvalidResponse if self.is_page => {
                "check that the host is the registry's, and ask its operator whether a firewall or \
                 proxy in front of it refuses this platform's address"
            }
            ErrorKind::InvalidResponse => {
                "check that the host is the registry's, and inform the registry's operator"
            }
            ErrorKind::NotARegistry => {
                "check the host: it is the part of the image's name before the first slash, not the \
                 address of a web page"
            }
            ErrorKind::NotFound => {
                "check the spelling, and that the push has finished; a registry may also hide \
                 images that this login may not pull"
            }
            ErrorKind::RateLimited => return self.help_if_limited(),
            ErrorKind::RealmNotTrusted => {
                "nothing was sent to it; if it is the registry's token server, ask the platform's \
                 operator to trust it; a registry with https needs a token server with https"
            }
            ErrorKind::Timeout | ErrorKind::Unavailable => {
                "try again later, and check the registry's status page"
            }
            ErrorKind::Tls if self.lacks_tls() => {
                "ask the platform's operator to build it with the feature \"tls\""
            }
            ErrorKind::Tls => {
                "check the registry's certificate, its names and its dates; the platform's operator \
                 can add a company's own certificate authority or the registry's self-signed \
                 certificate, or allow plain HTTP if the registry has no TLS"
            }
            ErrorKind::TooLarge => "check that the name is that of a container image",
            ErrorKind::Unauthorized => {
                "register a user name and a password or token for it; for a public repository, \
                 check the spelling"
            }
            ErrorKind::Unreachable => {
                "check the host's spelling, and that the platform's network can reach it"
            }
            ErrorKind::UnsupportedImage => {
                "check that the name is that of a container image, or build and push it again with \
                 a current tool"
            }
            ErrorKind::WrongRegistry => "use the client of that image's registry",
        };
        help.to_owned()
    }

    fn help_if_denied(&self) -> &'static str {
        let is_denied = self.kind == ErrorKind::Denied;
        match (self.is_list, self.is_page) {
            (true, true) if is_denied => {
                "name a tag: many registries permit pulling and listing separately; also ask the registry's \
                 operator whether a firewall or proxy in front of it refuses this platform's address"
            }
            (true, false) if is_denied => {
                "name a tag: many registries permit pulling and listing separately; to list, give \
                 this login that right as well"
            }
            (false, true) if is_denied => {
                "ask the registry's operator whether a firewall or proxy in front of it refuses \
                 this platform's address; if none does, check that the token has not expired, and \
                 give this login the right to pull the repository"
            }
            (false, _) if self.is_ambiguous => {
                "check that the password or token is complete and has not expired; if it is right, \
                 give this login the right to pull the repository, and check the repository's \
                 spelling"
            }
            _ if is_denied => {
                "give this login the right to pull the repository, and check the repository's \
                 spelling: many registries deny access to what does not exist"
            }
            _ => {
                "enter both again, completely; check that the token has not expired, and whether \
                 this registry requires a token instead of the password"
            }
        }
    }

    fn not_found(&self) -> String {
        let registry = Quoted::new(&self.registry);
        let Some(image) = &self.image else {
            return format!("registry {registry} does not have the requested content");
        };
        let image = Quoted::new(image);
        match self.evidence.code() {
            Some("NAME_UNKNOWN") => format!("repository of image {image} was not found"),
            Some("MANIFEST_UNKNOWN") => {
                format!("image {image} was not found: its repository has no such tag or digest")
            }
            _ => format!("image {image} was not found"),
        }
    }

    fn help_if_limited(&self) -> String {
        let when = match self.evidence.retry_after() {
            Some(wait) => format!("try again in {} seconds", wait.as_secs()),
            None => "try again later".to_owned(),
        };
        format!("{when}; many registries permit more requests with a login")
    }

    fn detail(&self) -> String {
        self.detail
            .as_ref()
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default()
    }

    fn cause(&self) -> String {
        self.source
            .as_ref()
            .map(|source| format!(": {source}"))
            .unwrap_or_default()
    }

    fn lacks_tls(&self) -> bool {
        self.source.as_ref().is_some_and(TransportError::lacks_tls)
    }

    fn status(&self) -> String {
        self.evidence
            .status()
            .map(|status| format!(" (status {status})"))
            .unwrap_or_default()
    }

    fn image_after(&self, before: &str) -> String {
        self.image
            .as_ref()
            .map(|image| format!("{before}{}", Quoted::new(image)))
            .unwrap_or_default()
    }
}
