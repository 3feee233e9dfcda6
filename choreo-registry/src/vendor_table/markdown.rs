//! The table in Markdown.

use std::fmt::Write as _;

use super::judge::in_words;
use super::{CredentialForm, HostPattern, Vendor, VendorTable};

impl VendorTable {
    /// Returns the table in Markdown, with a row for each vendor.
    ///
    /// ```
    /// use choreo_registry::vendor_table::VendorTable;
    ///
    /// let table = VendorTable::built_in().to_markdown();
    /// let row = table.lines().find(|row| row.contains("Amazon ECR (")).unwrap();
    /// assert_eq!(
    ///     row,
    ///     "| Amazon ECR (`ecr`) | `*.dkr.ecr.*.amazonaws.com` | `AWS` \
    ///      | output of `aws ecr get-login-password` | none | 12 hours \
    ///      | vendor, basic, docker-config | aws | as the registry says \
    ///      | [enter AWS and the output of aws ecr get-login-password]\
    ///      (https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html) |",
    /// );
    /// ```
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut table = String::from(
            "| vendor | hosts | user name | password | tokens begin with | valid for \
             | recommended types | cloud | token server | what to do |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
        for vendor in self.iter() {
            vendor.write_row(&mut table);
        }
        table
    }
}

impl Vendor {
    fn write_row(&self, table: &mut String) {
        let forms: Vec<_> = self
            .credentials
            .iter()
            .filter(|form| form.is_accepted() && !form.username().is_empty())
            .collect();
        let of_forms =
            |column: fn(&CredentialForm) -> String| lines(forms.iter().map(|&form| column(form)));
        let code = |text: &str| format!("`{text}`");
        let help = match self.documentation() {
            "" => escaped(self.help()),
            link => format!(
                "[{}]({})",
                escaped(self.help()),
                link.replace('(', "%28").replace(')', "%29")
            ),
        };
        let cells = [
            format!("{} (`{}`)", escaped(&self.name), self.id),
            lines(
                self.hosts
                    .iter()
                    .map(|host| code(HostPattern::as_str(host))),
            ),
            of_forms(|form| form.username().to_owned()),
            of_forms(|form| form.password().to_owned()),
            lines(self.token_prefixes.iter().map(|prefix| code(prefix))),
            of_forms(|form| form.lifetime().map_or("until revoked".to_owned(), in_words)),
            self.recommended
                .iter()
                .map(AsRef::as_ref)
                .collect::<Vec<_>>()
                .join(", "),
            self.cloud
                .map_or("any".to_owned(), |cloud| cloud.to_string()),
            self.token_realm()
                .map_or("as the registry says".to_owned(), code),
            help,
        ];
        for cell in cells {
            let cell = cell.replace('|', "\\|").replace(['\n', '\r'], " ");
            write!(table, "| {cell} ").expect("writing to a String does not fail");
        }
        table.push_str("|\n");
    }
}

/// Escapes a text so that Markdown shows it unchanged.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\`*_[]<>&~".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// Joins several lines in one cell.
fn lines(lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        "none".to_owned()
    } else {
        lines.join("<br>")
    }
}
