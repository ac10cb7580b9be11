//! IAM's wildcards: `*` stands for any run of characters, `?` for any one.

/// Whether a text matches a pattern; both have to be in the same case where case does not count.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut from) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(wanted) = text.get(from) {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at, from));
                at += 1;
            }
            Some(given) if *given == '?' || given == wanted => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star, start)) = retry else { return false };
                retry = Some((star, start + 1));
                at = star + 1;
                from = start + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
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
