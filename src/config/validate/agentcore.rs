//! Amazon Bedrock AgentCore: where gateways and runtimes are.

use url::Url;

use super::aws::{SERVICE, check_region, is_account, is_partition, parse_aws_host};
use super::check::Check;
use super::target::{HttpTarget, check_upstream_url};
use super::values::{expand, expand_optional};
use crate::config::rules::Rule;
use crate::config::secrets::is_region;
use crate::config::{Connector, Gateway, ProblemKind, Search, raw};
use crate::document::path::KeyPath;

/// The domain of a region's partition.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

/// `([0-9a-z][-]?){1,100}-[0-9a-z]{10}`, as the API's model has it.
pub(super) fn is_gateway(id: &str) -> bool {
    let legal = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    };
    id.rsplit_once('-').is_some_and(|(name, end)| {
        end.len() == 10 && legal(end) && name.len() <= 200 && name.split('-').all(legal)
    })
}

/// An AgentCore Gateway: by `id` and `region`, or by `url`.
pub(super) fn check_gateway(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    url_written: Option<&str>,
    at: &KeyPath,
) -> Option<HttpTarget> {
    let usual = raw::Gateway::default();
    let written = raw.gateway.as_ref().unwrap_or(&usual);
    let inner = at.key("gateway");
    let id = expand_optional(check, written.id.as_ref(), &inner.key("id"));
    if id.as_deref().is_some_and(|id| !is_gateway(id)) {
        check.report(&inner.key("id"), Rule::GatewayId);
    }
    let region = check_region(check, written.region.as_ref(), &inner.key("region"));
    let (url, id, region) = match url_written {
        Some(text) => {
            let found = check_upstream_url(check, text, raw, &at.key("url"))?;
            if written.endpoint.is_some() {
                let (key, other) = ("endpoint", "url");
                check.report(&inner.key(key), Rule::NotWith { key, other });
            }
            let named = parse_aws_host(&found);
            let id = check_agreement(check, id, named.gateway, &inner.key("id"));
            let region = check_agreement(check, region, named.region, &inner.key("region"));
            (found, id, region)
        }
        None => {
            let missing = [("id", id.is_none()), ("region", region.is_none())];
            for (key, missing) in missing {
                if missing && !check.source.is_excused(&inner, key) {
                    check.report(&inner, ProblemKind::MissingKey { key });
                }
            }
            let (id, region) = (id?, region?);
            let base = choose_base(check, written.endpoint.as_ref(), raw, &inner, || {
                format!("{id}.gateway.{SERVICE}.{region}.{}", domain(&region))
            })?;
            let made = Url::parse(&format!("{base}/mcp")).ok()?;
            (made, Some(id), Some(region))
        }
    };
    let synchronize = written.synchronize == Some(true);
    if synchronize && (id.is_none() || region.is_none()) {
        let (key, other) = ("synchronize", "id` and `region");
        check.report(&inner.key(key), Rule::Needs { key, other });
    }
    let gateway = Gateway {
        id,
        region: region.clone(),
        search: match written.search {
            Some(raw::Search::Keep) => Search::Keep,
            Some(raw::Search::Hide) => Search::Hide,
            Some(raw::Search::Namespaced) | None => Search::Namespaced,
        },
        synchronize,
    };
    Some(HttpTarget {
        connector: Connector::AgentcoreGateway,
        url,
        gateway: Some(gateway),
        region,
    })
}

/// Returns what is written, and reports it if the URL says something else.
fn check_agreement(
    check: &mut Check<'_>,
    written: Option<String>,
    named: Option<String>,
    at: &KeyPath,
) -> Option<String> {
    if let (Some(written), Some(named)) = (&written, &named)
        && written != named
    {
        check.report(at, Rule::OtherThanUrl(named.clone()));
    }
    written.or(named)
}

/// `endpoint` without a slash at its end, or where AWS puts the service.
fn choose_base(
    check: &mut Check<'_>,
    endpoint: Option<&String>,
    raw: &raw::Upstream,
    at: &KeyPath,
    usual: impl FnOnce() -> String,
) -> Option<String> {
    let at = at.key("endpoint");
    let Some(endpoint) = endpoint else {
        return Some(format!("https://{}", usual()));
    };
    let endpoint = check_upstream_url(check, endpoint, raw, &at)?;
    if endpoint.query().is_some() {
        check.report(&at, Rule::NotBase);
    }
    Some(endpoint.as_str().trim_end_matches('/').to_owned())
}

/// An MCP server on AgentCore Runtime.
pub(super) fn check_runtime(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    written: &raw::Runtime,
    at: &KeyPath,
) -> Option<HttpTarget> {
    let inner = at.key("runtime");
    let (path, query, region) = match &written.arn {
        Some(arn) => {
            for (key, present) in [
                ("agent_id", written.agent_id.is_some()),
                ("account_id", written.account_id.is_some()),
                ("region", written.region.is_some()),
            ] {
                if present {
                    let other = "arn";
                    check.report(&inner.key(key), Rule::NotWith { key, other });
                }
            }
            let place = inner.key("arn");
            let arn = expand(check, arn, &place);
            let region = check.ok(&place, region_of(&arn).ok_or(Rule::RuntimeArn))?;
            // One segment of the path, whatever the ARN has.
            let path = arn.replace(':', "%3A").replace('/', "%2F");
            (path, None, region)
        }
        None => check_runtime_id(check, written, &inner)?,
    };
    let qualifier = expand_optional(check, written.qualifier.as_ref(), &inner.key("qualifier"));
    let qualifier = qualifier.unwrap_or_else(|| "DEFAULT".to_owned());
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if qualifier.is_empty() || qualifier.len() > 48 || !qualifier.bytes().all(legal) {
        check.report(&inner.key("qualifier"), Rule::Qualifier);
    }
    let base = choose_base(check, written.endpoint.as_ref(), raw, &inner, || {
        format!("{SERVICE}.{region}.{}", domain(&region))
    })?;
    let account = query.map_or(String::new(), |account| format!("&accountId={account}"));
    let text = format!("{base}/runtimes/{path}/invocations?qualifier={qualifier}{account}");
    Some(HttpTarget {
        connector: Connector::AgentcoreRuntime,
        url: Url::parse(&text).ok()?,
        gateway: None,
        region: Some(region),
    })
}

/// `agent_id`, `account_id`, `region`.
fn check_runtime_id(
    check: &mut Check<'_>,
    written: &raw::Runtime,
    at: &KeyPath,
) -> Option<(String, Option<String>, String)> {
    let id = expand_optional(check, written.agent_id.as_ref(), &at.key("agent_id"));
    let account = expand_optional(check, written.account_id.as_ref(), &at.key("account_id"));
    let region = check_region(check, written.region.as_ref(), &at.key("region"));
    if id.is_none() && account.is_none() {
        if !check.source.is_excused(at, "arn") && !check.source.is_excused(at, "agent_id") {
            check.report(at, Rule::Neither("arn", "agent_id"));
        }
        return None;
    }
    let missing = [
        ("agent_id", id.is_none()),
        ("account_id", account.is_none()),
        ("region", region.is_none()),
    ];
    for (key, missing) in missing {
        if missing && !check.source.is_excused(at, key) {
            check.report(at, ProblemKind::MissingKey { key });
        }
    }
    if id.as_deref().is_some_and(|id| !is_runtime(id)) {
        check.report(&at.key("agent_id"), Rule::RuntimeId);
    }
    if account
        .as_deref()
        .is_some_and(|account| !is_account(account))
    {
        check.report(&at.key("account_id"), Rule::Account);
    }
    Some((id?, Some(account?), region?))
}

fn is_runtime(id: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !id.is_empty() && id.len() <= 128 && id.bytes().all(legal)
}

/// The region in the ARN of a runtime.
fn region_of(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, SERVICE, region, account, resource] = *parts else {
        return None;
    };
    let id = resource.strip_prefix("runtime/")?;
    let fits = is_partition(partition) && is_region(region) && is_account(account);
    (fits && is_runtime(id)).then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_gateways_are_those_of_the_model() {
        for id in ["gw-ab12cdef34", "a-0123456789", "my-tools-gw-abcdefghij"] {
            assert!(is_gateway(id), "{id}");
        }
        for id in [
            "",
            "gw",
            "gw-short",
            "GW-ab12cdef34",
            "gw--ab12cdef34",
            "-ab12cdef34",
        ] {
            assert!(!is_gateway(id), "{id}");
        }
    }
}
