//! The check that a data plane can run an image, as far as the documents of the image contain it.

use choreo_registry::image::{Platform, ResolvedImage};

use super::halt::Halt;
use crate::catalog::Plan;
use crate::reason::{Reason, ReasonCode};
use crate::store::ClaimedDeployment;
use crate::target::DataPlane;
use crate::workload::Workload;

/// Rejects an image that the data plane can pull but not run.
pub(super) fn check_fit(
    plan: &Plan,
    claimed: &ClaimedDeployment,
    image: &ResolvedImage,
) -> Result<(), Halt> {
    let mut planes = plan.stages.iter().map(|stage| &stage.data_plane);
    let plane = planes.find(|plane| plane.id == claimed.deployment.data_plane);
    let misfit = plane.and_then(|plane| {
        let workload = claimed.workload.as_ref();
        other_platform(plane, image).or_else(|| forbidden_user(plane, image, workload))
    });
    misfit.map_or(Ok(()), |reason| Err(Halt::Failed(reason)))
}

fn other_platform(plane: &DataPlane, image: &ResolvedImage) -> Option<Reason> {
    let runs = |platform: &Platform| image.runs_on(platform);
    if plane.platforms.is_empty() || plane.platforms.iter().any(runs) {
        return None;
    }
    let message = format!(
        "the image is built for {} but data plane {} runs {}",
        list(image.platforms()),
        plane.id,
        list(&plane.platforms)
    );
    let help = "build and push the image for that platform as well";
    Some(Reason::new(ReasonCode::ImagePlatformMismatch, message).with_help(help))
}

/// Returns a reason if the data plane forbids the user of the image.
fn forbidden_user(
    plane: &DataPlane,
    image: &ResolvedImage,
    workload: Option<&Workload>,
) -> Option<Reason> {
    let is_given = workload.is_some_and(|workload| workload.container().run_as.is_some());
    // Without the configuration of the image, its user is unknown.
    let user = image.user().filter(|_| plane.forbids_root && !is_given)?;
    let plane = &plane.id;
    let message = match image.runs_as_root() {
        Some(false) => return None,
        Some(true) => format!("the image runs as root, which data plane {plane} forbids"),
        None => {
            let user: String = user.chars().take(64).collect();
            format!(
                "the image runs as user {user:?}, and data plane {plane} cannot verify that it is not root"
            )
        }
    };
    let help = "give the image a numeric USER other than 0, such as 10001, or set the user in the \
                workload";
    Some(Reason::new(ReasonCode::RunAsRoot, message).with_help(help))
}

fn list(platforms: &[Platform]) -> String {
    let names: Vec<&str> = platforms.iter().map(Platform::as_str).collect();
    names.join(", ")
}
