//! Checks credentials and data planes against the table.

use std::time::Duration;

use super::credential_form::Verdict;
use super::{Cloud, CredentialForm, CredentialRefusal, Vendor, VendorTable};
use crate::Credential;
use crate::authentication_type::AuthenticationType;
use crate::finding::{Code, Finding};

impl Vendor {
    /// Returns a finding if it is doubtful that the nodes of a data plane have access by their own
    /// identity; `None` if the data plane belongs to the registry's cloud, or the registry to no
    /// known cloud.
    ///
    /// It is not an error: kubelets elsewhere may run a credential provider for it.
    ///
    /// ```
    /// use choreo_registry::finding::Code;
    /// use choreo_registry::vendor_table::{Cloud, Vendor};
    ///
    /// let acr = Vendor::of(&"acme.azurecr.io".parse()?);
    /// assert!(acr.misfit(Cloud::Azure).is_none());
    /// let finding = acr.misfit(Cloud::Aws).unwrap();
    /// assert_eq!(finding.code(), Code::DataPlaneOfAnotherCloud);
    /// assert_eq!(
    ///     finding.message(),
    ///     "Azure Container Registry gives access to nodes of azure, and the data plane is of aws",
    /// );
    /// # Ok::<(), choreo_registry::host::ParseHostError>(())
    /// ```
    #[must_use]
    pub fn misfit(&self, data_plane: Cloud) -> Option<Finding> {
        let cloud = self.cloud.filter(|&cloud| cloud != data_plane)?;
        Some(Finding::new(
            Code::DataPlaneOfAnotherCloud,
            format!(
                "{self} gives access to nodes of {cloud}, and the data plane is of {data_plane}"
            ),
            format!(
                "choose basic or docker-config, unless its nodes have a credential provider for \
                 {cloud}"
            ),
        ))
    }

    /// Returns what is doubtful about pulling without a credential.
    pub(crate) fn judge_public(&self) -> Option<Finding> {
        if self.recommended.contains(&AuthenticationType::Public) {
            return None;
        }
        Some(Finding::new(
            Code::AnonymousPullUnlikely,
            format!("{self} is not known to allow pulls without a credential"),
            self.advice(),
        ))
    }

    /// Checks a credential against the forms that this vendor is known to accept.
    pub(crate) fn judge(
        &self,
        credential: &Credential,
        table: &VendorTable,
    ) -> Result<Vec<Finding>, CredentialRefusal> {
        let mut findings = Vec::new();
        let form = self
            .credentials
            .iter()
            .find(|form| form.matches(credential));
        if let Some(Verdict::Refused(refusal)) = form.map(|form| form.verdict) {
            return Err(refusal);
        }
        findings.extend(match self.others_token(credential, table) {
            None => self.judge_form(form),
            other => other,
        });
        findings.extend(table.judge_username(credential));
        Ok(findings)
    }

    fn judge_form(&self, form: Option<&CredentialForm>) -> Option<Finding> {
        if *self.recommended == [AuthenticationType::Public] {
            return Some(Finding::new(
                Code::CredentialUnneeded,
                format!("anyone may pull from the registry of {self}"),
                "choose public access: a credential that is not there cannot leak",
            ));
        }
        let Some(form) = form else {
            return Some(Finding::new(
                Code::UnknownCredentialForm,
                format!("{self} is not known to accept such a user name and password"),
                self.advice(),
            ));
        };
        if let Verdict::Doubtful {
            code,
            message,
            help,
        } = form.verdict
        {
            return Some(Finding::new(code, message, help));
        }
        match form.lifetime() {
            Some(lifetime) if lifetime < LASTING => Some(self.short_lived(lifetime)),
            _ if self.offers_node_identity() => Some(Finding::new(
                Code::NodeIdentityAvailable,
                format!("{self} can give the data plane's nodes access without a password"),
                "choose the authentication type vendor if they run in the registry's cloud",
            )),
            _ => None,
        }
    }

    fn short_lived(&self, lifetime: Duration) -> Finding {
        let help = match self.recommended.first() {
            Some(AuthenticationType::Vendor) => {
                "choose the authentication type vendor, or renew the password before it expires"
                    .to_owned()
            }
            Some(AuthenticationType::Public) => self.help.clone().into_owned(),
            _ => format!(
                "renew the password before it expires, or enter a lasting one: {}",
                self.help
            ),
        };
        Finding::new(
            Code::ShortLivedPassword,
            format!(
                "such a password for {self} expires after about {}",
                in_words(lifetime)
            ),
            help,
        )
    }

    /// Returns a finding if the token has the prefix of another vendor.
    fn others_token(&self, credential: &Credential, table: &VendorTable) -> Option<Finding> {
        let password = credential.expose_password().trim();
        if self.is_self_hosted() || self.has_token(password) {
            return None;
        }
        let owner = table.iter().find(|vendor| vendor.has_token(password))?;
        Some(Finding::new(
            Code::TokenOfAnotherVendor,
            format!("the password is a token for {owner}, and the registry is {self}"),
            self.advice(),
        ))
    }

    fn has_token(&self, text: &str) -> bool {
        let mut prefixes = self.token_prefixes.iter();
        prefixes.any(|prefix| !prefix.is_empty() && text.starts_with(&**prefix))
    }

    /// Returns the help text with the link.
    fn advice(&self) -> String {
        match self.documentation() {
            "" => self.help.clone().into_owned(),
            link => format!("{} (see {link})", self.help),
        }
    }
}

impl VendorTable {
    /// Warns of a secret in the user name: user names are shown, logged and stored in the clear.
    fn judge_username(&self, credential: &Credential) -> Option<Finding> {
        let username = credential.username();
        let is_secret = username == credential.expose_password()
            || self.iter().any(|vendor| vendor.has_token(username));
        is_secret.then(|| {
            Finding::new(
                Code::TokenAsUsername,
                "the user name is a token or the password itself, and user names are shown",
                "enter another user name, such as \"token\", if the registry takes any",
            )
        })
    }
}

/// A password with at least this lifetime counts as long-lived.
const LASTING: Duration = Duration::from_secs(30 * 24 * 3600);

/// Writes a duration as people say it, in its largest whole unit.
pub(super) fn in_words(duration: Duration) -> String {
    let minutes = duration.as_secs().div_ceil(60);
    let (count, unit) = match minutes {
        m if m % (24 * 60) == 0 => (m / (24 * 60), "day"),
        m if m % 60 == 0 => (m / 60, "hour"),
        m => (m, "minute"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}
