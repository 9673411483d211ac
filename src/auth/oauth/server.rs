//! Which authorization server an upstream belongs to: from its 401 (RFC 9728), or from the config.
//!
//! rmcp's `transport::auth` reads the challenge, finds the metadata of resource and server, and writes the authorization
//! request with PKCE. Everything that it sends goes through [`Door`], which refuses what weir does not
//! go to. What it does with codes and tokens is not used: it logs them.

use std::sync::Arc;

use http::header;
use oauth2::HttpResponse;
use rmcp::transport::auth::{
    AuthError, AuthorizationManager, AuthorizationMetadata, AuthorizationMetadataSource,
    InMemoryStateStore, OAuthClientConfig, OAuthHttpClient, OAuthHttpClientFuture,
    OAuthHttpRequest, StateStore as _,
};
use url::Url;

use crate::auth::oauth::callback::Expected;
use crate::auth::oauth::http::{Http, HttpError};
use crate::auth::oauth::login::LoginError;
use crate::auth::reach::Reach;
use crate::config::AuthorizationCode;
use crate::secret::Secret;

