//! SQL: one transaction per batch.
