//! Verdicts and what was open before become what changes.
