//! An object as it is sent to the API server, with the data of a Secret apart from its manifest.
//!
//! Manifests are copied and changed before they are sent. The data of a Secret is not copied: all copies
//! of the manifest share it, and the last owner overwrites it. The body of a request is the only other
//! place that contains it, and is overwritten too. The memory of the HTTP client and of TLS is not
//! under the control of this crate.

use std::sync::Arc;

use serde_json::Value;
use zeroize::Zeroizing;

/// The `.dockerconfigjson` of a Secret in base64.
pub(crate) type SecretData = Arc<Zeroizing<String>>;

/// An object as it is sent to the API server.
#[derive(Clone)]
pub(crate) struct Sent {
    /// The manifest, without the data of a Secret.
    pub(crate) json: Value,
    data: Option<SecretData>,
}

impl Sent {
    pub(crate) fn new(json: Value, data: Option<SecretData>) -> Self {
        Self { json, data }
    }

    /// Replaces the data of a Secret.
    pub(crate) fn with_data(self, data: SecretData) -> Self {
        Self {
            data: Some(data),
            ..self
        }
    }

    /// Returns the data of a Secret.
    pub(crate) fn data(&self) -> Option<&str> {
        self.data.as_ref().map(|data| data.as_str())
    }

    /// Returns the JSON of the object, with its data.
    pub(crate) fn body(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        let manifest = serde_json::to_vec(&self.json)?;
        let (Some(data), Some((b'}', members))) = (self.data(), manifest.split_last()) else {
            return Ok(Zeroizing::new(manifest));
        };
        let parts = [members, OPENING, data.as_bytes(), CLOSING];
        // An exact capacity: a growing buffer would leave copies behind.
        let mut body = Zeroizing::new(Vec::with_capacity(
            parts.iter().map(|part| part.len()).sum(),
        ));
        for part in parts {
            body.extend_from_slice(part);
        }
        Ok(body)
    }
}

const OPENING: &[u8] = br#","data":{".dockerconfigjson":""#;
const CLOSING: &[u8] = br#""}}"#;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_body_contains_the_manifest_and_the_data() {
        let manifest = json!({ "kind": "Secret", "metadata": { "name": "s" } });
        let sent = Sent::new(manifest, None);
        let parsed = |sent: &Sent| serde_json::from_slice::<Value>(&sent.body().unwrap()).unwrap();
        assert_eq!(parsed(&sent), sent.json);
        let sent = sent.with_data(Arc::new(Zeroizing::new("e30=".to_owned())));
        let mut expected = sent.json.clone();
        expected["data"] = json!({ ".dockerconfigjson": "e30=" });
        assert_eq!(parsed(&sent), expected);
        let body = sent.body().unwrap();
        assert_eq!(body.capacity(), body.len(), "the buffer has not grown");
    }
}
