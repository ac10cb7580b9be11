//! What the URL of an SQS queue tells: its account, its name and, on AWS, its Region.

use url::Url;

use crate::model::{AccountId, Region};

/// The parts of a queue's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueUrl {
    /// The account that the queue is in.
    pub account: AccountId,
    /// The queue's name.
    pub name: String,
    /// Its Region, if the host tells.
    pub region: Option<Region>,
}

impl QueueUrl {
    /// Reads the URL as `GetQueueUrl` gives it, of a VPC endpoint, or of an endpoint of one's own.
    ///
    /// # Errors
    /// With what is wrong, and the remedy.
    pub fn parse(text: &str) -> Result<Self, String> {
        const REMEDY: &str =
            "one looks like `https://sqs.eu-central-1.amazonaws.com/111122223333/keyward-events`";
        let wrong = |why: &str| format!("`{text}` is not the URL of an SQS queue; {why}");
        if text.starts_with("arn:") {
            return Err(wrong(&format!("this is an ARN; {REMEDY}")));
        }
        let url = Url::parse(text).map_err(|_| wrong(REMEDY))?;
        let path: Vec<&str> = url.path_segments().into_iter().flatten().collect();
        let (Some(host), "http" | "https", [account, name]) = (url.host_str(), url.scheme(), path.as_slice())
        else {
            return Err(wrong(REMEDY));
        };
        let account = account.parse::<AccountId>().map_err(|error| wrong(&error.to_string()))?;
        let bare = name.strip_suffix(".fifo").unwrap_or(name);
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if bare.is_empty() || bare.len() > 80 || !bare.chars().all(allowed) {
            return Err(wrong(&format!("its name is not one; {REMEDY}")));
        }
        Ok(Self { account, name: (*name).to_owned(), region: region_of(host) })
    }
}

/// `sqs.REGION.…`, a VPC endpoint's `vpce-….sqs.REGION.vpce.…`, or the older `REGION.queue.…`.
fn region_of(host: &str) -> Option<Region> {
    let labels: Vec<&str> = host.split('.').collect();
    let after = |service: &str| {
        let at = labels.iter().position(|label| *label == service)?;
        labels.get(at + 1)?.parse::<Region>().ok()
    };
    let older = || match labels.as_slice() {
        [region, "queue", ..] => region.parse::<Region>().ok(),
        _ => None,
    };
    after("sqs").or_else(|| after("sqs-fips")).or_else(older)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_host_tells_the_region_or_nothing() {
        for (url, region) in [
            ("https://sqs.eu-central-1.amazonaws.com/111122223333/q", Some("eu-central-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/111122223333/q.fifo", Some("cn-north-1")),
            ("https://eu-west-1.queue.amazonaws.com/111122223333/q", Some("eu-west-1")),
            ("https://vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com/111122223333/q", Some("eu-west-1")),
            ("http://127.0.0.1:4566/111122223333/q", None),
        ] {
            let parsed = QueueUrl::parse(url).unwrap();
            assert_eq!(parsed.region.as_ref().map(Region::as_str), region, "{url}");
            assert_eq!(parsed.account.as_str(), "111122223333");
        }
        for url in [
            "",
            "q",
            "ftp://sqs.eu-west-1.amazonaws.com/111122223333/q",
            "https://x/111122223333/q/r",
            "https://x/1/q",
        ] {
            assert!(QueueUrl::parse(url).is_err(), "{url}");
        }
    }
}
