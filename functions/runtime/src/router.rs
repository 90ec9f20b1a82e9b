//! From method and path to handler. Strict: an unknown path is 404, a known one with another method 405, and
//! neither tells anything about credentials, which are only asked for once a handler is found.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request};
use hyper::body::Body as HttpBody;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};

use crate::body::BoxError;
use crate::metrics::Metrics;
use crate::{Body, Call, Response};

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Response> + Send + Sync>;
type Mounted = BoxCloneSyncService<Request<Body>, Response, Infallible>;

/// Decides whether a request may reach its handler; see [`crate::auth::Gate`].
pub trait Guard: Send + Sync {
    /// Lets the request through, perhaps with something added to its extensions, or gives the answer instead.
    fn check<'a>(&'a self, parts: &'a mut Parts) -> BoxFuture<'a, Result<(), Response>>;
}

/// Routes, collected; [`crate::Shell`] makes a service of them.
#[derive(Default)]
pub struct Router {
    pub(crate) routes: Vec<Route>,
    pub(crate) mounts: Vec<(String, Mounted)>,
    pub(crate) fallback: Option<Mounted>,
    pub(crate) metrics: Option<Arc<Metrics>>,
}

#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) path: String,
    /// `None` takes every method.
    pub(crate) method: Option<Method>,
    pub(crate) handler: Handler,
    pub(crate) guard: Option<Arc<dyn Guard>>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let routes = self.routes.iter().map(|route| {
            (
                route.method.as_ref().map_or("*", Method::as_str),
                &route.path,
            )
        });
        f.debug_list()
            .entries(routes)
            .entries(self.mounts.iter().map(|(prefix, _)| prefix))
            .finish()
    }
}

impl Router {
    /// No routes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handler. Variables of the path are written `{name}`; each matches one segment.
    #[must_use]
    pub fn route<F, R>(self, method: Method, path: &str, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        self.add(Some(method), path, handler)
    }

    /// `GET`; `HEAD` is not answered by it.
    #[must_use]
    pub fn get<F, R>(self, path: &str, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        self.add(Some(Method::GET), path, handler)
    }

    /// `POST`.
    #[must_use]
    pub fn post<F, R>(self, path: &str, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        self.add(Some(Method::POST), path, handler)
    }

    /// Every method.
    #[must_use]
    pub fn any<F, R>(self, path: &str, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        self.add(None, path, handler)
    }

    fn add<F, R>(mut self, method: Option<Method>, path: &str, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |call| Box::pin(handler(call)));
        self.routes.push(Route {
            path: path.to_owned(),
            method,
            handler,
            guard: None,
        });
        self
    }

    /// Puts a guard before all routes that were added so far and have none yet.
    #[must_use]
    pub fn guarded(mut self, guard: Arc<dyn Guard>) -> Self {
        for route in &mut self.routes {
            route.guard.get_or_insert_with(|| Arc::clone(&guard));
        }
        self
    }

    /// Gives everything at and below `prefix` to a service of its own, before any route is looked at. The service
    /// gets the request whole and may answer with a stream; it brings its own authentication.
    #[must_use]
    pub fn mount<S, B>(mut self, prefix: &str, service: S) -> Self
    where
        S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.mounts
            .push((prefix.trim_end_matches('/').to_owned(), boxed(service)));
        self
    }

    /// Gives everything that is neither mounted nor routed to a service of its own, instead of 404.
    #[must_use]
    pub fn fallback<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.fallback = Some(boxed(service));
        self
    }

    /// Adds all that the other one has; what both have is an error when the shell is built.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.routes.extend(other.routes);
        self.mounts.extend(other.mounts);
        self.fallback = self.fallback.or(other.fallback);
        self.metrics = self.metrics.or(other.metrics);
        self
    }

    /// The metrics that the shell counts into; without, it counts for itself.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }
}

fn boxed<S, B>(service: S) -> Mounted
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    BoxCloneSyncService::new(
        service.map_response(|response: http::Response<B>| response.map(Body::stream)),
    )
}

/// Routes, ready to be asked.
pub(crate) struct Table {
    paths: matchit::Router<usize>,
    /// The routes of one path, which differ in their methods.
    groups: Vec<Vec<Route>>,
    mounts: Vec<(String, Mounted)>,
    fallback: Option<Mounted>,
}

/// What a path and a method lead to.
pub(crate) enum Target<'a> {
    /// A handler and its path variables, still encoded.
    Route(&'a Route, Vec<(String, String)>),
    /// A service for the whole request, and the prefix it is known by.
    Mounted(&'a str, Mounted),
}

impl Target<'_> {
    /// What it is called in metrics and spans: one of as many names as there are routes.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Route(route, _) => route.path.clone(),
            Self::Mounted(prefix, _) => (*prefix).to_owned(),
        }
    }
}

/// Why they lead nowhere.
pub(crate) enum Miss<'a> {
    /// The path is known, with other methods.
    Method(&'a str),
    /// Nothing is known.
    Path,
}

/// Routes that cannot stand side by side, or a path that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("route {path}: {reason}")]
pub struct Error {
    path: String,
    reason: String,
}

impl Table {
    pub(crate) fn new(router: Router) -> Result<Self, Error> {
        let Router {
            routes,
            mut mounts,
            fallback,
            metrics: _,
        } = router;
        // The longest prefix wins.
        mounts.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let mut groups: Vec<Vec<Route>> = Vec::new();
        for route in routes {
            match groups
                .iter_mut()
                .find(|group| group.iter().any(|other| other.path == route.path))
            {
                Some(group) => {
                    let taken =
                        |other: &Route| other.method == route.method || other.method.is_none();
                    if route.method.is_none() || group.iter().any(taken) {
                        return Err(Error {
                            path: route.path,
                            reason: "is there twice".to_owned(),
                        });
                    }
                    group.push(route);
                }
                None => groups.push(vec![route]),
            }
        }
        let mut paths = matchit::Router::new();
        for (index, path) in groups
            .iter()
            .enumerate()
            .filter_map(|(i, group)| Some((i, &group.first()?.path)))
        {
            paths.insert(path.as_str(), index).map_err(|e| Error {
                path: path.clone(),
                reason: e.to_string(),
            })?;
        }
        Ok(Self {
            paths,
            groups,
            mounts,
            fallback,
        })
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<Target<'_>, Miss<'_>> {
        let below = |prefix: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some((prefix, service)) = self.mounts.iter().find(|(prefix, _)| below(prefix)) {
            return Ok(Target::Mounted(prefix, service.clone()));
        }
        let matched = self.paths.at(path).ok();
        let Some((matched, group)) =
            matched.and_then(|matched| Some((matched.params, self.groups.get(*matched.value)?)))
        else {
            let fallback = self.fallback.as_ref();
            return fallback
                .map(|service| Target::Mounted("other", service.clone()))
                .ok_or(Miss::Path);
        };
        let fits = |route: &&Route| route.method.as_ref().is_none_or(|known| known == method);
        match group.iter().find(fits) {
            Some(route) => {
                let params = matched
                    .iter()
                    .map(|(key, value)| (key.to_owned(), value.to_owned()));
                Ok(Target::Route(route, params.collect()))
            }
            None => Err(Miss::Method(group.first().map_or("", |route| &route.path))),
        }
    }

    /// Whether a route of exactly this text exists.
    pub(crate) fn has(router: &Router, path: &str) -> bool {
        router.routes.iter().any(|route| route.path == path)
    }
}
