//! Metrics, health, API and pages over HTTP.
