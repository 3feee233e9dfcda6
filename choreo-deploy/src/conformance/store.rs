mod accept;
mod claims;
mod read;
mod registries;
mod runs;
mod steps;
mod tenants;
mod tokens;
mod work;

/// The clauses for stores, one for each sentence of the contracts.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreClause {}
