use super::*;

#[test]
fn types_have_a_name_each_and_two_need_a_secret() {
    for (name, needs_secret) in [
        ("public", false),
        ("basic", true),
        ("docker-config", true),
        ("vendor", false),
    ] {
        let parsed: AuthenticationType = name.parse().unwrap();
        assert_eq!(parsed.as_str(), name);
        assert_eq!(parsed.needs_secret(), needs_secret, "{name}");
    }
    assert_eq!(
        "token"
            .parse::<AuthenticationType>()
            .unwrap_err()
            .to_string(),
        "unknown authentication type \"token\": write public, basic, docker-config or vendor",
    );
    assert_eq!(
        serde_json::from_str::<AuthenticationType>("1")
            .unwrap_err()
            .to_string(),
        "invalid type: integer `1`, expected \"public\", \"basic\", \"docker-config\" or \
         \"vendor\" at line 1 column 1",
    );
}

#[test]
fn a_choice_knows_its_type_and_its_credential() {
    let config: DockerConfig = r#"{"auths":{"quay.io":{"auth":"Ym9iOmh1bnRlcjI="}}}"#
        .parse()
        .unwrap();
    for (authentication, name, username) in [
        (Authentication::Public, "public", None),
        (Authentication::Vendor, "vendor", None),
        (
            Authentication::basic("alice", "hunter2").unwrap(),
            "basic",
            Some("alice"),
        ),
        (
            Authentication::DockerConfig(config),
            "docker-config",
            Some("bob"),
        ),
    ] {
        assert_eq!(authentication.authentication_type().as_str(), name);
        let credential = authentication.credential();
        assert_eq!(credential.map(Credential::username), username, "{name}");
        let is_secret = authentication.authentication_type().needs_secret();
        assert_eq!(is_secret, credential.is_some(), "{name}");
    }
    assert_eq!(
        Authentication::basic("", "hunter2").unwrap_err(),
        CredentialError::UsernameEmpty
    );
}
