use super::*;

#[test]
fn hosts_tell_their_vendor() {
    for (host, vendor) in [
        ("acme.azurecr.io", Vendor::Acr),
        (
            "contosoacrregistry-e7ggejfuhzhgedc8.azurecr.io",
            Vendor::Acr,
        ),
        ("acme.azurecr.us", Vendor::Acr),
        ("acme.azurecr.cn", Vendor::Acr),
        ("acme.westeurope.geo.azurecr.io", Vendor::Acr),
        ("docker.io", Vendor::DockerHub),
        ("registry-1.docker.io", Vendor::DockerHub),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com", Vendor::Ecr),
        (
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            Vendor::Ecr,
        ),
        (
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            Vendor::Ecr,
        ),
        ("123456789012.dkr-ecr.us-west-2.on.aws", Vendor::Ecr),
        (
            "123456789012.dkr-ecr-fips.us-gov-east-1.on.aws",
            Vendor::Ecr,
        ),
        (
            "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
            Vendor::Ecr,
        ),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", Vendor::Ecr),
        (
            "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
            Vendor::Ecr,
        ),
        (
            "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
            Vendor::Ecr,
        ),
        (
            "123456789012.dkr.ecr.us-isof-east-1.csp.hci.ic.gov",
            Vendor::Ecr,
        ),
        (
            "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
            Vendor::Ecr,
        ),
        ("public.ecr.aws", Vendor::EcrPublic),
        ("ecr-public.aws.com", Vendor::EcrPublic),
        ("europe-west1-docker.pkg.dev", Vendor::Gar),
        ("us-docker.pkg.dev", Vendor::Gar),
        ("gcr.io", Vendor::Gcr),
        ("eu.gcr.io", Vendor::Gcr),
        ("ghcr.io", Vendor::Ghcr),
        ("GHCR.io:443", Vendor::Ghcr),
    ] {
        assert_eq!(Vendor::of(&host.parse().unwrap()), vendor, "{host}");
    }
}

#[test]
fn hosts_that_only_resemble_a_vendor_are_self_hosted() {
    for host in [
        "azurecr.io",
        "acme.azurecr.io.example.com",
        "acmeazurecr.io",
        "1234567890123.dkr.ecr.us-east-1.amazonaws.com",
        "12345678901a.dkr.ecr.us-east-1.amazonaws.com",
        "123456789012.dkr.ecr.us-east-1.amazonaws.hacker.com",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com.fake.example.com",
        "123456789012.dkr-ecr.us-west-2.on.aws.com.cn",
        "123456789012.dkr.ecr.amazonaws.com",
        "dog.ecr",
        "a.b-docker.pkg.dev",
        "pkg.dev",
        "x.ghcr.io",
        "ghcr.io:5000",
        "docker.io.example",
        "registry.example.com",
    ] {
        assert_eq!(
            Vendor::of(&host.parse().unwrap()),
            Vendor::SelfHosted,
            "{host}"
        );
    }
}

#[test]
fn clouds_and_names_come_from_the_table() {
    assert_eq!(Vendor::Gar.cloud(), Some(Cloud::Gcp));
    assert_eq!(Vendor::Ghcr.cloud(), None);
    assert!(Vendor::Ecr.offers_node_identity());
    assert!(!Vendor::EcrPublic.offers_node_identity());
    assert_eq!(Vendor::SelfHosted.to_string(), "self-hosted registry");
    assert_eq!("azure".parse(), Ok(Cloud::Azure));
    assert_eq!(
        "gcloud".parse::<Cloud>().unwrap_err().to_string(),
        "unknown cloud \"gcloud\": write aws, azure or gcp",
    );
}
