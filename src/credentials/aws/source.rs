//! Where AWS credentials come from: static keys of the config or the default credential provider
//! chain, and the role that is assumed with them (AWS SDKs and Tools reference guide, "Standardized
//! credential providers").

use parking_lot::Mutex;
use std::error::Error;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;

use crate::config::{AssumeRole, AwsCredentials, AwsSource};
use crate::credentials::aws::http::AwsHttpClient;
use crate::credentials::aws::rejection;
use crate::credentials::secrets::{OpenSecret, SecretCell, SecretUnavailable};

/// Loads AWS credentials in the way that the config describes.
#[derive(Debug)]
pub(super) struct CredentialsSource {
    base: BaseCredentials,
    role: Option<AssumeRole>,
    region: Option<Region>,
    endpoint: Option<String>,
    http: AwsHttpClient,
    /// Kept while it works, because some providers cache credentials themselves. Created again
    /// after a failure: the reason may have been corrected in a file that a provider reads only
    /// once.
    provider: Mutex<Option<CachedProvider>>,
}

/// The credentials without the role.
#[derive(Debug)]
enum BaseCredentials {
    DefaultChain { profile: Option<String> },
    Static(StaticKeys),
}

#[derive(Debug)]
struct StaticKeys {
    access_key_id: String,
    secret_access_key: SecretCell,
    session_token: Option<SecretCell>,
}

#[derive(Clone, Debug)]
struct CachedProvider {
    provider: SharedCredentialsProvider,
    sdk: SdkConfig,
    /// The version of the static keys.
    version: u64,
}

/// Credentials, with the other settings of the environment and the profile.
#[derive(Debug)]
pub(super) struct LoadedCredentials {
    pub(super) credentials: Credentials,
    pub(super) sdk: SdkConfig,
    /// The version of the static keys that they were loaded from.
    pub(super) version: u64,
}

/// The reason why there are no credentials, in weir's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoadFailure {
    pub(super) reason: Box<str>,
    /// Whether a person has to log in.
    pub(super) login_needed: bool,
}

impl LoadFailure {
    pub(super) fn new(reason: impl Into<Box<str>>) -> Self {
        Self {
            reason: reason.into(),
            login_needed: false,
        }
    }
}

impl CredentialsSource {
    pub(super) fn new(
        config: &AwsCredentials,
        region: Option<&str>,
        endpoint: Option<&url::Url>,
        http: AwsHttpClient,
        open: &OpenSecret<'_>,
    ) -> Result<Self, SecretUnavailable> {
        let base = match &config.source {
            AwsSource::Chain { profile } => BaseCredentials::DefaultChain {
                profile: profile.clone(),
            },
            AwsSource::Keys {
                access_key_id,
                secret_access_key,
                session_token,
            } => BaseCredentials::Static(StaticKeys {
                access_key_id: access_key_id.clone(),
                secret_access_key: open(secret_access_key)?,
                session_token: session_token.as_ref().map(open).transpose()?,
            }),
        };
        Ok(Self {
            base,
            role: config.assume_role.clone(),
            region: region.map(|region| Region::new(region.to_owned())),
            // `Url` adds a path if there is none, and the SDK appends its own.
            endpoint: endpoint.map(|url| url.as_str().trim_end_matches('/').to_owned()),
            http,
            provider: Mutex::default(),
        })
    }

    /// Returns a number that grows whenever static keys change.
    pub(super) fn version(&self) -> u64 {
        match &self.base {
            BaseCredentials::DefaultChain { .. } => 0,
            BaseCredentials::Static(keys) => {
                let token = keys.session_token.as_ref();
                keys.secret_access_key.version() + token.map_or(0, SecretCell::version)
            }
        }
    }

    /// Has static keys read or fetched again because AWS rejected those of this version.
    pub(super) fn renew_keys(&self, rejected: u64) {
        self.forget_provider();
        if let BaseCredentials::Static(keys) = &self.base
            && rejected == self.version()
        {
            let token = keys.session_token.as_ref();
            for cell in std::iter::once(&keys.secret_access_key).chain(token) {
                cell.renew_in_background(cell.version());
            }
        }
    }

    fn forget_provider(&self) {
        *self.provider.lock() = None;
    }

    /// Loads credentials. Nothing that the SDK does meanwhile is logged: at trace level it logs
    /// what it receives.
    pub(super) async fn load(&self) -> Result<LoadedCredentials, LoadFailure> {
        let loaded = self.provide().with_subscriber(Dispatch::none()).await;
        if loaded.is_err() {
            self.forget_provider();
        }
        loaded
    }

    async fn provide(&self) -> Result<LoadedCredentials, LoadFailure> {
        let cached = self.provider().await?;
        let credentials = cached.provider.provide_credentials().await;
        Ok(LoadedCredentials {
            credentials: credentials.map_err(|error| self.explain(&error))?,
            sdk: cached.sdk,
            version: cached.version,
        })
    }

    /// Returns the cached provider, or creates one.
    async fn provider(&self) -> Result<CachedProvider, LoadFailure> {
        let version = self.version();
        let cached = self.provider.lock().clone();
        if let Some(cached) = cached.filter(|cached| cached.version == version) {
            return Ok(cached);
        }
        let loader = self.loader();
        let sdk = match &self.base {
            BaseCredentials::DefaultChain { profile: None } => loader.load().await,
            BaseCredentials::DefaultChain {
                profile: Some(profile),
            } => {
                let loader = loader.profile_name(profile).no_credentials();
                self.set_profile_provider(profile, loader.load().await)
            }
            BaseCredentials::Static(keys) => {
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
        let provider = provider.ok_or_else(|| LoadFailure::new("there are no AWS credentials"))?;
        let cached = CachedProvider {
            provider,
            sdk,
            version,
        };
        *self.provider.lock() = Some(cached.clone());
        Ok(cached)
    }

    fn loader(&self) -> ConfigLoader {
        let version = BehaviorVersion::latest();
        let mut loader = aws_config::defaults(version).http_client(self.http.to_sdk_client());
        if let Some(region) = &self.region {
            loader = loader.region(region.clone());
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        loader
    }

    /// Sets the provider of the profile that the config names. The default chain would prefer keys
    /// in the environment.
    fn set_profile_provider(&self, profile: &str, sdk: SdkConfig) -> SdkConfig {
        let config = ProviderConfig::without_region()
            .with_region(sdk.region().cloned())
            .with_http_client(self.http.to_sdk_client());
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_name(profile)
            .build();
        let provider = SharedCredentialsProvider::new(provider);
        sdk.into_builder().credentials_provider(provider).build()
    }

    /// Explains why a provider gave nothing. Of the provider's own text, only error types that weir
    /// knows are used.
    fn explain(&self, error: &CredentialsError) -> LoadFailure {
        let failed = match &self.role {
            Some(role) => format!("cannot assume the role {}", role.arn),
            None => "cannot get AWS credentials".to_owned(),
        };
        let mut causes = Vec::new();
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        let causes = format!("{} {error:?}", causes.join(" "));
        // Only the text of the SDK tells this case apart.
        if causes.contains("SSO token") || causes.contains("SsoToken") {
            return LoadFailure {
                reason: "there is no AWS SSO session, or it has expired: run `aws sso login`"
                    .into(),
                login_needed: true,
            };
        }
        let profile = match &self.base {
            BaseCredentials::DefaultChain { profile } => profile.as_deref(),
            BaseCredentials::Static(_) => None,
        };
        let reason = match (error, rejection::find_error_type(&causes)) {
            (_, Some(kind)) => format!("{failed}: AWS answers {kind}"),
            (CredentialsError::CredentialsNotLoaded(_), None) if profile.is_some() => format!(
                "{failed}: the AWS config files have no profile `{}`, or it has no credentials",
                profile.unwrap_or_default()
            ),
            (CredentialsError::CredentialsNotLoaded(_), None) => format!(
                "{failed}: found none in environment, profile, SSO, web identity, container and instance metadata"
            ),
            (CredentialsError::ProviderTimedOut(_), None) => {
                format!("{failed}: no answer in time")
            }
            (CredentialsError::InvalidConfiguration(_), None) => {
                format!("{failed}: the environment or the profile has a mistake")
            }
            (_, None) => failed,
        };
        LoadFailure::new(reason)
    }
}

impl StaticKeys {
    async fn read(&self) -> Result<Credentials, LoadFailure> {
        let read = async |cell: &SecretCell| {
            let secret = cell.get().await;
            secret.map_err(|error| LoadFailure::new(error.to_string()))
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
