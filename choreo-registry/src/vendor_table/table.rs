//! The table of vendors, which operators extend and override.

use std::fmt;
use std::sync::{Arc, LazyLock};

use super::{Vendor, rows, wildcard};
use crate::{Credential, RegistryHost};

/// The vendors that a platform recognises.
///
/// [`built_in`](Self::built_in) is the table of this [module](super). An added row comes before the
/// existing rows, and replaces a row with the same id. A clone is cheap: it shares the rows.
///
/// ```
/// use choreo_registry::vendor_table::{Vendor, VendorTable};
/// use choreo_registry::{Authentication, ContainerRegistry};
///
/// let acme = Vendor::new("acme-harbor", "Acme Harbor")?
///     .with_host("*.registry.acme.example".parse()?);
/// let table = VendorTable::built_in().with(acme);
/// let host = "eu.registry.acme.example".parse()?;
/// assert_eq!(table.of(&host).name(), "Acme Harbor");
/// assert_eq!(table.get("acme-harbor"), Some(table.of(&host)));
/// assert_eq!(table.iter().count(), VendorTable::default().iter().count() + 1);
///
/// let registry =
///     ContainerRegistry::with_vendors(&table, "Images", host, Authentication::Public)?;
/// assert_eq!(registry.vendor().id(), "acme-harbor");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct VendorTable {
    /// The first row that recognises a host is used. `self-hosted` is always present.
    rows: Arc<[Arc<Vendor>]>,
}

impl VendorTable {
    /// Returns the table of this version, as this [module](super) shows it.
    #[must_use]
    pub fn built_in() -> Self {
        Self::built_in_ref().clone()
    }

    pub(super) fn built_in_ref() -> &'static Self {
        static TABLE: LazyLock<VendorTable> = LazyLock::new(|| VendorTable {
            rows: rows::ROWS
                .iter()
                .map(|row| Arc::new(Vendor::from(row)))
                .collect(),
        });
        &TABLE
    }

    /// Returns the table with one more row at the beginning; a row with the same id is removed.
    ///
    /// To change some fields of a row, take it from the table:
    ///
    /// ```
    /// use choreo_registry::vendor_table::VendorTable;
    ///
    /// let table = VendorTable::built_in();
    /// let quay = table.get("quay").expect("a built-in row").clone();
    /// let table = table.with(quay.with_host("quay.acme.example".parse()?));
    /// assert_eq!(table.of(&"quay.acme.example".parse()?).id(), "quay");
    /// assert_eq!(table.of(&"quay.io".parse()?).id(), "quay");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with(&self, vendor: Vendor) -> Self {
        let others = self.rows.iter().filter(|row| row.id() != vendor.id());
        let others: Vec<_> = others.cloned().collect();
        Self {
            rows: std::iter::once(Arc::new(vendor)).chain(others).collect(),
        }
    }

    /// Returns the vendor of a host; the row `self-hosted` if no pattern matches.
    ///
    /// It does not allocate, and compares only suffixes and labels.
    #[must_use]
    pub fn of(&self, host: &RegistryHost) -> &Vendor {
        self.row_of(host)
    }

    /// Returns the vendor of a host, or otherwise the one whose robots have such user names: Harbor
    /// (`robot$…`), GitLab (`gitlab-ci-token`, `gitlab+deploy-token-…`) or Quay (`$oauthtoken`,
    /// `$app`, `$token`) under your own host.
    ///
    /// ```
    /// use choreo_registry::Credential;
    /// use choreo_registry::vendor_table::VendorTable;
    ///
    /// let table = VendorTable::built_in();
    /// let robot = Credential::new("robot$acme+ci", "hunter2")?;
    /// let host = "registry.example.com".parse()?;
    /// assert_eq!(table.of_credential(&host, &robot).id(), "harbor");
    /// assert_eq!(table.of_credential(&"quay.io".parse()?, &robot).id(), "quay");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of_credential(&self, host: &RegistryHost, credential: &Credential) -> &Vendor {
        self.row_of_credential(host, Some(credential))
    }

    /// Returns the row with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Vendor> {
        self.iter().find(|vendor| vendor.id() == id)
    }

    /// Returns all rows: first the added ones, the last of them first, then the built-in ones,
    /// sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Vendor> {
        self.rows.iter().map(|row| &**row)
    }

    pub(crate) fn row_of_credential(
        &self,
        host: &RegistryHost,
        credential: Option<&Credential>,
    ) -> &Arc<Vendor> {
        let row = self.row_of(host);
        let Some(credential) = credential.filter(|_| row.is_self_hosted()) else {
            return row;
        };
        let tells = |row: &&Arc<Vendor>| {
            let mut telling = row.telling_usernames.iter();
            telling.any(|pattern| wildcard::is_like(pattern, credential.username()))
        };
        self.rows.iter().find(tells).unwrap_or(row)
    }

    fn row_of(&self, host: &RegistryHost) -> &Arc<Vendor> {
        self.rows
            .iter()
            .find(|row| row.hosts.iter().any(|pattern| pattern.matches(host)))
            .or_else(|| self.rows.iter().find(|row| row.is_self_hosted()))
            .expect("no row is removed but for another with its id")
    }
}

impl Default for VendorTable {
    fn default() -> Self {
        Self::built_in()
    }
}

/// Shows only the ids: all rows with all fields fill pages.
impl fmt::Debug for VendorTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Vendor::id)).finish()
    }
}

impl Vendor {
    /// Returns `true` for the row of registries about which nothing is known.
    pub(super) fn is_self_hosted(&self) -> bool {
        self.id == rows::SELF_HOSTED
    }
}
