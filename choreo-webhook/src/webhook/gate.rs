//! How many requests are under way at once, in all and for each component.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use choreo_deploy::id::ComponentId;

use crate::problem::{Problem, ProblemType};

/// How many requests a webhook works on at once.
///
/// A component that has as many under way as it may gets `429`; when the server has, everybody gets
/// `503`, both with `Retry-After`. A component's share is far below the whole, so that one tenant
/// does not lock out the others. Authentication comes first: strangers take no places.
///
/// ```
/// use choreo_webhook::webhook::Limits;
///
/// let limits = Limits::default();
/// assert_eq!((limits.deploying, limits.deploying_each), (64, 8));
/// assert_eq!((limits.waiting, limits.waiting_each), (1024, 32));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// `POST`s in all, from the headers' end to the answer. 64 by default.
    pub deploying: usize,
    /// `POST`s of one component. 8 by default.
    pub deploying_each: usize,
    /// `GET`s in all. 1,024 by default.
    pub waiting: usize,
    /// `GET`s of one component. 32 by default.
    pub waiting_each: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deploying: 64,
            deploying_each: 8,
            waiting: 1024,
            waiting_each: 32,
        }
    }
}

/// Counts who is inside. Entries go when they reach zero, so it holds no more than its limit.
#[derive(Debug)]
pub(super) struct Gate {
    limit: usize,
    each: usize,
    inside: Mutex<HashMap<ComponentId, usize>>,
}

impl Gate {
    pub(super) fn new(limit: usize, each: usize) -> Self {
        Self {
            limit,
            each,
            inside: Mutex::default(),
        }
    }

    /// A place inside until the pass is dropped.
    pub(super) fn enter(self: &Arc<Self>, component: &ComponentId) -> Result<Pass, Problem> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.get(component).copied().unwrap_or_default() >= self.each {
            return Err(Problem::new(
                ProblemType::TooManyRequests,
                format!(
                    "component has {} requests of this kind under way: try again",
                    self.each
                ),
            ));
        }
        if inside.values().sum::<usize>() >= self.limit {
            return Err(Problem::new(
                ProblemType::Busy,
                "server has as many requests under way as it takes on: try again",
            ));
        }
        *inside.entry(component.clone()).or_default() += 1;
        Ok(Pass {
            gate: Arc::clone(self),
            component: component.clone(),
        })
    }
}

/// A place inside.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    component: ComponentId,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self
            .gate
            .inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inside.get_mut(&self.component) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.component);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_has_its_share_and_all_have_the_whole() {
        let gate = Arc::new(Gate::new(3, 2));
        let [a, b]: [ComponentId; 2] = ["a", "b"].map(|id| id.parse().unwrap());
        let status = |result: Result<Pass, Problem>| result.unwrap_err().into_response().status();

        let first = gate.enter(&a).unwrap();
        let _second = gate.enter(&a).unwrap();
        assert_eq!(status(gate.enter(&a)), 429);
        let third = gate.enter(&b).unwrap();
        assert_eq!(status(gate.enter(&b)), 503);
        drop(first);
        let _fourth = gate.enter(&a).unwrap();
        drop(third);
        assert!(gate.enter(&b).is_ok());
        assert!(
            !gate.inside.lock().unwrap().contains_key(&b),
            "who left is forgotten"
        );
    }

    #[test]
    fn a_limit_of_zero_lets_nobody_in() {
        let component: ComponentId = "a".parse().unwrap();
        assert!(Arc::new(Gate::new(0, 9)).enter(&component).is_err());
        assert!(Arc::new(Gate::new(9, 0)).enter(&component).is_err());
    }
}
