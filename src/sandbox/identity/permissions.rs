//! What a user or a role may do.

/// Action patterns with `*` and `?`, in any letter case, such as `kms:Get*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// What is allowed.
    pub allow: Vec<String>,
    /// What is denied, whatever is allowed.
    pub deny: Vec<String>,
}

impl Default for Permissions {
    /// Everything is allowed.
    fn default() -> Self {
        Self { allow: vec!["*".to_owned()], deny: Vec::new() }
    }
}

/// What permissions say about an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is allowed.
    Allowed,
    /// Nothing allows it; a resource's own policy may.
    NotAllowed,
    /// It is denied for good.
    Denied,
}

impl Permissions {
    /// Only these actions.
    pub fn only(actions: &[&str]) -> Self {
        Self { allow: actions.iter().map(|&action| action.to_owned()).collect(), deny: Vec::new() }
    }

    /// Everything but these actions.
    pub fn all_but(actions: &[&str]) -> Self {
        Self { deny: actions.iter().map(|&action| action.to_owned()).collect(), ..Self::default() }
    }

    /// What they say about an action, such as `kms:GetKeyPolicy`.
    pub fn decide(&self, action: &str) -> Decision {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, action));
        if any(&self.deny) {
            Decision::Denied
        } else if any(&self.allow) {
            Decision::Allowed
        } else {
            Decision::NotAllowed
        }
    }
}

/// Whether an IAM action pattern matches an action.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    glob(pattern.as_bytes(), action.as_bytes())
}

/// `*` stands for any bytes, `?` for one. Only the last `*` is ever tried again, so that no pattern explodes.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest_of_pattern, mut rest_of_text) = (pattern, text);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (rest_of_pattern, rest_of_text) {
            ([b'*', after @ ..], _) => {
                retry = Some((after, rest_of_text));
                rest_of_pattern = after;
                continue;
            }
            ([], []) => return true,
            ([wanted, after @ ..], [byte, rest @ ..]) if *wanted == b'?' || wanted == byte => {
                (rest_of_pattern, rest_of_text) = (after, rest);
                continue;
            }
            _ => {}
        }
        let Some((after_star, [_, further @ ..])) = retry else { return false };
        retry = Some((after_star, further));
        (rest_of_pattern, rest_of_text) = (after_star, further);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_iam_has_them() {
        for (pattern, action, expected) in [
            ("*", "kms:Decrypt", true),
            ("kms:*", "kms:Decrypt", true),
            ("KMS:decrypt", "kms:Decrypt", true),
            ("kms:Get*Policy", "kms:GetKeyPolicy", true),
            ("kms:Get*Policy", "kms:GetKeyPolicyX", false),
            ("kms:*Key*Policy*", "kms:GetKeyPolicy", true),
            ("kms:Decryp?", "kms:Decrypt", true),
            ("kms:Decrypt?", "kms:Decrypt", false),
            ("kms:*", "cloudtrail:LookupEvents", false),
            ("", "kms:Decrypt", false),
        ] {
            assert_eq!(matches(pattern, action), expected, "{pattern} on {action}");
        }
    }

    #[test]
    fn a_denial_outweighs_and_silence_is_not_one() {
        let permissions =
            Permissions { allow: vec!["kms:*".to_owned()], deny: vec!["kms:GetKeyPolicy".to_owned()] };
        assert_eq!(permissions.decide("kms:ListKeys"), Decision::Allowed);
        assert_eq!(permissions.decide("kms:GetKeyPolicy"), Decision::Denied);
        assert_eq!(permissions.decide("sns:Publish"), Decision::NotAllowed);
    }

    proptest::proptest! {
        #[test]
        fn patterns_match_as_the_same_regular_expressions_do(
            pattern in "[ab*?]{0,8}", text in "[ab]{0,10}",
        ) {
            let expression = format!("^{}$", pattern.replace('*', ".*").replace('?', "."));
            let expected = regex::Regex::new(&expression).unwrap().is_match(&text);
            proptest::prop_assert_eq!(matches(&pattern, &text), expected, "{} on {}", pattern, text);
        }
    }
}
