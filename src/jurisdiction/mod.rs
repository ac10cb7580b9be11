//! Region → country → memberships at a date; boundaries; which boundary a key set has to stay in.
