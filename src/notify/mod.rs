//! What to say and why, the outbox, and SNS.
