//! Which parts of a bench are asked for, by its arguments.

/// The parts that are named; all where none is.
pub(crate) struct Parts(Vec<String>);

impl Parts {
    /// None for `cargo test --benches`, which only wants to know whether the bench starts.
    pub(crate) fn asked_for() -> Option<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let is_bench = arguments.iter().any(|argument| argument == "--bench");
        is_bench.then(|| Self(arguments.into_iter().filter(|argument| !argument.starts_with("--")).collect()))
    }

    pub(crate) fn has(&self, part: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|named| named == part)
    }
}
