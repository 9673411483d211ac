//! Where AWS credentials come from: keys of the config or the default chain, and the role that is assumed with them.

use parking_lot::Mutex;
use std::error::Error;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;

use crate::config::{AssumeRole, AwsCredentials, AwsSource, SecretRef};
use crate::credentials::aws::refusal;
use crate::credentials::aws::wire::Http;
use crate::credentials::secrets::{SecretCell, SecretError};

/// Where credentials come from.
#[derive(Debug)]
pub(super) struct Source {
    from: From,
    role: Option<AssumeRole>,
    region: Option<Region>,
    endpoint: Option<String>,
    http: Http,
    /// Kept while it works: some providers keep something themselves. Made again after a failure, which may be mended
    /// in a file that is read only once.
    ready: Mutex<Option<Ready>>,
}

#[derive(Debug)]
enum From {
    Chain { profile: Option<String> },
    Keys(Keys),
}

#[derive(Debug)]
struct Keys {
    access_key_id: String,
    secret_access_key: SecretCell,
    session_token: Option<SecretCell>,
}

#[derive(Clone, Debug)]
struct Ready {
    provider: SharedCredentialsProvider,
    sdk: SdkConfig,
    /// Of the keys.
    version: u64,
}

/// Credentials, and what else the environment and the profile say.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) credentials: Credentials,
    pub(super) sdk: SdkConfig,
    /// Of the keys, when they were read.
    pub(super) version: u64,
}

/// Why there are no credentials, in weir's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) why: Box<str>,
    /// Only a person can help.
    pub(super) reauth: bool,
}

impl Failure {
    pub(super) fn passing(why: impl Into<Box<str>>) -> Self {
        Self {
            why: why.into(),
            reauth: false,
        }
    }
}

impl Source {
    pub(super) fn new(
        config: &AwsCredentials,
        region: Option<&str>,
        endpoint: Option<&url::Url>,
        http: Http,
        open: &dyn Fn(&SecretRef) -> Result<SecretCell, SecretError>,
    ) -> Result<Self, SecretError> {
        let from = match &config.source {
            AwsSource::Chain { profile } => From::Chain {
                profile: profile.clone(),
            },
            AwsSource::Keys {
                access_key_id,
                secret_access_key,
                session_token,
            } => From::Keys(Keys {
                access_key_id: access_key_id.clone(),
                secret_access_key: open(secret_access_key)?,
                session_token: session_token.as_ref().map(open).transpose()?,
            }),
        };
        Ok(Self {
            from,
            role: config.assume_role.clone(),
            region: region.map(|region| Region::new(region.to_owned())),
            // `Url` writes a path where there is none, the SDK adds its own.
            endpoint: endpoint.map(|url| url.as_str().trim_end_matches('/').to_owned()),
            http,
            ready: Mutex::default(),
        })
    }

    /// Grows whenever keys of the config change.
    pub(super) fn version(&self) -> u64 {
        match &self.from {
            From::Chain { .. } => 0,
            From::Keys(keys) => {
                let token = keys.session_token.as_ref();
                keys.secret_access_key.version() + token.map_or(0, SecretCell::version)
            }
        }
    }

    /// The keys were refused: those that are fetched are fetched again.
    pub(super) fn refused(&self, version: u64) {
        self.forget();
        if let From::Keys(keys) = &self.from
            && version == self.version()
        {
            let token = keys.session_token.as_ref();
            for cell in std::iter::once(&keys.secret_access_key).chain(token) {
                cell.refused(cell.version());
            }
        }
    }

    fn forget(&self) {
        *self.ready.lock() = None;
    }

    /// Fetches credentials, from wherever that is. At trace level the SDK would log what it receives, so it has no log.
    pub(super) async fn load(&self) -> Result<Loaded, Failure> {
        let loaded = self.fetch().with_subscriber(Dispatch::none()).await;
        if loaded.is_err() {
            self.forget();
        }
        loaded
    }

    async fn fetch(&self) -> Result<Loaded, Failure> {
        let ready = self.ready().await?;
        let credentials = ready.provider.provide_credentials().await;
        Ok(Loaded {
            credentials: credentials.map_err(|error| self.failure(&error))?,
            sdk: ready.sdk,
            version: ready.version,
        })
    }

    async fn ready(&self) -> Result<Ready, Failure> {
        let version = self.version();
        let kept = self.ready.lock().clone();
        if let Some(ready) = kept.filter(|ready| ready.version == version) {
            return Ok(ready);
        }
        let mut loader =
            aws_config::defaults(BehaviorVersion::latest()).http_client(self.http.shared());
        if let Some(region) = &self.region {
            loader = loader.region(region.clone());
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let sdk = match &self.from {
            From::Chain { profile: None } => loader.load().await,
            From::Chain {
                profile: Some(profile),
            } => {
                let loader = loader.profile_name(profile).no_credentials();
                self.with_profile(profile, loader.load().await)
            }
            From::Keys(keys) => {
                let keys = keys.read().await?;
                loader.credentials_provider(keys).load().await
            }
        };
        let provider = match &self.role {
            None => sdk.credentials_provider(),
            Some(role) => {
                let mut builder = AssumeRoleProvider::builder(&role.arn)
                    .session_name(&role.session_name)
                    .configure(&sdk);
                if let Some(id) = &role.external_id {
                    builder = builder.external_id(id);
                }
                Some(SharedCredentialsProvider::new(builder.build().await))
            }
        };
        let provider = provider.ok_or_else(|| Failure::passing("there are no AWS credentials"))?;
        let ready = Ready {
            provider,
            sdk,
            version,
        };
        *self.ready.lock() = Some(ready.clone());
        Ok(ready)
    }

    /// A profile that the config names: in the chain, keys in the environment would go before it.
    fn with_profile(&self, profile: &str, sdk: SdkConfig) -> SdkConfig {
        let config = ProviderConfig::without_region()
            .with_region(sdk.region().cloned())
            .with_http_client(self.http.shared());
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_name(profile)
            .build();
        let provider = SharedCredentialsProvider::new(provider);
        sdk.into_builder().credentials_provider(provider).build()
    }

    /// Why a provider gave nothing. Of its own words only error types that are known.
    fn failure(&self, error: &CredentialsError) -> Failure {
        let doing = match &self.role {
            Some(role) => format!("the role {} cannot be assumed", role.arn),
            None => "the AWS credentials cannot be had".to_owned(),
        };
        let mut causes = Vec::new();
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        let causes = format!("{} {error:?}", causes.join(" "));
        // The SDK tells this apart by words only.
        if causes.contains("SSO token") || causes.contains("SsoToken") {
            return Failure {
                why: "the AWS SSO session has ended, or was never begun: run `aws sso login`"
                    .into(),
                reauth: true,
            };
        }
        let profile = match &self.from {
            From::Chain { profile } => profile.as_deref(),
            From::Keys(_) => None,
        };
        let why = match (error, refusal::mentioned(&causes)) {
            (_, Some(kind)) => format!("{doing}: AWS says {kind}"),
            (CredentialsError::CredentialsNotLoaded(_), None) if profile.is_some() => format!(
                "{doing}: the AWS config files have no profile `{}`, or it says nothing about credentials",
                profile.unwrap_or_default()
            ),
            (CredentialsError::CredentialsNotLoaded(_), None) => format!(
                "{doing}: nothing in environment, profile, SSO, web identity, container or instance metadata"
            ),
            (CredentialsError::ProviderTimedOut(_), None) => format!("{doing}: no answer in time"),
            (CredentialsError::InvalidConfiguration(_), None) => {
                format!("{doing}: the environment or the profile is not usable")
            }
            (_, None) => doing,
        };
        Failure::passing(why)
    }
}

impl Keys {
    async fn read(&self) -> Result<Credentials, Failure> {
        let read = async |cell: &SecretCell| {
            let secret = cell.get().await;
            secret.map_err(|error| Failure::passing(error.to_string()))
        };
        let secret = read(&self.secret_access_key).await?;
        let token = match &self.session_token {
            Some(cell) => Some(read(cell).await?.expose().to_owned()),
            None => None,
        };
        let (id, secret) = (self.access_key_id.as_str(), secret.expose());
        Ok(Credentials::new(id, secret, token, None, "config"))
    }
}
