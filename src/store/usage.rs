//! The usage ledger: who used which key, from where, how often, and what came of it.

mod read;
mod write;

pub use read::{Heard, KeyUsage, LastUse};
pub use write::LINES_A_KEY;
pub(super) use write::{write, write_unattributed};

use crate::model::KeyArn;

const WHAT: &str = "the usage ledger";

/// A key as the ledger keeps it: its set, and the Region of the member.
fn set_and_region(key: &str) -> (String, String) {
    match key.parse::<KeyArn>() {
        Ok(arn) => (arn.key_set().as_str().to_owned(), arn.region.as_str().to_owned()),
        // The ledger is given ARNs; what is none is kept as it is rather than lost.
        Err(_) => (key.to_owned(), String::new()),
    }
}

/// The ARN of the member of a set in a Region.
fn member(key_set: &str, region: &str) -> String {
    key_set.replacen(":*:", &format!(":{region}:"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_again_by_its_set_and_region() {
        for key in [
            "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
            "no ARN",
        ] {
            let (key_set, region) = set_and_region(key);
            assert_eq!(member(&key_set, &region), key);
        }
    }
}
