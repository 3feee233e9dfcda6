//! Image references against the vectors: what distribution/reference makes of each input.

use choreo_registry::ImageReference;
use choreo_registry::reference::TagRef;
use serde_json::Value;

const VECTORS: &str = include_str!("vectors/references.jsonl");

#[test]
fn every_vector_gives_what_distribution_reference_gives() {
    let vectors: Vec<Value> = VECTORS
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(vectors.len(), 150, "vectors are missing");

    for vector in &vectors {
        let input = vector["input"].as_str().unwrap();
        let parsed = input.parse::<ImageReference>();
        assert_eq!(
            parsed.is_ok(),
            vector["ok"].as_bool().unwrap(),
            "{input}: {parsed:?}"
        );
        let Ok(image) = parsed else { continue };

        let field = |name: &str| vector[name].as_str();
        assert_eq!(
            image.domain(),
            field("domain").unwrap_or_default(),
            "domain of {input}"
        );
        assert_eq!(
            Some(image.repository().as_str()),
            field("path"),
            "path of {input}"
        );
        assert_eq!(
            image.tag().map(TagRef::as_str),
            field("tag"),
            "tag of {input}"
        );
        assert_eq!(
            image.digest().map(|d| d.as_str()),
            field("digest"),
            "digest of {input}"
        );
        assert_eq!(
            Some(image.as_str()),
            field("normalized"),
            "normalised {input}"
        );
        assert_eq!(
            Some(image.familiar().as_str()),
            field("familiar"),
            "familiar {input}"
        );
    }
}
