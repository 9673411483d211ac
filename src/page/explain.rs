//! Where a name comes from, why it is called so, and what policy says of a caller that uses it.

use maud::{Markup, html};
use url::form_urlencoded;

use crate::admin::explain::{
    AppliedRule, ExplainIndex, ExplainedAccess, Explanation, Exposed, Hidden, Owner, asked_caller,
};
use crate::caller::Principal;
use crate::catalog::Kind;
use crate::live::Snapshot;
use crate::live::access::complete_caller;
use crate::page::door::Visitor;
use crate::page::layout::{PageView, explain_link, list, word};
use crate::page::text::{WHOLE, cell, cut, plain, span_words};
use crate::protocol::bounds::EXPOSED_URI_BYTES;

const VIEW: PageView = PageView::Explain;
/// Most names and upstreams of each list.
const LISTED: usize = 50;

/// Draws the view.
pub(super) fn draw(snapshot: &Snapshot, visitor: Visitor, query: &str) -> Markup {
    let field = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let found = pairs.find(|(name, _)| name == wanted);
        found
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    };
    let (name, caller, kind) = (field("name"), field("caller"), field("kind"));
    html! {
        h2 { "Explain" }
        (form(&name, &caller, &kind))
        @if name.len() > EXPOSED_URI_BYTES { p .bad { "No name is as long as this." } }
        @else if !name.is_empty() { (answer(snapshot, visitor, (&name, &caller), query)) }
    }
}

fn form(name: &str, caller: &str, kind: &str) -> Markup {
    html! {
        form .search method="get" action=(VIEW.link(VIEW.path())) {
            label { "Name" input type="search" name="name" value=(plain(name)) required autocomplete="off"; }
            label { "Caller (a subject)" input name="caller" value=(plain(caller)) autocomplete="off"; }
            label {
                "Kind of the caller"
                select name="kind" {
                    @for one in Principal::ALL.map(Principal::as_str) {
                        option value=(one) selected[one == kind] { (one) }
                    }
                }
            }
            button type="submit" { "Explain" }
        }
    }
}

fn answer(
    snapshot: &Snapshot,
    visitor: Visitor,
    (name, subject): (&str, &str),
    query: &str,
) -> Markup {
    let caller = match subject.is_empty() {
        true => Ok(None),
        false => asked_caller(query.as_bytes()),
    };
    let caller = match caller {
        Ok(caller) => caller.map(|caller| complete_caller(&snapshot.config, caller)),
        Err(error) => return html! { p .bad { (cell(&error)) } },
    };
    let explanation = ExplainIndex::of(snapshot).explain(name, caller.as_ref());
    let Explanation {
        name,
        exposed,
        hidden,
        near,
        unlisted,
    } = &explanation;
    html! {
        @for found in exposed { (draw_exposed(snapshot, visitor, name, found)) }
        @for found in hidden.iter().take(LISTED) { (draw_hidden(found)) }
        @if exposed.is_empty() && hidden.is_empty() {
            p { "Nothing that weir knows is called " span .name { (cell(name)) } "." }
        }
        @if !near.is_empty() {
            h3 { "Names that may be meant" }
            ul {
                @for other in near.iter().take(LISTED) {
                    li { (explain_link(VIEW, &other.name)) " of " (cell(&other.upstream)) ": " (cell(&other.because)) }
                }
            }
        }
        @if !unlisted.is_empty() {
            h3 { "Upstreams without a listing" }
            ul {
                @for one in unlisted.iter().take(LISTED) {
                    li { (cell(&one.upstream)) ": " (cell(&one.because)) }
                }
            }
        }
    }
}

/// Returns the URL of the form that calls a tool.
fn try_link(name: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("name", name)
        .finish();
    VIEW.link(&format!("{}?{query}", PageView::Try.path()))
}

fn draw_exposed(snapshot: &Snapshot, visitor: Visitor, name: &str, found: &Exposed) -> Markup {
    let steps: Vec<String> = found.named.steps.iter().map(ToString::to_string).collect();
    let definition = snapshot.catalog.definition(found.kind, name);
    html! {
        section .card aria-label={ "Exposed as a " (found.kind.as_str()) } {
            h3 { (word("good", "exposed")) " as a " (found.kind.as_str()) ": " span .name { (cell(name)) } }
            p {
                "It is " span .name { (cell(&found.original)) } " of " (owner(&found.upstream)) "."
            }
            @if !found.named.namespace.is_empty() {
                p {
                    "Its name begins with the namespace " code { (found.named.namespace) } " and "
                    code { (cell(&found.named.separator)) } "."
                }
            }
            (list("How the name was made", steps.iter().map(String::as_str)))
            (rules(&found.rules))
            (list("Conflicts of names", found.conflicts.iter().map(String::as_str)))
            (list("Came through these weirs, the nearest first", found.through.iter().map(String::as_str)))
            @if found.kind == Kind::Tools && visitor.may_try {
                p { a href=(try_link(name)) { "Try this tool" } }
            }
            p .note { "Listed for callers of the eras " (found.eras.join(", ")) "." }
            @if let Some(stamp) = &found.stamped { p { (word("warn", "stale")) ": last confirmed " (cell(stamp)) } }
            @if found.drift.is_some() {
                p { "Its upstream lists another definition, which " a href=(VIEW.link(PageView::Drift.path())) { "waits to be accepted" } "." }
            }
            @if let Some(access) = &found.access { (draw_access(access)) }
            @else { p .note { "Name a caller to see what policy says of it." } }
            @if found.kind == Kind::Tools {
                p .note { "To try it: " code { "weir call " (cell(name)) " --args '{}'" } }
            }
            @if let Some(definition) = definition {
                details {
                    summary { "The definition as callers see it (" (definition.len()) " bytes)" }
                    pre tabindex="0" { (cut(&definition, WHOLE)) }
                }
            }
        }
    }
}

fn draw_access(access: &ExplainedAccess) -> Markup {
    let class = if access.decision == "allow" {
        "good"
    } else {
        "bad"
    };
    html! {
        p {
            strong { (cell(&access.caller.to_string())) }
            @match access.listed {
                true => { " " (word("good", "sees it")) " in its lists" }
                false => { " " (word("bad", "does not see it")) }
            }
            "; a use without arguments is decided now: " (word(class, &access.decision)) "."
        }
        @if access.policies.is_empty() && access.decision != "allow" {
            p { "No policy permits it." }
        }
        (list("Policies that decide", access.policies.iter().map(String::as_str)))
        (list("Policies that could not be evaluated", access.errors.iter().map(String::as_str)))
    }
}

fn draw_hidden(found: &Hidden) -> Markup {
    html! {
        section .card aria-label={ "Not exposed: " (plain(&found.original)) " of " (plain(&found.upstream.name)) } {
            h3 { (word("bad", "not exposed")) ": " span .name { (cell(&found.wanted)) } }
            p {
                "The " (found.kind.as_str()) " " span .name { (cell(&found.original)) } " of "
                (owner(&found.upstream)) " is hidden: " (cell(&found.because)) "."
            }
            (rules(&found.rules))
            @if found.drift.is_some() {
                p { a href=(VIEW.link(PageView::Drift.path())) { "It waits to be accepted." } }
            }
        }
    }
}

fn rules(rules: &[AppliedRule]) -> Markup {
    html! {
        @if !rules.is_empty() {
            p { strong { "Rules of the config" } }
            ul {
                @for rule in rules {
                    li { code { (rule.rule) } " in " (cell(&rule.at)) ": " (cell(&rule.what)) }
                }
            }
        }
    }
}

fn owner(owner: &Owner) -> Markup {
    html! {
        strong { (cell(&owner.name)) } " (" (owner.connector) ", written in " (cell(&owner.at)) ")"
        @if let Some(listed) = &owner.listed {
            ", listed " (span_words(listed.seconds_ago)) " ago"
            @if listed.stale { " and " (word("warn", "stale")) }
        }
        @if let Some(link) = &owner.link {
            ", " (link.state)
            @if let Some(reason) = &link.reason { ": " (cell(reason)) }
        }
    }
}
