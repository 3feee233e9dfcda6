use super::*;
use crate::test_macros::assert_texts;

fn host() -> RegistryHost {
    "ghcr.io".parse().unwrap()
}

fn hosts(count: usize) -> Vec<RegistryHost> {
    let names = (0..count).map(|i| format!("r{i}.example"));
    names.map(|name| name.parse().unwrap()).collect()
}

#[test]
fn each_variant_has_its_text() {
    use DockerConfigError as E;

    assert_texts! { E:
        E::SeveralEntries(_) = E::SeveralEntries(hosts(2)) =>
            "docker config has several entries under \"auths\" (r0.example, r1.example): choose \
             one, or keep only the one of this registry";
        E::CredHelpers(_) = E::CredHelpers(Vec::new()) =>
            "docker config names credential helpers (\"credHelpers\"): nodes cannot run them, \
             remove \"credHelpers\" and give the one registry's credential under \"auths\"";
        E::EmptyEntry { .. } = E::EmptyEntry { host: host() } =>
            "docker config has an empty entry for \"ghcr.io\": the password is in a credential \
             store of the machine it comes from, enter user name and password instead";
        E::Auth(_) = E::Auth(AuthDefect::NotBase64) =>
            "docker config has an \"auth\" that is not base64: paste it anew, or give \
             \"username\" and \"password\"";
        E::Base64 = E::Base64 =>
            "docker config is encoded in base64: paste what base64 -d makes of it";
        E::KubernetesManifest = E::KubernetesManifest =>
            "docker config is a Kubernetes manifest: paste its \".dockerconfigjson\", \
             decoded with base64 -d";
        E::Credential(_) = E::Credential(CredentialError::UsernameEmpty) =>
            "docker config cannot be used: user name is empty: enter the name that goes with the \
             password or token";
        E::Host(_) = r#"{"auths":{"ghcr.io/acme":{"auth":"Zm9vOmJhcg=="}}}"#
            .parse::<crate::docker_config::DockerConfig>()
            .unwrap_err() =>
            "docker config has a key under \"auths\" that names no host: invalid registry host: a \
             host has no path: write the host alone, the rest belongs to the image";
        E::IdentityToken { .. } = E::IdentityToken { host: host() } =>
            "docker config has only an identity token for \"ghcr.io\", which nodes do not \
             understand: enter user name and password instead";
        E::RegistryToken { .. } = E::RegistryToken { host: host() } =>
            "docker config has only a registry token for \"ghcr.io\", which nodes do not \
             understand: enter user name and password instead";
        E::Incomplete { .. } = E::Incomplete {
            host: host(),
            missing: "password",
        } =>
            "docker config has no \"password\" for \"ghcr.io\": add it, or \"auth\"";
        E::Mismatch { .. } = E::Mismatch { host: host() } =>
            "docker config has an \"auth\" for \"ghcr.io\" that disagrees with \"username\" and \
             \"password\": remove the outdated one";
        E::NoEntryFor { .. } = E::NoEntryFor {
            host: host(),
            others: hosts(1),
        } =>
            "docker config has no entry for \"ghcr.io\" under \"auths\", only for others \
             (r0.example): log in to that registry first, or choose another entry";
        E::SeveralSpellings { .. } = E::SeveralSpellings { host: host() } =>
            "docker config has several entries for \"ghcr.io\" under \"auths\", in different \
             spellings: keep one";
        E::CredsStore = E::CredsStore =>
            "docker config names a credential store (\"credsStore\"), so the password is not in \
             it: log in with an empty configuration (docker --config DIRECTORY login HOST) where \
             no store is set, or enter user name and password";
        E::Empty = E::Empty =>
            "docker config is empty: paste the contents of config.json";
        E::FieldCase { .. } = E::FieldCase {
            field: "auths".to_owned(),
        } =>
            "docker config has a field in the wrong case: write \"auths\"";
        E::NoEntry = E::NoEntry =>
            "docker config has no entry under \"auths\": log in first, or choose public access";
        E::TooLarge = E::TooLarge =>
            "docker config is larger than 1 MiB: check what was pasted";
        E::WrongType { .. } = E::WrongType {
            path: "auths".to_owned(),
            expected: "an object",
            found: "an array",
        } =>
            "docker config has the wrong type in auths: expected an object, found an array";
        E::NotJson { .. } = E::NotJson { line: 3, column: 5 } =>
            "docker config is not JSON: see line 3, column 5; paste the whole file, from \"{\" to \"}\"";
        E::Duplicate { .. } = E::Duplicate {
            field: "\"auth\"".to_owned(),
            place: "auths".to_owned(),
        } =>
            "docker config has \"auth\" twice in auths: tools disagree on which counts, keep one";
    }
}

#[test]
fn each_defect_of_auth_has_its_text() {
    assert_texts! { AuthDefect:
        AuthDefect::NoColon = AuthDefect::NoColon =>
            "contains no colon: encode user name, colon and password together, \
             printf '%s:%s' USER PASSWORD | base64";
        AuthDefect::NotBase64 = AuthDefect::NotBase64 =>
            "is not base64: paste it anew, or give \"username\" and \"password\"";
        AuthDefect::NotUtf8 = AuthDefect::NotUtf8 =>
            "does not encode UTF-8 text: give \"username\" and \"password\" instead";
    }
}

#[test]
fn lists_of_hosts_are_bounded_and_left_out_when_empty() {
    use DockerConfigError as E;

    for (error, message) in [
        (
            E::SeveralEntries(hosts(7)),
            "docker config has several entries under \"auths\" (r0.example, r1.example, \
         r2.example, r3.example, r4.example and 2 more): choose one, or keep only the one of \
         this registry",
        ),
        (
            E::SeveralEntries(hosts(5)),
            "docker config has several entries under \"auths\" (r0.example, r1.example, \
         r2.example, r3.example, r4.example): choose one, or keep only the one of this registry",
        ),
        (
            E::NoEntryFor {
                host: host(),
                others: Vec::new(),
            },
            "docker config has no entry for \"ghcr.io\" under \"auths\": log in to that \
         registry first, or choose another entry",
        ),
        (
            E::Auth(AuthDefect::NoColon),
            "docker config has an \"auth\" that contains no colon: encode user name, colon and \
         password together, printf '%s:%s' USER PASSWORD | base64",
        ),
        (
            E::Auth(AuthDefect::NotUtf8),
            "docker config has an \"auth\" that does not encode UTF-8 text: give \"username\" \
         and \"password\" instead",
        ),
        (
            E::CredHelpers(hosts(1)),
            "docker config names credential helpers (\"credHelpers\") (r0.example): nodes cannot \
         run them, remove \"credHelpers\" and give the one registry's credential under \
         \"auths\"",
        ),
    ] {
        assert_eq!(error.to_string(), message);
    }
}
