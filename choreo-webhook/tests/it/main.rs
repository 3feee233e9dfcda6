//! Tests the webhook from the view of its clients, and the snippets as CI runs them.

#[cfg(test)]
mod authentication;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod deploying;
#[cfg(test)]
mod following;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod linters;
#[cfg(test)]
mod mounting;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod real_parts;
#[cfg(test)]
#[cfg(feature = "server")]
mod server;
#[cfg(test)]
mod snippets;
#[cfg(test)]
mod support;
