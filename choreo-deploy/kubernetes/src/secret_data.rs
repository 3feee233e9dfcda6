//! The data of the pull secret on the cluster, which is read only to be compared.

use bytes::Bytes;
use choreo_deploy::backend::BackendError;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

use crate::cluster::{Cluster, Live};
use crate::kind::ObjectId;

/// A Secret as the API server returns it. The fields are explicit, because a generic value would
/// leave copies of the data behind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    #[serde(default)]
    api_version: Value,
    #[serde(default)]
    kind: Value,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    r#type: Value,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default, deserialize_with = "wiped", rename = ".dockerconfigjson")]
    docker_config: Zeroizing<String>,
}

impl Cluster<'_> {
    /// Reads a Secret, and its `.dockerconfigjson` in base64.
    pub(crate) async fn get_with_data(
        &self,
        id: &ObjectId,
    ) -> Result<Option<(Live, Zeroizing<String>)>, BackendError> {
        let (body, _) = self.ask(id).await.map_err(|e| self.error(&e))?;
        let Some(body) = body else {
            return Ok(None);
        };
        let whole = serde_json::from_slice::<Whole>(&body);
        wipe(body);
        let whole = whole.map_err(|_| self.unreadable("a Secret"))?;
        let live = Live(json!({
            "apiVersion": whole.api_version,
            "kind": whole.kind,
            "metadata": whole.metadata,
            "type": whole.r#type,
        }));
        let data = whole.data.unwrap_or_default();
        Ok(Some((live, data.docker_config)))
    }
}

fn wiped<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

/// Overwrites a body, unless the HTTP client still shares its buffer.
fn wipe(body: Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        body.as_mut().zeroize();
    }
}
