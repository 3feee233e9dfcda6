//! The description of a missing credential for the API server.

use std::error::Error;

use kube::client::AuthError;

/// Describes why there is no credential for the API server, if that is the cause of an error of
/// [`kube`]; returns `None` for another cause.
///
/// Show this instead of the error. The error's own text contains the command line of the
/// kubeconfig's credential plugin, with arguments and environment, and the whole output of the
/// plugin. Both may contain secrets.
///
/// ```
/// use choreo_deploy_kubernetes::credential_failure;
/// use kube::client::AuthError;
///
/// let error = kube::Error::Auth(AuthError::AuthExec("token hunter2 is not JSON".to_owned()));
/// let said = credential_failure(&error);
/// assert_eq!(said.as_deref(), Some("the credential plugin of the kubeconfig failed"));
/// assert_eq!(credential_failure(&kube::Error::LinesCodecMaxLineLengthExceeded), None);
/// ```
pub fn credential_failure(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<AuthError>() {
            return Some(words(error));
        }
        cause = error.source();
    }
    None
}

fn words(error: &AuthError) -> String {
    const PLUGIN: &str = "the credential plugin of the kubeconfig";
    match error {
        AuthError::AuthExecRun { out, .. } => match out.status.code() {
            Some(code) => format!("{PLUGIN} failed with exit status {code}"),
            None => format!("{PLUGIN} was ended by a signal"),
        },
        AuthError::AuthExecStart(source) => {
            format!("{PLUGIN} could not be started: {}", source.kind())
        }
        AuthError::InvalidBasicAuth(_) | AuthError::InvalidBearerToken(_) => {
            "the credential of the kubeconfig contains characters that are not valid in an HTTP header".to_owned()
        }
        AuthError::ReadTokenFile(source, path) => {
            format!("token file {path:?} cannot be read: {}", source.kind())
        }
        AuthError::MissingCommand => format!("{PLUGIN} has no command"),
        AuthError::NoValidNativeRootCA(_) => {
            "this system has no valid root certificates".to_owned()
        }
        _ => format!("{PLUGIN} failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a kubeconfig's secrets are not shown, however deep the client has wrapped the
    /// error.
    #[test]
    fn nothing_of_a_plugin_is_said() {
        let failed = || AuthError::AuthExecRun {
            cmd: "\"login\" \"--password\" \"hunter2\"".to_owned(),
            out: Box::new(std::process::Output {
                status: std::process::Command::new("false")
                    .status()
                    .expect("false runs"),
                stdout: b"hunter2".to_vec(),
                stderr: b"hunter2".to_vec(),
            }),
        };
        for error in [
            kube::Error::Auth(failed()),
            kube::Error::Service(Box::new(failed())),
            kube::Error::Service(Box::new(kube::Error::Auth(failed()))),
        ] {
            let said = crate::error::from_kube("apply", &error).to_string();
            assert!(!said.contains("hunter2"), "{said}");
            assert!(
                said.ends_with("the credential plugin of the kubeconfig failed with exit status 1"),
                "{said}"
            );
        }
    }
}
