//! SDK clients, built in one place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use super::api::{ASSUME_ROLE, Api};
use super::count::CountRequests;
use super::http::{paced_client, shared_client};
use super::outcome::{Failure, chain, chain_text};
use super::pace::Paces;
use super::readings::{Readings, RequestCounts};
use super::s3::BucketClients;
use crate::config::Accounts;
use crate::model::{AccountId, ReadingResult, Region};

/// The session name of every role that Keyward assumes; by it, it knows its own calls in CloudTrail.
pub const SESSION_NAME: &str = "keyward";

/// The name in the user agent of every request (`app/keyward`).
const APP_NAME: &str = "keyward";

/// What the user agent of every request of Keyward contains; by it, it knows its own calls in CloudTrail.
pub const USER_AGENT_MARK: &str = "app/keyward";

/// The Region for calls that have to be sent somewhere while nobody named a Region.
const FALLBACK_REGION: &str = "us-east-1";

/// The configuration that all clients are built from: the SDK's own chain of credentials, Regions and
/// endpoints (`AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL*`, …), with Keyward's name, time-outs, one
/// pool of connections and one identity cache.
pub async fn sdk_config() -> SdkConfig {
    let config = loader().load().await;
    if config.region().is_some() {
        return config;
    }
    config.into_builder().region(aws_config::Region::from_static(FALLBACK_REGION)).build()
}

/// The same for what calls nothing: no Region is looked for, which may ask the network.
pub async fn sdk_config_for_no_calls() -> SdkConfig {
    loader().region(aws_config::Region::from_static(FALLBACK_REGION)).load().await
}

/// The same for an AWS at an endpoint of its own, with fixed credentials: the sandbox.
pub async fn sdk_config_for(
    endpoint: &str,
    access_key: &str,
    secret_key: &str,
    region: &Region,
) -> SdkConfig {
    let credentials = Credentials::new(access_key, secret_key, None, None, "fixed");
    loader()
        .endpoint_url(endpoint)
        .region(aws_config::Region::new(region.to_string()))
        .credentials_provider(credentials)
        .load()
        .await
}

fn loader() -> ConfigLoader {
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .timeout_config(timeouts())
        .retry_config(RetryConfig::standard())
        .http_client(shared_client())
        .identity_cache(IdentityCache::lazy().build());
    match AppName::new(APP_NAME) {
        Ok(name) => loader.app_name(name),
        Err(_) => loader,
    }
}

/// The SDK sets a connect time-out only; an AWS that accepts a connection and says nothing must not hold
/// a sweep.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(3100))
        .operation_attempt_timeout(Duration::from_secs(20))
        .operation_timeout(Duration::from_mins(1))
        .build()
}

/// Builds clients for accounts and Regions, and keeps them: with a client live its connections, its pace
/// and its budget of retries.
pub(crate) struct Clients {
    base: SdkConfig,
    http: SharedHttpClient,
    role: Option<String>,
    external_id: Option<String>,
    new_paces: fn(u8) -> Paces,
    quota_percent: u8,
    counts: Arc<RequestCounts>,
    own: OnceLock<AccountId>,
    roles: Mutex<BTreeMap<AccountId, SharedCredentialsProvider>>,
    regions: Mutex<BTreeMap<(AccountId, Region), Arc<RegionClients>>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Clients {
    pub(crate) fn new(base: SdkConfig, accounts: &Accounts, quota_percent: u8) -> Self {
        let http = base.http_client().unwrap_or_else(shared_client);
        Self {
            base,
            http,
            role: accounts.role.clone(),
            external_id: accounts.external_id.clone(),
            new_paces: Paces::new,
            quota_percent,
            counts: Arc::default(),
            own: OnceLock::new(),
            roles: Mutex::default(),
            regions: Mutex::default(),
        }
    }

    /// Clients without any pace, for tests on an AWS without quotas.
    #[cfg(test)]
    pub(crate) fn hurry(&mut self) {
        self.new_paces = |_| Paces::unlimited();
    }

    /// The Region of the environment.
    pub(crate) fn base_region(&self) -> Option<Region> {
        self.base.region()?.as_ref().parse().ok()
    }

    pub(crate) fn counts(&self) -> &Arc<RequestCounts> {
        &self.counts
    }

    /// STS with the caller's own credentials.
    pub(crate) fn sts(&self) -> aws_sdk_sts::Client {
        let config = aws_sdk_sts::config::Builder::from(&self.base).interceptor(self.counter());
        aws_sdk_sts::Client::from_conf(config.build())
    }

    /// Organizations with the caller's own credentials. It lives in one Region of each partition.
    pub(crate) fn organizations(&self, partition: &str) -> aws_sdk_organizations::Client {
        let config = aws_sdk_organizations::config::Builder::from(&self.base)
            .region(home_of_global_services(partition))
            .interceptor(self.counter());
        aws_sdk_organizations::Client::from_conf(config.build())
    }

    /// Account management with the credentials of an account. It lives in one Region of each partition.
    pub(crate) fn account(&self, account: &AccountId, partition: &str) -> aws_sdk_account::Client {
        let config = aws_sdk_account::config::Builder::from(&self.base)
            .region(home_of_global_services(partition))
            .retry_partition(retry_partition(account, "account", "global"))
            .interceptor(self.counter());
        let config = match self.role_of(account) {
            Some(credentials) => config.credentials_provider(credentials),
            None => config,
        };
        aws_sdk_account::Client::from_conf(config.build())
    }

    /// Assumes the configured role in an account, which is then used for all its clients. The SDK renews
    /// the session before it ends.
    pub(crate) async fn assume(&self, account: &AccountId, partition: &str) -> Result<(), Failure> {
        let Some(role) = &self.role else {
            let detail = "no role to assume is configured; set `accounts.role`";
            return Err(Failure::unusable(ASSUME_ROLE, detail, Some(403)));
        };
        let provider = match self.role_of(account) {
            Some(provider) => provider,
            None => self.role_provider(&role_arn(partition, account, role)).await,
        };
        let assumed = provider.provide_credentials().await.map_err(|error| refusal_to_assume(&error));
        let result = assumed.as_ref().map_or_else(|failure| failure.result, |_| ReadingResult::Ok);
        self.counts.count(ASSUME_ROLE.service(), ASSUME_ROLE.operation(), result);
        assumed?;
        self.roles.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone(), provider);
        Ok(())
    }

    async fn role_provider(&self, role_arn: &str) -> SharedCredentialsProvider {
        let mut provider =
            AssumeRoleProvider::builder(role_arn).session_name(SESSION_NAME).configure(&self.base);
        if let Some(external_id) = &self.external_id {
            provider = provider.external_id(external_id);
        }
        SharedCredentialsProvider::new(provider.build().await)
    }

    fn role_of(&self, account: &AccountId) -> Option<SharedCredentialsProvider> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner).get(account).cloned()
    }

    /// Says which account the caller's own credentials are for.
    pub(crate) fn set_own(&self, account: &AccountId) {
        self.own.get_or_init(|| account.clone());
    }

    /// The clients for a Region of an account: with the account's role, or with the caller's own credentials
    /// in the caller's own account. In any other account there are none: the caller's credentials would
    /// read the caller's keys there, under another account's name.
    pub(crate) fn region(&self, account: &AccountId, region: &Region) -> Result<Arc<RegionClients>, Failure> {
        if self.own.get() != Some(account) && self.role_of(account).is_none() {
            let detail = "no role has been assumed in this account since Keyward started";
            return Err(Failure::unusable(ASSUME_ROLE, detail, None));
        }
        let place = (account.clone(), region.clone());
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(regions.entry(place).or_insert_with(|| Arc::new(self.build(account, region)))))
    }

    fn build(&self, account: &AccountId, region: &Region) -> RegionClients {
        let paces = Arc::new((self.new_paces)(self.quota_percent));
        let mut base = self
            .base
            .clone()
            .into_builder()
            .region(aws_config::Region::new(region.to_string()))
            .http_client(paced_client(self.http.clone(), Arc::clone(&paces)));
        if let Some(credentials) = self.role_of(account) {
            base = base.credentials_provider(credentials);
        }
        let base = base.build();
        let partition = |service| retry_partition(account, service, region.as_str());
        let kms = aws_sdk_kms::config::Builder::from(&base).retry_partition(partition("kms"));
        let cloudtrail =
            aws_sdk_cloudtrail::config::Builder::from(&base).retry_partition(partition("cloudtrail"));
        let config = aws_sdk_config::config::Builder::from(&base).retry_partition(partition("config"));
        RegionClients {
            account: account.clone(),
            region: region.clone(),
            kms: aws_sdk_kms::Client::from_conf(kms.interceptor(self.counter()).build()),
            cloudtrail: aws_sdk_cloudtrail::Client::from_conf(cloudtrail.interceptor(self.counter()).build()),
            config: aws_sdk_config::Client::from_conf(config.interceptor(self.counter()).build()),
            paces,
        }
    }

    /// The buckets that the credentials of an account reach, be they another account's; each is first asked for in a
    /// Region.
    pub(crate) fn buckets(&self, account: &AccountId, region: &Region) -> Result<BucketClients, Failure> {
        // It is refused where there are no credentials of that account.
        self.region(account, region)?;
        let mut base = self.base.clone().into_builder().region(aws_config::Region::new(region.to_string()));
        if let Some(credentials) = self.role_of(account) {
            base = base.credentials_provider(credentials);
        }
        let retries = retry_partition(account, "s3", region.as_str());
        Ok(BucketClients::new(base.build(), Arc::clone(&self.counts)).with_retries(retries))
    }

    fn counter(&self) -> CountRequests {
        CountRequests::new(Arc::clone(&self.counts))
    }
}

/// The clients of one Region of one account, and their pace.
#[derive(Debug)]
pub(crate) struct RegionClients {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) kms: aws_sdk_kms::Client,
    pub(crate) cloudtrail: aws_sdk_cloudtrail::Client,
    pub(crate) config: aws_sdk_config::Client,
    paces: Arc<Paces>,
}

impl RegionClients {
    /// Makes a call when it is its turn, and records what came of it.
    pub(crate) async fn call<T, E>(
        &self,
        readings: &Readings,
        api: Api,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.paces.turn(api).await;
        let outcome = request.await.map_err(|error| Failure::of(api, &error));
        readings.record(&self.account, Some(&self.region), api, outcome.as_ref().err());
        outcome
    }

    /// Records an answer that could not be used although the call succeeded.
    pub(crate) fn unusable(&self, readings: &Readings, api: Api, detail: &str) -> Failure {
        let failure = Failure::unusable(api, detail, None);
        readings.record(&self.account, Some(&self.region), api, Some(&failure));
        failure
    }
}

/// A budget of retries for each account: the SDK's own is one a service and Region for the whole process,
/// so that one throttled account would take the retries of all others.
fn retry_partition(account: &AccountId, service: &str, region: &str) -> RetryPartition {
    let bucket = TokenBucket::builder().refill_rate(1.0).build();
    RetryPartition::custom(format!("{account}-{service}-{region}")).token_bucket(bucket).build()
}

/// Why a role could not be assumed. The credentials provider wraps the error of its call.
fn refusal_to_assume(error: &CredentialsError) -> Failure {
    match chain(error).find_map(|cause| cause.downcast_ref::<AssumeRoleError>()) {
        Some(refusal) => Failure::from_metadata(ASSUME_ROLE, refusal, None),
        None => Failure::unusable(ASSUME_ROLE, &chain_text(error), None),
    }
}

fn role_arn(partition: &str, account: &AccountId, role: &str) -> String {
    format!("arn:{partition}:iam::{account}:role/{role}")
}

/// Where a partition's Organizations and Account Management answer.
fn home_of_global_services(partition: &str) -> aws_config::Region {
    aws_config::Region::from_static(match partition {
        "aws-cn" => "cn-northwest-1",
        "aws-us-gov" => "us-gov-west-1",
        "aws-eusc" => "eusc-de-east-1",
        "aws-iso" => "us-iso-east-1",
        "aws-iso-b" => "us-isob-east-1",
        "aws-iso-e" => "eu-isoe-west-1",
        "aws-iso-f" => "us-isof-south-1",
        _ => FALLBACK_REGION,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_named_in_its_own_partition_and_may_have_a_path() {
        let account = "111122223333".parse().unwrap();
        let arn = role_arn("aws-cn", &account, "audit/KeywardReader");
        assert_eq!(arn, "arn:aws-cn:iam::111122223333:role/audit/KeywardReader");
    }

    #[tokio::test]
    async fn clients_are_built_once_and_never_with_the_callers_credentials_for_another_account() {
        let region: Region = "eu-central-1".parse().unwrap();
        let base = sdk_config_for("http://127.0.0.1:9", "111122223333", "test", &region).await;
        let clients = Clients::new(base, &Accounts::default(), 50);
        let (own, other) = ("111122223333".parse().unwrap(), "444455556666".parse().unwrap());
        clients.set_own(&own);
        let (one, again) = (clients.region(&own, &region).unwrap(), clients.region(&own, &region).unwrap());
        assert!(Arc::ptr_eq(&one, &again));
        let refusal = clients.region(&other, &region).unwrap_err();
        assert_eq!(refusal.api, "sts:AssumeRole");
    }

    #[tokio::test]
    async fn without_a_role_no_other_account_can_be_read_and_the_remedy_is_named() {
        let region: Region = "eu-central-1".parse().unwrap();
        let base = sdk_config_for("http://127.0.0.1:9", "111122223333", "test", &region).await;
        let clients = Clients::new(base, &Accounts::default(), 50);
        let failure = clients.assume(&"444455556666".parse().unwrap(), "aws").await.unwrap_err();
        assert!(failure.detail.contains("accounts.role"), "{}", failure.detail);
    }
}
