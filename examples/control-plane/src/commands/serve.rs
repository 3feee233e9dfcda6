//! `serve`.

use std::time::Duration;

use serde_json::json;

use crate::control_plane::ControlPlane;
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;
use crate::server::Server;

/// The longest time that the server waits for data planes before it listens.
const START: Duration = Duration::from_secs(10);

/// Reports the address, then serves until it is told to stop.
pub(super) async fn serve(
    control_plane: ControlPlane,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let configuration = &control_plane.records.configuration;
    control_plane
        .data_planes
        .connect(configuration, START)
        .await;
    let server = Server::bind(control_plane).await?;
    let address = server.address().map_err(|error| {
        Failure::unavailable("the address of the listener is unknown").caused_by(&error)
    })?;
    let url = format!("http://{address}");
    output.say(
        format_args!("listening on {url}"),
        &json!({ "listening": url }),
    );
    server.run().await;
    Ok(ExitStatus::Ready)
}
