//! Numbers with their nouns.

use std::fmt::Display;

/// So many of something: `1 file`, `2 files`.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
