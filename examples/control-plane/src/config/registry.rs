//! `[[registries]]`: the container registries and the sources of their credentials.

use std::path::Path;

use choreo_deploy::backend::is_pull_secret;
use choreo_deploy::id::RegistryId;
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::credential::CredentialError;
use choreo_registry::docker_config::DockerConfigError;
use choreo_registry::registry::RegistryError;
use choreo_registry::{Authentication, ContainerRegistry, RegistryHost};

use super::secret::{Orphans, SecretSource};
use super::section::{Section, join};

/// A container registry in the configuration, without its secret.
#[derive(Clone, Debug)]
pub(crate) struct RegistryEntry {
    pub(crate) id: RegistryId,
    pub(crate) display_name: String,
    pub(crate) host: RegistryHost,
    pub(crate) authentication_type: AuthenticationType,
    pub(crate) login: Login,
    /// The path in the configuration.
    pub(crate) path: String,
}

/// The source of the credential of a registry.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    /// None: the registry is public, or the nodes use their own identity.
    None,
    /// A user name and a password.
    Basic {
        username: String,
        password: SecretSource,
    },
    /// A Docker config.
    DockerConfig(SecretSource),
    /// A Secret of this name, which already exists on every data plane.
    ExistingSecret(String),
}

/// A registry with its secret.
#[derive(Debug)]
pub(crate) enum OpenRegistry {
    /// The credential, if it needs one, is known.
    Known(ContainerRegistry),
    /// Only the data planes have the credential, in a Secret of this name.
    ExistingSecret(String),
}

impl RegistryEntry {
    /// Reads an entry. The secrets of an incomplete entry are orphans.
    pub(super) fn of(
        mut section: Section<'_>,
        directory: &Path,
        orphans: &Orphans,
    ) -> Option<Self> {
        let path = section.path();
        let id: Option<RegistryId> = section.required("id");
        let display_name = section.optional("display_name");
        let host = section.required("host");
        let authentication_type = section.required("authentication");
        let (login, secrets) = login(&mut section, authentication_type, directory);
        section.finish();
        match (id, host, authentication_type, login) {
            (Some(id), Some(host), Some(authentication_type), Some(login)) => Some(Self {
                display_name: display_name.unwrap_or_else(|| id.to_string()),
                id,
                host,
                authentication_type,
                login,
                path,
            }),
            _ => {
                for (field, secret) in secrets {
                    orphans.add(join(&path, field), secret);
                }
                None
            }
        }
    }

    /// Reads the secret and creates the registry. An error contains the field that it is about.
    pub(super) fn open(&self) -> Result<OpenRegistry, (&'static str, String)> {
        let authentication = match &self.login {
            Login::ExistingSecret(name) if is_pull_secret(name) => {
                let message =
                    format!("{name:?} is the pull secret of a component: use your own Secret");
                return Err(("existing_secret", message));
            }
            Login::ExistingSecret(name) => return Ok(OpenRegistry::ExistingSecret(name.clone())),
            Login::None if self.authentication_type == AuthenticationType::Vendor => {
                Authentication::Vendor
            }
            Login::None => Authentication::Public,
            Login::Basic { username, password } => {
                let password = password.read().map_err(of("password"))?;
                Authentication::basic(username, password.as_str())
                    .map_err(|error| (field_of_login(&error), error.to_string()))?
            }
            Login::DockerConfig(source) => {
                let text = source.read().map_err(of("docker_config"))?;
                let config = text
                    .parse()
                    .map_err(|error: DockerConfigError| error.to_string());
                Authentication::DockerConfig(config.map_err(of("docker_config"))?)
            }
        };
        ContainerRegistry::new(&self.display_name, self.host.clone(), authentication)
            .map(OpenRegistry::Known)
            .map_err(|error| (self.field_of(&error), error.to_string()))
    }

    fn field_of(&self, error: &RegistryError) -> &'static str {
        match error {
            RegistryError::Credential(_) => match self.login {
                Login::DockerConfig(_) => "docker_config",
                _ => "password",
            },
            RegistryError::DataEndpoint { .. } => "host",
            RegistryError::DockerConfigHost { .. } => "docker_config",
            RegistryError::NoNodeIdentity { .. } => "authentication",
            _ => "display_name",
        }
    }
}

fn field_of_login(error: &CredentialError) -> &'static str {
    match error {
        CredentialError::UsernameColon
        | CredentialError::UsernameControlCharacter
        | CredentialError::UsernameEmpty
        | CredentialError::UsernameTooLong => "username",
        _ => "password",
    }
}

/// Adds the field to an error message.
fn of(field: &'static str) -> impl Fn(String) -> (&'static str, String) {
    move |message| (field, message)
}

/// The secrets of an entry and their fields.
type Secrets = Vec<(&'static str, SecretSource)>;

/// Reads the fields of an authentication type, which must be present, and no others. Also returns the
/// secrets that the entry names.
fn login(
    section: &mut Section<'_>,
    kind: Option<AuthenticationType>,
    directory: &Path,
) -> (Option<Login>, Secrets) {
    let given = ["username", "password", "docker_config", "existing_secret"]
        .map(|field| section.has(field));
    let username: Option<String> = section.optional("username");
    let mut secret = |field| {
        let source = SecretSource::optional(section, field);
        source.map(|source| source.relative_to(directory))
    };
    let (password, docker_config) = (secret("password"), secret("docker_config"));
    let existing_secret: Option<String> = section.optional("existing_secret");
    let secrets = [
        ("password", password.clone()),
        ("docker_config", docker_config.clone()),
    ];
    let secrets = { secrets.into_iter() }
        .filter_map(|(field, source)| Some((field, source?)))
        .collect();
    let Some(kind) = kind else {
        return (None, secrets);
    };
    let needs = match (kind, given) {
        (AuthenticationType::Public | AuthenticationType::Vendor, [false, false, false, false]) => {
            return (Some(Login::None), secrets);
        }
        (AuthenticationType::Basic, [true, true, false, false]) => {
            let login = username.zip(password);
            let login = login.map(|(username, password)| Login::Basic { username, password });
            return (login, secrets);
        }
        (AuthenticationType::DockerConfig, [false, false, true, false]) => {
            return (docker_config.map(Login::DockerConfig), secrets);
        }
        (
            AuthenticationType::Basic | AuthenticationType::DockerConfig,
            [false, false, false, true],
        ) => {
            return (existing_secret.map(Login::ExistingSecret), secrets);
        }
        (AuthenticationType::Basic, _) => "needs either username and password, or existing_secret",
        (AuthenticationType::DockerConfig, _) => "needs either docker_config or existing_secret",
        _ => "does not accept username, password, docker_config or existing_secret",
    };
    section.problem("authentication", format!("{kind} {needs}"));
    (None, secrets)
}
