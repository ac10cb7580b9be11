//! Asking for something of a bucket in the Region that it is in, which S3 tells who asks elsewhere.

use aws_sdk_s3::Client;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::BucketClients;

/// The header in which S3 tells where a bucket is, even as it refuses.
const BUCKET_REGION: &str = "x-amz-bucket-region";

/// Asks for something of a bucket, in the Region that it was `told` to be in if nothing else is known, and once more
/// where S3 says that it is elsewhere.
pub(crate) async fn where_it_is<
    T,
    E: ProvideErrorMetadata,
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
>(
    aws: &BucketClients,
    bucket: &str,
    told: Option<&str>,
    ask: impl Fn(Client) -> F,
) -> Result<T, SdkError<E, HttpResponse>> {
    let client = aws.client(bucket, told);
    let asked_in = client.config().region().cloned();
    let answer = ask(client.clone()).await;
    let Some(error) = answer.as_ref().err().filter(|error| is_elsewhere(error)) else { return answer };
    let region = match told_region(error) {
        Some(region) => Some(region),
        // Not each of these answers has it.
        None => match client.head_bucket().bucket(bucket).send().await {
            Ok(head) => head.bucket_region().map(str::to_owned),
            Err(error) => told_region(&error),
        },
    };
    // Others may have been told the same meanwhile, so that it is compared with what was asked.
    match region.filter(|region| asked_in.is_none_or(|asked| asked.as_ref() != region)) {
        Some(region) if aws.moved(bucket, &region) => ask(aws.client(bucket, told)).await,
        _ => answer,
    }
}

/// The Region that an answer says a bucket is in.
fn told_region<E>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    error.raw_response()?.headers().get(BUCKET_REGION).map(str::to_owned)
}

/// Whether S3 says that a bucket is in another Region than the one asked: by a redirection, or by refusing a signature
/// for that Region, as the AWS CLI has it too.
fn is_elsewhere<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    matches!(status, 301 | 302 | 307)
        || (status == 400 && told_region(error).is_some())
        || matches!(code, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::collect::sdk_config_for;

    /// Answers requests one after the other, and tells of each its method and the Region that it is signed for.
    async fn answering(answers: Vec<&'static str>) -> (BucketClients, JoinHandle<Vec<(String, String)>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 8192];
                let length = connection.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let region = request.split("/s3/aws4_request").next().unwrap().rsplit('/').next().unwrap();
                asked.push((request.split(' ').next().unwrap().to_owned(), region.to_owned()));
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        let sdk = sdk_config_for(&endpoint, "key", "secret", &"eu-central-1".parse().unwrap()).await;
        (BucketClients::new(sdk, Arc::default()), asked)
    }

    async fn get(aws: &BucketClients) -> bool {
        let ask = |s3: Client| s3.get_object().bucket("logs").key("a").send();
        where_it_is(aws, "logs", None, ask).await.is_ok()
    }

    const FOUND: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const MOVED: &str =
        "HTTP/1.1 301 Moved Permanently\r\nConnection: close\r\nx-amz-bucket-region: eu-west-1\r\n\r\n";
    const MALFORMED: &str = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'eu-central-1' is wrong; expecting 'eu-west-1'</Message><Region>eu-west-1</Region></Error>";
    const BAD_HEAD: &str = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nx-amz-bucket-region: eu-west-1\r\nContent-Length: 0\r\n\r\n";
    const NO_SUCH_KEY: &str = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nx-amz-bucket-region: eu-west-1\r\n\r\n<Error><Code>NoSuchKey</Code></Error>";
    const ELSEWHERE_AGAIN: &str =
        "HTTP/1.1 301 Moved Permanently\r\nConnection: close\r\nx-amz-bucket-region: eu-central-1\r\n\r\n";
    const NO_REGION: &str =
        "HTTP/1.1 301 Moved Permanently\r\nConnection: close\r\nx-amz-bucket-region: evil.example\r\n\r\n";

    #[tokio::test]
    async fn a_bucket_is_asked_in_the_region_that_it_is_told_to_be_in() {
        let (here, there) = ("eu-central-1", "eu-west-1");
        for (answers, expected, is_found) in [
            (vec![MOVED, FOUND], vec![("GET", here), ("GET", there)], true),
            (vec![MALFORMED, BAD_HEAD, FOUND], vec![("GET", here), ("HEAD", here), ("GET", there)], true),
            (vec![MALFORMED, NO_SUCH_KEY, FOUND], vec![("GET", here), ("HEAD", here), ("GET", there)], true),
            (vec![NO_SUCH_KEY], vec![("GET", here)], false),
            (vec![ELSEWHERE_AGAIN], vec![("GET", here)], false),
            (vec![NO_REGION], vec![("GET", here)], false),
        ] {
            let (aws, asked) = answering(answers.clone()).await;
            assert_eq!(get(&aws).await, is_found, "{answers:?}");
            let asked = asked.await.unwrap();
            let asked: Vec<(&str, &str)> =
                asked.iter().map(|(method, region)| (method.as_str(), region.as_str())).collect();
            assert_eq!(asked, expected, "{answers:?}");
        }
    }

    #[tokio::test]
    async fn where_a_bucket_is_stays_known() {
        let (aws, asked) = answering(vec![MOVED, FOUND, FOUND]).await;
        assert!(get(&aws).await && get(&aws).await);
        assert_eq!(asked.await.unwrap()[2], ("GET".to_owned(), "eu-west-1".to_owned()));
    }
}
