/// x
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreClause {}
