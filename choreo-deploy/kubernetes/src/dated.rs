//! The current time by the clock that sets the timestamps of objects.
//!
//! The API server's clock sets the times of creation and of changes. With the clock of this
//! process, a skew between the two would end a rollout too early or too late. So the time of a look
//! is the `Date` of the answer
//! (<https://www.rfc-editor.org/rfc/rfc9110.html#name-date>).

use bytes::Bytes;
use choreo_deploy::backend::BackendError;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use kube::api::GetParams;
use kube::client::Body;
use kube::core::{Request, Status};

use crate::cluster::{Cluster, Live};
use crate::error;
use crate::kind::ObjectId;

impl Cluster<'_> {
    /// Reads an object, and the time by the API server's clock; by the local clock if the answer
    /// has none.
    pub(crate) async fn get_dated(
        &self,
        id: &ObjectId,
    ) -> Result<(Option<Live>, Timestamp), BackendError> {
        let (body, date) = match self.ask(id).await {
            Ok(answer) => answer,
            Err(e) => return Err(self.error(&e)),
        };
        let live = body
            .map(|body| serde_json::from_slice(&body))
            .transpose()
            .map_err(|_| self.unreadable("an object"))?;
        Ok((live.map(Live), date.unwrap_or_else(Timestamp::now)))
    }

    /// Returns the body of an object, and the time of the response.
    pub(crate) async fn ask(
        &self,
        id: &ObjectId,
    ) -> Result<(Option<Bytes>, Option<Timestamp>), kube::Error> {
        let request = Request::new(self.api(id.kind).resource_url())
            .get(&id.name, &GetParams::default())
            .map_err(kube::Error::BuildRequest)?;
        let answer = self.client.send(request.map(Body::from)).await?;
        let date = answer.headers().get("date");
        let date = date.and_then(|date| time(date.to_str().ok()?));
        let status = answer.status();
        let body = answer.into_body().collect_bytes().await?;
        if status.is_success() {
            return Ok((Some(body), date));
        }
        let said = serde_json::from_slice::<Status>(&body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&body);
            Status::failure(text.trim(), "no status").with_code(status.as_u16())
        });
        let refused = kube::Error::Api(said.boxed());
        match error::is_not_found(&refused) {
            true => Ok((None, date)),
            false => Err(refused),
        }
    }
}

fn time(date: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(date).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read() {
        let date = time("Fri, 02 Jan 2026 03:04:05 GMT").unwrap();
        assert_eq!(date.to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(time("yesterday"), None);
    }
}
