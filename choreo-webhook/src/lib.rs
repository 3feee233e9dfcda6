//! Deploy tokens, the deploy webhook as a tower service, and CI snippets.
