//! Digest files of any bytes, and names of any text.

use keyward::integrity::{Digest, DigestName, Inflater, LogName, Sha256, below_logs, list_from};

/// What is kept of an inflated file at most.
const LIMIT: u64 = 1 << 16;

pub(super) fn check(input: &[u8]) {
    match Digest::parse(input) {
        Ok(digest) => {
            assert_eq!(digest.hash, Sha256::of(input));
            assert!(digest.start <= digest.end);
            assert!(digest.logs.iter().all(|log| log.digest_end == digest.end));
            assert!(digest.signed.contains(&digest.hash.to_string()));
        }
        Err(problem) => assert!(!problem.is_empty() && problem.len() < 1_000, "{problem}"),
    }
    let text = &*String::from_utf8_lossy(input);
    text.lines().for_each(check_name);
    assert_eq!(inflate(input, 1), inflate(input, usize::MAX), "a file is the same in any pieces");
}

fn check_name(key: &str) {
    assert!(key.ends_with(below_logs(key)));
    if let Some(name) = DigestName::parse(key) {
        let written = name.key();
        assert_eq!(DigestName::parse(&written), Some(name.clone()), "{written}");
        let from = list_from(&name.root, &name.account, &name.region, name.end);
        assert!(from < written, "{from} is not before {written}");
        assert_eq!(LogName::parse(key), None, "{key} is both");
    }
    if let Some(name) = LogName::parse(key) {
        assert!(key.contains(name.region.as_str()) && key.contains(name.account.as_str()));
    }
}

/// The hash and the length of what a file holds; none if it is broken.
fn inflate(input: &[u8], piece: usize) -> Option<(Sha256, usize)> {
    let mut inflater = Inflater::keeping(LIMIT);
    for piece in input.chunks(piece.min(input.len()).max(1)) {
        inflater.push(piece).ok()?;
    }
    let held = inflater.finish().ok()?;
    assert!(held.content.len() as u64 <= LIMIT && Sha256::of(&held.content) == held.hash);
    Some((held.hash, held.content.len()))
}
