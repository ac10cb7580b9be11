//! What is done with an input, and what has to hold of every one. libFuzzer drives this, and so does the test
//! `fuzz` of the program; it fails by panicking.

mod digests;
mod envelopes;
mod policies;
mod records;
mod rules;

/// Does to an input what a target does.
///
/// # Panics
/// When something does not hold that has to, or there is no such target.
pub(crate) fn run(target: &str, input: &[u8]) {
    match target {
        "records" => records::check(input),
        "envelopes" => envelopes::check(input),
        "rules" => rules::check(input),
        "policies" => policies::check(input),
        "digests" => digests::check(input),
        other => panic!("there is no target {other}"),
    }
}
