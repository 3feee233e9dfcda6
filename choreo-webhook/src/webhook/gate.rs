//! Limits of concurrent requests: in total, per organization and per component.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use choreo_deploy::id::{ComponentId, OrganizationId};

use super::problem::Problem;
use crate::problem::ProblemType;

/// The numbers of concurrent requests that a webhook accepts.
///
/// A component or an organization at its limit gets `429`. At the limit of the whole webhook, every
/// client gets `503`. Both responses have `Retry-After`. The limit of an organization is far below
/// the total, however many components it has, so that one tenant cannot lock out the others. Requests
/// without a live token are not counted. A request counts as [`deploying`](Self::deploying) only after
/// its body has been read, so a slow body takes none of these places.
///
/// ```
/// use choreo_webhook::webhook::{Limits, Share};
///
/// let limits = Limits::default();
/// assert_eq!(limits.reading, Share::new(256, 32, 8));
/// assert_eq!(limits.deploying, Share::new(64, 16, 8));
/// assert_eq!(limits.waiting, Share::new(1024, 128, 32));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// `POST`s whose body is being read. 256, 32 and 8 by default.
    pub reading: Share,
    /// `POST`s from the end of the body to the response. 64, 16 and 8 by default.
    pub deploying: Share,
    /// `GET`s. 1,024, 128 and 32 by default.
    pub waiting: Share,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reading: Share::new(256, 32, 8),
            deploying: Share::new(64, 16, 8),
            waiting: Share::new(1024, 128, 32),
        }
    }
}

/// The maximum numbers of concurrent requests of one kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Share {
    /// The maximum in total.
    pub total: usize,
    /// The maximum of one organization, over all its components.
    pub per_organization: usize,
    /// The maximum of one component.
    pub per_component: usize,
}

impl Share {
    /// Creates a share from the maximum in total, of each organization and of each component.
    ///
    /// ```
    /// use choreo_webhook::webhook::Share;
    ///
    /// let share = Share::new(64, 16, 8);
    /// assert_eq!(share.total, 64);
    /// assert_eq!(share.per_organization, 16);
    /// assert_eq!(share.per_component, 8);
    /// ```
    #[must_use]
    pub const fn new(total: usize, per_organization: usize, per_component: usize) -> Self {
        Self {
            total,
            per_organization,
            per_component,
        }
    }
}

/// Counts the requests inside. An entry at zero is removed, so the map has at most as many entries
/// as there are requests.
#[derive(Debug)]
pub(super) struct Gate {
    share: Share,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    total: usize,
    organizations: HashMap<OrganizationId, Organization>,
}

#[derive(Debug, Default)]
struct Organization {
    total: usize,
    components: HashMap<ComponentId, usize>,
}

impl Gate {
    pub(super) fn new(share: Share) -> Self {
        Self {
            share,
            inside: Mutex::default(),
        }
    }

    /// Takes a place until the pass is dropped.
    pub(super) fn enter(
        self: &Arc<Self>,
        organization: &OrganizationId,
        component: &ComponentId,
    ) -> Result<Pass, Problem> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let of_organization = inside.organizations.get(organization);
        let of_component = of_organization.and_then(|inside| inside.components.get(component));
        if of_component.copied().unwrap_or_default() >= self.share.per_component {
            return Err(too_many("component", self.share.per_component));
        }
        if of_organization.map_or(0, |inside| inside.total) >= self.share.per_organization {
            return Err(too_many("organization", self.share.per_organization));
        }
        if inside.total >= self.share.total {
            return Err(Problem::new(
                ProblemType::Busy,
                "server has reached its limit of concurrent requests: retry",
            ));
        }
        inside.total += 1;
        let of_organization = inside
            .organizations
            .entry(organization.clone())
            .or_default();
        of_organization.total += 1;
        *of_organization
            .components
            .entry(component.clone())
            .or_default() += 1;
        Ok(Pass {
            gate: Arc::clone(self),
            organization: organization.clone(),
            component: component.clone(),
        })
    }
}

fn too_many(whose: &str, limit: usize) -> Problem {
    Problem::new(
        ProblemType::TooManyRequests,
        format!("{whose} has reached its limit of {limit} concurrent requests of this kind: retry"),
    )
}

/// A place behind a gate, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    organization: OrganizationId,
    component: ComponentId,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self
            .gate
            .inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        inside.total -= 1;
        let Some(organization) = inside.organizations.get_mut(&self.organization) else {
            return;
        };
        organization.total -= 1;
        if let Some(count) = organization.components.get_mut(&self.component) {
            *count -= 1;
            if *count == 0 {
                organization.components.remove(&self.component);
            }
        }
        if organization.total == 0 {
            inside.organizations.remove(&self.organization);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids<T: std::str::FromStr<Err: std::fmt::Debug>>() -> [T; 2] {
        ["a", "b"].map(|id| id.parse().unwrap())
    }

    fn status(result: Result<Pass, Problem>) -> u16 {
        result.unwrap_err().into_response().status().as_u16()
    }

    #[test]
    fn component_organization_and_server_have_their_limits() {
        let gate = Arc::new(Gate::new(Share::new(4, 3, 2)));
        let ([acme, other], [a, b]) = (ids(), ids());

        let first = gate.enter(&acme, &a).unwrap();
        let _second = gate.enter(&acme, &a).unwrap();
        assert_eq!(status(gate.enter(&acme, &a)), 429, "the component's");
        let third = gate.enter(&acme, &b).unwrap();
        assert_eq!(status(gate.enter(&acme, &b)), 429, "the organization's");
        let fourth = gate.enter(&other, &a).unwrap();
        assert_eq!(status(gate.enter(&other, &b)), 503, "the server's");
        drop(first);
        assert!(gate.enter(&other, &b).is_ok());
        drop((third, fourth));

        let inside = gate.inside.lock().unwrap();
        assert_eq!(inside.total, 1);
        assert!(
            !inside.organizations.contains_key(&other),
            "an organization at zero is removed"
        );
        assert!(!inside.organizations[&acme].components.contains_key(&b));
    }

    /// Two organizations may each have a component of this id.
    #[test]
    fn components_are_counted_within_their_organization() {
        let gate = Arc::new(Gate::new(Share::new(9, 9, 1)));
        let ([acme, other], [a, _]) = (ids(), ids());
        let _first = gate.enter(&acme, &a).unwrap();
        assert!(gate.enter(&other, &a).is_ok());
        assert_eq!(status(gate.enter(&acme, &a)), 429);
    }

    #[test]
    fn a_limit_of_zero_rejects_every_request() {
        let ([acme, _], [a, _]) = (ids(), ids());
        for share in [
            Share::new(0, 9, 9),
            Share::new(9, 0, 9),
            Share::new(9, 9, 0),
        ] {
            assert!(Arc::new(Gate::new(share)).enter(&acme, &a).is_err());
        }
    }
}
