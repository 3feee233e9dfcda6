//! A search for secrets in everything that the program writes.

use std::path::Path;

use crate::control_plane::site;
use crate::image::Image;

/// Guards that no output of the whole path contains a secret, at the most verbose log level: the
/// registry's password, its encoded form, or the secret part of a deploy token.
#[test]
fn no_secret_is_ever_written() {
    let Some((registry, site)) = site() else {
        return;
    };
    let site = site.logging("trace");
    let image = registry.push("shop/orders", "1", &Image::empty());
    let missing = format!("{}/shop/orders:missing", registry.host());
    let serve = site.serve();

    let token = site.token("orders");
    let secret = token.rsplit('_').next().unwrap().to_owned();
    assert_eq!(
        secret.len(),
        38,
        "a token ends with its secret and the checksum"
    );
    for image in [&image, &missing] {
        serve.follow(&token, &serve.accept(&token, image));
    }
    let mut wrong = token.clone();
    wrong.replace_range(token.len() - 8..token.len() - 6, "00");
    serve.post(&wrong, &[], "{}");
    serve.post(&token, &[], "{\"image\": 7}");
    let _ = serve.get(&token, &format!("/v1/deployments?token={token}"));
    site.run(&["check"]).expect(0);
    site.run(&["registry", "verify", "images", &image])
        .expect(0);
    site.run(&["registry", "verify", "images", &missing])
        .expect(1);
    site.run(&["deploy", "orders", &image]).expect(0);
    site.run(&["deploy", "orders", &missing]).expect(1);
    site.run(&["promote", "orders"]);
    site.run(&["rollback", "orders"]);
    site.run(&["release-hold", "orders"]).expect(0);
    site.run(&["render", "orders", &image]).expect(0);
    site.run(&["snippet", "curl", "orders"]).expect(0);
    site.run(&["token", "list", "orders"]).expect(0);
    for list in [&["deployments"][..], &["status"], &["releases", "orders"]] {
        site.run(list).expect(0);
    }
    site.run(&["runs", "report"]).expect(0);
    site.run(&["registry", "list"]).expect(0);
    serve.terminate().expect(0);

    let half = &secret[..16];
    let secrets = [registry.password(), &registry.encoded(), &secret, half, KEY];
    let found = scan(&site.output(), &secrets);
    let create: Vec<_> = found
        .iter()
        .filter(|(file, _)| is_shown_token(file))
        .collect();
    let others: Vec<_> = found
        .iter()
        .filter(|(file, _)| !is_shown_token(file))
        .collect();
    assert!(others.is_empty(), "secrets were written to {others:?}");
    assert!(
        !create.is_empty(),
        "the token that is shown once was not found: the scan is blind"
    );

    // The control: a secret that was written is found, and there was enough output to search.
    std::fs::write(
        site.output().join("99-planted.stderr"),
        format!("x{}x", registry.password()),
    )
    .unwrap();
    let planted = scan(&site.output(), &secrets);
    assert!(
        planted.iter().any(|(file, _)| file == "99-planted.stderr"),
        "{planted:?}"
    );
    let log = std::fs::read_to_string(site.output().join("0-serve.stderr")).unwrap();
    assert!(
        log.contains("TRACE") && log.len() > 2_000,
        "the log says too little:\n{log}"
    );
}

/// The beginning of the sealing key.
const KEY: &str = "5ea1ed5ea1ed5ea1";

fn is_shown_token(file: &str) -> bool {
    file.ends_with("-token.stdout")
}

/// Returns the files that contain a secret, with the number of the secret.
fn scan(directory: &Path, secrets: &[&str]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the output can be read") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file can be read");
        let text = String::from_utf8_lossy(&bytes);
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let hits = secrets
            .iter()
            .enumerate()
            .filter(|(_, secret)| text.contains(**secret));
        found.extend(hits.map(|(index, _)| (name.clone(), index)));
    }
    found
}
