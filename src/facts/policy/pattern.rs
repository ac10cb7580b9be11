//! IAM's wildcards: `*` stands for any run of characters, `?` for any one.

use std::str::Chars;

/// Whether a text matches a pattern; both have to be in the same case where case does not count.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // What follows the last star, and where the text that it may have to give up begins.
    let mut retry: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let mut text_after = text.clone();
        let Some(wanted) = text_after.next() else { return pattern.all(|rest| rest == '*') };
        let mut pattern_after = pattern.clone();
        match pattern_after.next() {
            Some('*') => {
                retry = Some((pattern_after.clone(), text.clone()));
                pattern = pattern_after;
            }
            Some(given) if given == '?' || given == wanted => {
                pattern = pattern_after;
                text = text_after;
            }
            _ => {
                let Some((after_star, start)) = retry.as_mut() else { return false };
                start.next();
                pattern = after_star.clone();
                text = start.clone();
            }
        }
    }
}

/// Whether a text has wildcards in it.
pub(super) fn is_wild(text: &str) -> bool {
    text.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_iam_does() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("kms:*", "kms:Decrypt", true),
            ("kms:Re*Key", "kms:ReplicateKey", true),
            ("kms:Re*Key", "kms:ReplicateKeys", false),
            ("kms:Decryp?", "kms:Decrypt", true),
            ("kms:Decrypt?", "kms:Decrypt", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_ends_soon() {
        assert!(!matches(&"*a".repeat(2_000), &"a".repeat(1_999)));
    }
}
