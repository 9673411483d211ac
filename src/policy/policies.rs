//! Policies and a catalog: what decides calls, and what callers see.

use std::sync::Arc;
use std::time::SystemTime;

use cedar_policy::EntityUid;
use foldhash::{HashMap, HashSet};

use crate::caller::Caller;
use crate::catalog::diff::UpstreamConfigs;
use crate::catalog::{Catalog, CutCatalog, Kind, PerKind, Route};
use crate::config::InputReads;
use crate::config::PolicyMode;
use crate::config::policy_names::{DESTRUCTIVE, READ_ONLY, WEIR_ACTION};
use crate::json::Object;
use crate::name::UpstreamIndex;
use crate::policy::actions::{Action, ToolHints, UpstreamActions};
use crate::policy::asked::Asked;
use crate::policy::bits::BitSet;
use crate::policy::classes::{CallerClass, ClassKey};
use crate::policy::decision::Decision;
use crate::policy::entities::uid;
use crate::policy::input_types::InputTypes;
use crate::policy::request::PolicyRequest;
use crate::policy::rules::{LoadedPolicy, PolicyRules};
use crate::policy::slices::{PolicySlice, SliceFinder};
use crate::policy::views::{ClassView, ClassViews, Visible};
use crate::protocol::era::Era;

/// The part of `limits.memory` that lists of views may take: one of this many.
const VIEWS_SHARE: usize = 8;

/// Policies, sliced for the routes of one catalog.
pub struct Policies {
    rules: Arc<PolicyRules>,
    slices: Box<[PolicySlice]>,
    upstreams: Box<[UpstreamRoutes]>,
    /// How many routes there are of each kind.
    counts: PerKind<usize>,
    views: ClassViews,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Policies");
        debug
            .field("rules", &self.rules)
            .field("slices", &self.slices.len());
        debug.finish_non_exhaustive()
    }
}

/// The routes of one upstream.
struct UpstreamRoutes {
    actions: UpstreamActions,
    routes: PerKind<HashMap<Arc<str>, RouteAction>>,
    /// The action of a resource that no list names.
    unlisted: Option<RouteAction>,
}

/// One route, as policies see it.
struct RouteAction {
    /// `None` denies: it would be taken for another one.
    action: Option<Action>,
    /// The name or URI by which callers know it.
    exposed: Arc<str>,
    /// Its place among the routes of its kind.
    place: usize,
    slice: u32,
    /// The types of the arguments that policies read.
    types: InputTypes,
}

impl Policies {
    /// Slices policies for a catalog of these upstreams. Views may take a share of `memory` bytes. It
    /// takes milliseconds: not for the hot path.
    #[must_use]
    pub fn new(
        rules: Arc<PolicyRules>,
        configs: &UpstreamConfigs,
        catalog: &Catalog,
        memory: usize,
    ) -> Self {
        let mut slicing = Slicing {
            configs,
            catalog,
            finder: SliceFinder::new(&rules),
            hints: false,
        };
        let hints = [READ_ONLY, DESTRUCTIVE].map(|group| uid(WEIR_ACTION, group));
        slicing.hints = hints
            .iter()
            .any(|group| slicing.finder.names(group.as_ref()));
        let upstreams = configs.values();
        let upstreams = upstreams.map(|upstream| UpstreamActions::of(&rules, upstream));
        let mut found: Vec<_> = upstreams.map(|actions| slicing.upstream(actions)).collect();
        for kind in Kind::ALL
            .into_iter()
            .filter(|kind| rules.covers_kind(*kind))
        {
            for (place, route) in catalog.routes(kind).enumerate() {
                if let Some(upstream) = found.get_mut(route.upstream_index.get()) {
                    let action = slicing.route(&upstream.actions, kind, place, &route);
                    let routes = upstream.routes.get_mut(kind);
                    routes.insert(Arc::clone(route.original()), action);
                }
            }
        }
        let counts = PerKind::from_fn(|kind| catalog.len(kind));
        let views = ClassViews::new(memory / VIEWS_SHARE, &rules.lookups);
        Self {
            slices: slicing.finder.finish(),
            rules,
            upstreams: found.into(),
            counts,
            views,
        }
    }

    /// Returns the policies that it was made of.
    #[must_use]
    pub fn rules(&self) -> &Arc<PolicyRules> {
        &self.rules
    }

    /// Decides about a request of a caller.
    #[must_use]
    pub fn decide(&self, caller: &Caller, request: &PolicyRequest<'_>) -> Arc<Decision> {
        if !self.rules.covers_kind(request.kind) {
            return Arc::new(Decision::open());
        }
        let Some((upstream, route)) = self.route(request) else {
            return self.enforced(Decision::failed("no list of its upstream has it"));
        };
        let asked = Asked::of(request, upstream, route);
        let (Some(asked), Some(slice)) = (asked, self.slices.get(route.slice as usize)) else {
            return self.enforced(Decision::failed(
                "its target is called like another upstream, whose policies it would be under",
            ));
        };
        let Some(class) = self.rules.class(caller) else {
            return self.enforced(Decision::failed("the identity is no entity"));
        };
        if !slice.is_fixed() {
            return Arc::new(self.evaluate(&class, slice, &asked));
        }
        let view = self
            .views
            .get(caller, Some(&class), request.era, self.slices.len());
        match view.decisions.get(route.slice as usize) {
            Some(known) => {
                Arc::clone(known.get_or_init(|| Arc::new(self.evaluate(&class, slice, &asked))))
            }
            None => Arc::new(self.evaluate(&class, slice, &asked)),
        }
    }

    /// Returns the routes of a kind that a caller sees: those that it may call, with some arguments, at
    /// some time.
    #[must_use]
    pub fn visible(&self, caller: &Caller, kind: Kind, era: Era) -> Visible {
        if !self.rules.hides(kind) {
            return Visible::All;
        }
        let view = self.class_view(caller, era);
        let visible = view.visible.get();
        visible.map_or_else(Visible::none, |visible| visible.get(kind).clone())
    }

    /// Returns what callers like this one see; `None` if nothing is hidden from anybody. Only callers
    /// between whom no policy can tell a difference share one.
    #[must_use]
    pub fn view(&self, caller: &Caller, era: Era) -> Option<Arc<ClassView>> {
        let hides = Kind::ALL.into_iter().any(|kind| self.rules.hides(kind));
        hides.then(|| self.class_view(caller, era))
    }

    /// Returns the lists of a view. The first that asks makes them, which takes milliseconds.
    #[must_use]
    pub fn lists<'v>(&self, view: &'v ClassView, catalog: &Catalog) -> &'v CutCatalog {
        self.views.lists(view, catalog)
    }

    /// Returns the views whose lists are kept.
    #[must_use]
    pub fn kept_views(&self) -> Vec<Arc<ClassView>> {
        self.views.kept()
    }

    /// Returns whether callers may be kept from seeing some of a kind.
    #[must_use]
    pub fn hides(&self, kind: Kind) -> bool {
        self.rules.hides(kind)
    }

    /// Returns whether a caller sees a route.
    #[must_use]
    pub fn sees(&self, caller: &Caller, kind: Kind, route: &Route, era: Era) -> bool {
        if !self.rules.hides(kind) {
            return true;
        }
        let upstream = self.upstreams.get(route.upstream_index.get());
        let routes = upstream.map(|upstream| upstream.routes.get(kind));
        let action = routes.and_then(|routes| routes.get(route.original()));
        action.is_some_and(|action| self.visible(caller, kind, era).contains(action.place))
    }

    /// Returns the class of a caller: those of one class see the same and may do the same. `None` for
    /// an identity that may do nothing.
    #[must_use]
    pub fn class_of(&self, caller: &Caller) -> Option<ClassKey> {
        self.rules.class(caller).map(|class| class.key)
    }

    /// Returns the number of slices: of lists of policies that apply to some route.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.slices.len()
    }

    /// Returns the actions of tools that are listed, and the groups that these are in.
    pub(super) fn listed_actions(&self) -> HashSet<&EntityUid> {
        let actions = self.tools().filter_map(|(_, route)| route.action.as_ref());
        let all = actions.flat_map(|action| std::iter::once(&action.uid).chain(&action.groups));
        all.collect()
    }

    /// Iterates over the tools that a policy applies to: their actions, and types of arguments.
    pub(super) fn tools_under(
        &self,
        policy: &LoadedPolicy,
    ) -> impl Iterator<Item = (&EntityUid, &InputTypes)> {
        let tools = self.tools();
        let tools = tools.filter(move |(upstream, route)| {
            let resource = upstream.actions.resource.as_ref();
            let action = route.action.as_ref();
            action.is_some_and(|action| policy.applies_to(action, resource))
        });
        tools.filter_map(|(_, route)| Some((&route.action.as_ref()?.uid, &route.types)))
    }

    fn tools(&self) -> impl Iterator<Item = (&UpstreamRoutes, &RouteAction)> {
        self.upstreams.iter().flat_map(|upstream| {
            let routes = upstream.routes.get(Kind::Tools).values();
            routes.map(move |route| (upstream, route))
        })
    }

    fn route(&self, request: &PolicyRequest<'_>) -> Option<(&UpstreamRoutes, &RouteAction)> {
        let upstream = self.upstreams.get(request.upstream.get())?;
        let listed = upstream.routes.get(request.kind).get(request.original);
        let unlisted = match request.kind {
            Kind::Resources | Kind::Templates => upstream.unlisted.as_ref(),
            Kind::Tools | Kind::Prompts | Kind::Instructions => None,
        };
        Some((upstream, listed.or(unlisted)?))
    }

    fn enforced(&self, decision: Decision) -> Arc<Decision> {
        Arc::new(match self.rules.mode {
            PolicyMode::Enforce => decision,
            PolicyMode::LogOnly => decision.recorded(),
        })
    }

    fn evaluate(&self, class: &CallerClass, slice: &PolicySlice, asked: &Asked<'_>) -> Decision {
        let decision = self.rules.authorize(class, slice, asked);
        match self.rules.mode {
            PolicyMode::Enforce => decision,
            PolicyMode::LogOnly => decision.recorded(),
        }
    }

    /// Returns the view of a caller's class, of which it is known what is visible.
    fn class_view(&self, caller: &Caller, era: Era) -> Arc<ClassView> {
        let class = self.rules.class(caller);
        let view = self
            .views
            .get(caller, class.as_ref(), era, self.slices.len());
        view.visible.get_or_init(|| {
            PerKind::from_fn(|kind| match (self.rules.hides(kind), &view.class) {
                (false, _) => Visible::All,
                (true, None) => Visible::none(),
                (true, Some(class)) => Visible::Some(Arc::new(self.places(class, kind, era))),
            })
        });
        view
    }

    /// Returns the places of the routes of a kind that a class sees.
    fn places(&self, class: &CallerClass, kind: Kind, era: Era) -> BitSet {
        let mut places = BitSet::below(*self.counts.get(kind));
        let mut by_slice: Vec<Option<bool>> = vec![None; self.slices.len()];
        for upstream in &self.upstreams {
            for (original, route) in upstream.routes.get(kind) {
                let Some(slice) = self.slices.get(route.slice as usize) else {
                    continue;
                };
                let sees = match by_slice.get_mut(route.slice as usize) {
                    Some(known) if slice.lists.is_none() => {
                        *known.get_or_insert_with(|| slice.may_allow_class(&self.rules, class))
                    }
                    Some(_) | None => {
                        let request = PolicyRequest {
                            kind,
                            upstream: UpstreamIndex::new(0),
                            original,
                            exposed: &route.exposed,
                            era,
                            arguments: None,
                            now: SystemTime::UNIX_EPOCH,
                        };
                        let asked = Asked::of(&request, upstream, route);
                        asked.is_some_and(|asked| self.rules.may_allow(class, slice, &asked))
                    }
                };
                if sees {
                    places.insert(route.place);
                }
            }
        }
        places
    }
}

/// The slicing of policies for a catalog.
struct Slicing<'s> {
    configs: &'s UpstreamConfigs,
    catalog: &'s Catalog,
    finder: SliceFinder<'s>,
    /// Whether a policy asks for the annotations of tools.
    hints: bool,
}

impl Slicing<'_> {
    /// Begins with an upstream, without routes.
    fn upstream(&mut self, actions: UpstreamActions) -> UpstreamRoutes {
        let unlisted = Action::of_kind(Kind::Resources).map(|action| RouteAction {
            exposed: Arc::default(),
            place: usize::MAX,
            slice: self.finder.find(&action, actions.resource.as_ref()),
            action: Some(action),
            types: InputTypes::default(),
        });
        UpstreamRoutes {
            actions,
            routes: PerKind::from_fn(|_| HashMap::default()),
            unlisted,
        }
    }

    fn route(
        &mut self,
        upstream: &UpstreamActions,
        kind: Kind,
        place: usize,
        route: &Route,
    ) -> RouteAction {
        let is_tool = kind == Kind::Tools;
        let action = if is_tool {
            let hints = self.hints && upstream.is_trusted;
            let hints = hints.then(|| hints_of(self.catalog, route));
            upstream.tool(self.configs, route.original(), hints)
        } else {
            Action::of_kind(kind)
        };
        let resource = upstream.resource.as_ref();
        let slice = action.as_ref();
        let slice = slice.map_or(u32::MAX, |action| self.finder.find(action, resource));
        let types = if is_tool {
            types_of(self.catalog, route, self.finder.input_of(slice))
        } else {
            InputTypes::default()
        };
        RouteAction {
            action,
            exposed: Arc::clone(&route.exposed),
            place,
            slice,
            types,
        }
    }
}

impl<'a> Asked<'a> {
    /// Puts together what is asked of an upstream; `None` where a route is no action.
    fn of(
        request: &'a PolicyRequest<'a>,
        upstream: &'a UpstreamRoutes,
        route: &'a RouteAction,
    ) -> Option<Self> {
        Some(Self {
            request,
            upstream: &upstream.actions.id,
            action: route.action.as_ref()?,
            resource: upstream.actions.resource.as_ref()?,
            types: &route.types,
        })
    }
}

/// Reads the annotations of a tool that callers see.
fn hints_of(catalog: &Catalog, route: &Route) -> ToolHints {
    let text = catalog.definition(Kind::Tools, &route.exposed);
    let definition = text.as_deref().and_then(|text| Object::parse(text).ok());
    ToolHints::read(route.repetition(), &definition.unwrap_or_default())
}

/// Reads the types of those arguments of a tool that policies read.
fn types_of(catalog: &Catalog, route: &Route, reads: &InputReads) -> InputTypes {
    if *reads == InputReads::Nothing {
        return InputTypes::default();
    }
    let text = catalog.definition(Kind::Tools, &route.exposed);
    let definition = text.as_deref().and_then(|text| Object::parse(text).ok());
    InputTypes::read(definition.unwrap_or_default().get("inputSchema"), reads)
}
