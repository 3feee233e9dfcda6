//! Finds what is doubtful about a host, a user name or a password, for any vendor.

use crate::finding::{Code, Finding};
use crate::vendor_table::Vendor;
use crate::{Authentication, Credential, RegistryHost};

pub(super) fn host(host: &RegistryHost, authentication: &Authentication) -> Option<Finding> {
    if let Some(finding) = web_site(host) {
        return Some(finding);
    }
    if host.is_loopback() {
        return Some(Finding::new(
            Code::LoopbackHost,
            format!("\"{host}\" is another machine on each node that pulls from it"),
            "enter a host that the data plane's nodes can reach",
        ));
    }
    // Kubelets read the keys of pull secrets as globs, in which brackets have another meaning. If
    // there is a port, they compare host and port literally.
    let is_glob = host.ipv6().is_some() && host.port().is_none();
    (is_glob && authentication.credential().is_some()).then(|| {
        Finding::new(
            Code::Ipv6WithoutPort,
            format!("kubelets find no credential for the IPv6 address \"{host}\" without a port"),
            "enter a DNS name, or an address with a port other than 443",
        )
    })
}

pub(super) fn password(credential: &Credential) -> Option<Finding> {
    let password = credential.expose_password();
    (password.trim() != password).then(|| {
        Finding::new(
            Code::PasswordSurroundedByBlanks,
            "the password begins or ends with a blank or a line break",
            "enter it again without, unless it really belongs to the password",
        )
    })
}

/// Web pages from which people copy a host, and the hosts of the images.
const WEB_SITES: [(&str, &str); 16] = [
    ("app.docker.com", "docker.io"),
    ("azurecr.io", "<registry>.azurecr.io"),
    ("cloud.digitalocean.com", "registry.digitalocean.com"),
    ("cloud.ibm.com", "<region>.icr.io"),
    ("console.cloud.google.com", "<location>-docker.pkg.dev"),
    ("console.scaleway.com", "rg.<region>.scw.cloud"),
    ("docker.com", "docker.io"),
    ("docker.pkg.github.com", "ghcr.io"),
    ("gallery.ecr.aws", "public.ecr.aws"),
    ("github.com", "ghcr.io"),
    ("gitlab.com", "registry.gitlab.com"),
    ("pkg.dev", "<location>-docker.pkg.dev"),
    ("portal.azure.com", "<registry>.azurecr.io"),
    ("www.docker.com", "docker.io"),
    ("www.github.com", "ghcr.io"),
    ("www.gitlab.com", "registry.gitlab.com"),
];

fn web_site(host: &RegistryHost) -> Option<Finding> {
    let (_, write) = WEB_SITES.iter().find(|(site, _)| *site == host.as_str())?;
    Some(Finding::new(
        Code::WebSiteHost,
        format!("\"{host}\" serves no images"),
        format!("write {write}, if that is where they are"),
    ))
}

pub(super) fn username(credential: &Credential, vendor: &Vendor) -> Option<Finding> {
    let username = credential.username();
    if username.trim() != username {
        return Some(Finding::new(
            Code::UsernameSurroundedByBlanks,
            "the user name begins or ends with a blank or a line break",
            "enter it again without",
        ));
    }
    let is_quoted = ['\'', '"', '`'].iter().any(|quote| {
        let inner = username.strip_prefix(*quote);
        inner.is_some_and(|inner| inner.ends_with(*quote))
    });
    if is_quoted || username.contains("\\$") || username.contains("$$") {
        return Some(Finding::new(
            Code::UsernameMangled,
            "the user name has quotes around it, or a dollar that was escaped for a shell or a \
             template",
            "enter it as the registry shows it, such as robot$ci",
        ));
    }
    // The rest of `robot$ci` and `robot$acme+ci` after a shell expands them in double quotes.
    let may_be_harbor = matches!(vendor.id(), "harbor" | "self-hosted");
    let is_eaten = username == "robot" || username.starts_with("robot+");
    (may_be_harbor && is_eaten).then(|| {
        Finding::new(
            Code::UsernameMangled,
            "the user name is what a shell leaves of a Harbor robot's, which is robot$ and a name",
            "if it is one, enter it whole, as in robot$ci or robot$acme+ci, in single quotes on a \
             command line",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ContainerRegistry;

    fn codes(host: &str, username: &str, password: &str) -> Vec<&'static str> {
        let login = Authentication::basic(username, password).unwrap();
        let registry = ContainerRegistry::new("Images", host.parse().unwrap(), login).unwrap();
        let findings = registry.findings().iter();
        findings.map(|finding| finding.code().as_str()).collect()
    }

    #[test]
    fn names_of_robots_that_lost_their_dollar_are_doubted() {
        for username in [
            "robot",
            "robot+ci",
            "robot$$ci",
            r"robot\$ci",
            "'robot$ci'",
            "\"robot$acme+ci\"",
            r"robot\$acme+ci",
        ] {
            let found = codes("harbor.example.com", username, "x");
            assert!(found.contains(&"username-mangled"), "{username}: {found:?}");
        }
        for username in ["robot$ci", "robot$acme+ci", "robots", "a-robot", "'alice"] {
            let found = codes("harbor.example.com", username, "x");
            assert!(
                !found.contains(&"username-mangled"),
                "{username}: {found:?}"
            );
        }
        let nvidia = codes("nvcr.io", r"\$oauthtoken", "nvapi-0");
        assert!(nvidia.contains(&"username-mangled"), "{nvidia:?}");
        // Vendors whose robots have other names.
        assert!(!codes("quay.io", "robot+ci", "x").contains(&"username-mangled"));
    }

    #[test]
    fn blanks_around_a_user_name_are_doubted() {
        for username in ["alice ", " alice", "alice\u{a0}"] {
            let found = codes("quay.io", username, "x");
            assert!(
                found.contains(&"username-surrounded-by-blanks"),
                "{username:?}: {found:?}"
            );
        }
        assert!(!codes("quay.io", "alice", "x").contains(&"username-surrounded-by-blanks"));
    }

    #[test]
    fn an_authorization_token_of_ecr_is_no_password() {
        let private = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
        for host in [private, "public.ecr.aws"] {
            let undecoded = "QVdTOmV5SndZWGxzYjJGa0lqb2lJbjA9";
            assert_eq!(codes(host, "AWS", undecoded), ["ecr-token-undecoded"]);
            assert_eq!(
                codes(host, "AWS", "eyJwYXlsb2FkIjoiIn0="),
                ["short-lived-password"]
            );
        }
    }

    #[test]
    fn web_sites_serve_no_images() {
        for (site, write) in WEB_SITES {
            let registry =
                ContainerRegistry::new("Images", site.parse().unwrap(), Authentication::Public)
                    .unwrap();
            let mut findings = registry.findings().iter();
            let finding = findings.find(|finding| finding.code() == Code::WebSiteHost);
            let help = finding.unwrap().help();
            assert!(help.contains(write), "{site}: {help}");
        }
        assert!(WEB_SITES.is_sorted());
        assert_eq!(codes("registry.gitlab.com", "alice", "x"), [""; 0]);
    }
}
