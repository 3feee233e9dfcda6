//! The meaning of a denial: one table of the server, the credential in the request, and the status.
//!
//! The status alone is not sufficient: for a wrong password, ghcr.io's token server responds with 403,
//! Amazon ECR with 400 or 403 at `/v2/`, and Scaleway's token server with 404. Harbor responds with 401
//! to a token that lacks a permission.

use http::StatusCode;

use crate::{ErrorKind, disguise::Page};

/// The server that responded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// A token server, requested for access to a repository, or without one.
    TokenServer { for_repository: bool },
    /// The root of the API, `/v2/`, which has no repository to deny.
    Api,
    /// A manifest, a blob or the tags of a repository.
    Repository,
}

/// The credential in a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sent {
    /// No credential and no token, or an anonymous token.
    Nothing,
    /// The credential itself: to a registry with Basic authentication, or to a token server.
    Credential,
    /// A token that was issued for the credential.
    Token,
}

/// The facts about a response besides its status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Situation {
    pub(super) place: Place,
    pub(super) sent: Sent,
    /// The registry or its token server has accepted this credential before.
    pub(super) proven: bool,
    /// The root of the registry, which has no repository to deny, has answered 401 to the credential.
    pub(super) refused: bool,
    /// The page that the response contains, if it is not one of the registry or its token server.
    pub(super) page: Option<Page>,
}

/// The meaning of a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Meaning {
    pub(super) kind: ErrorKind,
    /// The response may mean a wrong login or a missing permission.
    pub(super) is_ambiguous: bool,
}

impl Meaning {
    /// Returns the meaning. This is the only table of them.
    pub(super) fn of(status: StatusCode, code: Option<&str>, at: Situation) -> Self {
        let clear = |kind| Self {
            kind,
            is_ambiguous: false,
        };
        let ambiguous = |kind| Self {
            kind,
            is_ambiguous: true,
        };
        match (status.as_u16(), code) {
            (429, _) | (_, Some("TOOMANYREQUESTS")) => clear(ErrorKind::RateLimited),
            (408, _) => clear(ErrorKind::Timeout),
            (410, _) if at.place == Place::Repository => clear(ErrorKind::NotFound),
            (500..=599, _) => clear(ErrorKind::Unavailable),
            (status, _) if at.page.is_some() && is_about_the_way(status, at.place) => {
                clear(ErrorKind::InvalidResponse)
            }
            (status @ (400 | 401 | 403 | 404 | 405), code) => match at.place {
                Place::TokenServer { for_repository } => match (at.sent, status) {
                    (Sent::Nothing, 401 | 403) => clear(ErrorKind::Unauthorized),
                    (Sent::Nothing, _) => clear(ErrorKind::InvalidResponse),
                    // A token server rejects a login with 401.
                    (Sent::Credential | Sent::Token, 401) => clear(ErrorKind::CredentialRefused),
                    _ if at.proven => clear(ErrorKind::Denied),
                    _ if for_repository => ambiguous(ErrorKind::CredentialRefused),
                    _ => clear(ErrorKind::CredentialRefused),
                },
                Place::Api => match (at.sent, status) {
                    (Sent::Credential, 400 | 401 | 403) => clear(ErrorKind::CredentialRefused),
                    (_, 404 | 405) => clear(ErrorKind::NotARegistry),
                    (Sent::Nothing, 401 | 403) => clear(ErrorKind::Unauthorized),
                    (Sent::Token, 401 | 403) => clear(ErrorKind::Denied),
                    _ => clear(ErrorKind::InvalidResponse),
                },
                Place::Repository => Self::at_repository(status, code, at),
            },
            _ => clear(ErrorKind::InvalidResponse),
        }
    }

    fn at_repository(status: u16, code: Option<&str>, at: Situation) -> Self {
        let is_ambiguous = at.sent == Sent::Credential && !at.proven && !at.refused;
        let kind = match (status, code, at.sent) {
            (404, _, _) | (400, Some("NAME_UNKNOWN" | "MANIFEST_UNKNOWN"), _) => {
                return Self {
                    kind: ErrorKind::NotFound,
                    is_ambiguous: false,
                };
            }
            (401, _, Sent::Nothing) => ErrorKind::Unauthorized,
            (401, _, Sent::Credential) if !at.proven => ErrorKind::CredentialRefused,
            // Amazon ECR responds with 400 to a password that is not one of its tokens.
            (400, None | Some("DENIED" | "UNAUTHORIZED"), Sent::Credential) if !at.proven => {
                ErrorKind::CredentialRefused
            }
            // The credential has been accepted before, so a permission is missing.
            (401 | 403, _, _) => ErrorKind::Denied,
            _ => {
                return Self {
                    kind: ErrorKind::InvalidResponse,
                    is_ambiguous: false,
                };
            }
        };
        Self { kind, is_ambiguous }
    }
}

/// Returns `true` if a page with this status is about the platform's address or the path, not about the
/// login: a firewall or proxy wrote it.
///
/// A page with status 401 is about the login: proxies write one for a wrong password.
fn is_about_the_way(status: u16, place: Place) -> bool {
    match place {
        Place::TokenServer { .. } => matches!(status, 400 | 403 | 404 | 405),
        Place::Api => matches!(status, 400 | 403),
        // With status 403 it may also be the registry's own, and pulling is denied in any case.
        Place::Repository => status == 400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorKind as K;
    use Sent as S;

    const SERVER: Place = Place::TokenServer {
        for_repository: false,
    };
    const SCOPED: Place = Place::TokenServer {
        for_repository: true,
    };

    fn of((place, sent, proven): (Place, Sent, bool), status: u16, code: Option<&str>) -> Meaning {
        let status = StatusCode::from_u16(status).unwrap();
        let at = Situation {
            place,
            sent,
            proven,
            refused: false,
            page: None,
        };
        Meaning::of(status, code, at)
    }

    #[test]
    fn each_answer_of_a_repository_has_one_meaning() {
        let table = [
            (401, None, S::Nothing, K::Unauthorized),
            (401, Some("UNAUTHORIZED"), S::Nothing, K::Unauthorized),
            (401, None, S::Credential, K::CredentialRefused),
            (401, Some("UNAUTHORIZED"), S::Token, K::Denied),
            (403, Some("DENIED"), S::Nothing, K::Denied),
            (403, None, S::Credential, K::Denied),
            (403, None, S::Token, K::Denied),
            (404, Some("NAME_UNKNOWN"), S::Token, K::NotFound),
            (404, Some("MANIFEST_UNKNOWN"), S::Nothing, K::NotFound),
            (404, None, S::Nothing, K::NotFound),
            (400, Some("NAME_UNKNOWN"), S::Nothing, K::NotFound),
            (400, Some("NAME_INVALID"), S::Nothing, K::InvalidResponse),
            (400, None, S::Nothing, K::InvalidResponse),
            (405, Some("UNSUPPORTED"), S::Nothing, K::InvalidResponse),
            (408, None, S::Nothing, K::Timeout),
            (410, None, S::Token, K::NotFound),
            (429, None, S::Nothing, K::RateLimited),
            (429, Some("DENIED"), S::Token, K::RateLimited),
            (403, Some("TOOMANYREQUESTS"), S::Token, K::RateLimited),
            (500, None, S::Nothing, K::Unavailable),
            (503, Some("UNAVAILABLE"), S::Token, K::Unavailable),
            (599, None, S::Nothing, K::Unavailable),
            (204, None, S::Nothing, K::InvalidResponse),
            (302, None, S::Nothing, K::InvalidResponse),
            (418, None, S::Nothing, K::InvalidResponse),
        ];
        for (status, code, sent, expected) in table {
            let meaning = of((Place::Repository, sent, false), status, code);
            assert_eq!(meaning.kind, expected, "{status} {code:?} {sent:?}");
            let refused = matches!(status, 401 | 403) && code.is_none();
            let is_ambiguous = refused && sent == S::Credential;
            assert_eq!(
                meaning.is_ambiguous, is_ambiguous,
                "{status} {code:?} {sent:?}"
            );
        }
    }

    #[test]
    fn a_credential_that_the_root_refuses_is_wrong() {
        for (refused, is_ambiguous) in [(false, true), (true, false)] {
            let at = Situation {
                place: Place::Repository,
                sent: S::Credential,
                proven: false,
                refused,
                page: None,
            };
            let meaning = Meaning::of(StatusCode::UNAUTHORIZED, None, at);
            assert_eq!(meaning.kind, K::CredentialRefused);
            assert_eq!(meaning.is_ambiguous, is_ambiguous, "{refused}");
        }
    }

    #[test]
    fn a_proven_credential_is_not_doubted_by_a_repository() {
        for status in [401, 403] {
            let meaning = of((Place::Repository, S::Credential, true), status, None);
            assert_eq!(meaning.kind, K::Denied, "{status}");
            assert!(!meaning.is_ambiguous, "{status}");
        }
    }

    #[test]
    fn a_bad_request_with_a_login_in_it_may_be_about_the_login() {
        for (code, proven, expected) in [
            (None, false, K::CredentialRefused),
            (Some("DENIED"), false, K::CredentialRefused),
            (Some("NAME_INVALID"), false, K::InvalidResponse),
            (None, true, K::InvalidResponse),
        ] {
            let meaning = of((Place::Repository, S::Credential, proven), 400, code);
            assert_eq!(meaning.kind, expected, "{code:?} {proven}");
        }
        assert!(of((Place::Repository, S::Credential, false), 400, None).is_ambiguous);
    }

    #[test]
    fn a_token_server_that_refuses_a_credential_doubts_the_credential() {
        for status in [400, 401, 403, 404, 405] {
            let alone = of((SERVER, S::Credential, false), status, Some("DENIED"));
            assert_eq!(alone.kind, K::CredentialRefused, "{status}");
            assert!(!alone.is_ambiguous, "{status}");
            let scoped = of((SCOPED, S::Credential, false), status, None);
            assert_eq!(scoped.kind, K::CredentialRefused, "{status}");
            // Only 401 names the login for certain.
            assert_eq!(scoped.is_ambiguous, status != 401, "{status}");
            let proven = of((SCOPED, S::Credential, true), status, None);
            let expected = match status {
                401 => K::CredentialRefused,
                _ => K::Denied,
            };
            assert_eq!(proven.kind, expected, "{status}");
        }
        for (status, expected) in [
            (400, K::InvalidResponse),
            (401, K::Unauthorized),
            (403, K::Unauthorized),
            (404, K::InvalidResponse),
            (429, K::RateLimited),
            (503, K::Unavailable),
        ] {
            assert_eq!(of((SCOPED, S::Nothing, false), status, None).kind, expected);
        }
    }

    /// Guards against a conclusion about the login from a firewall's page.
    #[test]
    fn a_page_is_about_the_login_with_status_401_alone() {
        for (place, status, expected) in [
            (SCOPED, 400, K::InvalidResponse),
            (SCOPED, 401, K::CredentialRefused),
            (SCOPED, 403, K::InvalidResponse),
            (SERVER, 404, K::InvalidResponse),
            (SERVER, 405, K::InvalidResponse),
            (SERVER, 429, K::RateLimited),
            (SERVER, 503, K::Unavailable),
            (Place::Api, 400, K::InvalidResponse),
            (Place::Api, 401, K::CredentialRefused),
            (Place::Api, 403, K::InvalidResponse),
            (Place::Api, 404, K::NotARegistry),
            (Place::Repository, 400, K::InvalidResponse),
            (Place::Repository, 401, K::CredentialRefused),
            (Place::Repository, 403, K::Denied),
            (Place::Repository, 404, K::NotFound),
        ] {
            let at = Situation {
                place,
                sent: S::Credential,
                proven: false,
                refused: false,
                page: Some(Page::Web),
            };
            let meaning = Meaning::of(StatusCode::from_u16(status).unwrap(), None, at);
            assert_eq!(meaning.kind, expected, "{place:?} {status}");
        }
    }

    #[test]
    fn the_root_of_the_api_has_no_repository_to_deny() {
        for (sent, status, expected) in [
            (S::Credential, 400, K::CredentialRefused),
            (S::Credential, 401, K::CredentialRefused),
            (S::Credential, 403, K::CredentialRefused),
            (S::Credential, 404, K::NotARegistry),
            (S::Nothing, 400, K::InvalidResponse),
            (S::Nothing, 401, K::Unauthorized),
            (S::Nothing, 403, K::Unauthorized),
            (S::Nothing, 404, K::NotARegistry),
            (S::Nothing, 405, K::NotARegistry),
            (S::Token, 401, K::Denied),
            (S::Token, 403, K::Denied),
            (S::Nothing, 502, K::Unavailable),
        ] {
            let meaning = of((Place::Api, sent, false), status, None);
            assert_eq!(meaning.kind, expected, "{sent:?} {status}");
            assert!(!meaning.is_ambiguous);
        }
    }
}
