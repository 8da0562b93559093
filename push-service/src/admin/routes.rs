//! The one table of the admin listener: each path, its methods, who may ask, and a line that says what it is for.
//!
//! The list at `/`, that of the status page, and the answers 404 and 405 are made from it, so none of them can contradict it.

use http::Method;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    /// The status page, or the table itself.
    Front,
    /// What the status page shows.
    Overview,
    /// How it looks.
    PageStyle,
    /// What keeps it up to date.
    PageScript,
    /// Its icon.
    PageIcon,
    /// Every metric.
    Metrics,
    /// Whether the process is up.
    Health,
    /// Whether traffic should come.
    Ready,
    /// As autopush's load balancers ask.
    LoadBalancer,
    /// Whether storage works.
    Heartbeat,
    /// The same with warnings, always 200.
    Status,
    /// Which build this is.
    Version,
    /// One user agent.
    UserAgent,
    /// One of its subscriptions.
    Subscription,
    /// What is known of a URL or an id.
    Inspect,
    /// Which application server keys send most, and which are refused.
    Senders,
    /// A list of user agents.
    UserAgents,
    /// Ends a user agent.
    EndUserAgent,
    /// Ends one of its subscriptions.
    EndSubscription,
    /// Removes what waits for a user agent.
    EmptyQueue,
    /// Refuses an application server key for a while.
    RefuseSender,
    /// Ends that.
    AllowSender,
    /// What is logged.
    LogFilter,
    /// Changes what is logged.
    ChangeLogFilter,
}

/// One row.
#[derive(Debug)]
pub(super) struct Route {
    method: Method,
    /// Segments. A segment in capitals stands for any text.
    path: &'static str,
    pub(super) operation: Operation,
    about: &'static str,
    /// Whether it needs the token of `admin.token_file`.
    pub(super) is_action: bool,
}

const fn read(path: &'static str, operation: Operation, about: &'static str) -> Route {
    Route {
        method: Method::GET,
        path,
        operation,
        about,
        is_action: false,
    }
}

const fn action(method: Method, path: &'static str, operation: Operation, about: &'static str) -> Route {
    Route {
        method,
        path,
        operation,
        about,
        is_action: true,
    }
}

const ROUTES: &[Route] = &[
    read(
        "/",
        Operation::Front,
        "the status page for a browser, else this list",
    ),
    read(
        "/overview",
        Operation::Overview,
        "what the status page shows; its members may change",
    ),
    read("/page.css", Operation::PageStyle, "a part of the status page"),
    read("/page.js", Operation::PageScript, "a part of the status page"),
    read("/page.svg", Operation::PageIcon, "a part of the status page"),
    read("/metrics", Operation::Metrics, "for Prometheus"),
    read("/healthz", Operation::Health, "200 while the process is up"),
    read(
        "/readyz",
        Operation::Ready,
        "200 while traffic should come, else 503 and why",
    ),
    read("/status", Operation::Status, "health and warnings, always 200"),
    read(
        "/health",
        Operation::Heartbeat,
        "200 while storage works, else 503 and why",
    ),
    read(
        "/__heartbeat__",
        Operation::Heartbeat,
        "the same, under autopush's name",
    ),
    read(
        "/__lbheartbeat__",
        Operation::LoadBalancer,
        "200 while the process is up",
    ),
    read("/__version__", Operation::Version, "version and build"),
    read(
        "/user-agents/ID",
        Operation::UserAgent,
        "what waits for a user agent, and its subscriptions",
    ),
    read(
        "/user-agents/ID/subscriptions/SUBSCRIPTION",
        Operation::Subscription,
        "one of its subscriptions",
    ),
    Route {
        method: Method::POST,
        path: "/inspect",
        operation: Operation::Inspect,
        about: "what is known of a URL or an id; it stands in the body",
        is_action: false,
    },
    read(
        "/senders",
        Operation::Senders,
        "the application server keys that send most",
    ),
    read("/log-level", Operation::LogFilter, "what is logged"),
    action(
        Method::PUT,
        "/log-level",
        Operation::ChangeLogFilter,
        "changes what is logged until the service stops; the body is the filter",
    ),
    action(
        Method::GET,
        "/user-agents",
        Operation::UserAgents,
        "?order=last-seen|bytes&limit=N&after=NEXT: all user agents",
    ),
    action(
        Method::DELETE,
        "/user-agents/ID",
        Operation::EndUserAgent,
        "ends a user agent, with its subscriptions and messages",
    ),
    action(
        Method::DELETE,
        "/user-agents/ID/subscriptions/SUBSCRIPTION",
        Operation::EndSubscription,
        "ends one of its subscriptions",
    ),
    action(
        Method::DELETE,
        "/user-agents/ID/messages",
        Operation::EmptyQueue,
        "removes all messages that wait for it",
    ),
    action(
        Method::POST,
        "/senders/SENDER/refusal",
        Operation::RefuseSender,
        "refuses its pushes on this node; the body is a duration, such as 1h",
    ),
    action(
        Method::DELETE,
        "/senders/SENDER/refusal",
        Operation::AllowSender,
        "lets it send again",
    ),
];

const BEFORE: &str = "push-service, admin listener\n";

const BEHIND: &str = "\
Routes with * are actions: they need `Authorization: Bearer TOKEN`, with the token of admin.token_file.
ID is the SHA-256 of the user agent's identity, cut to 32 hexadecimal digits, as logs name it.
";

/// What a request asks for, with the segments of its path that are not fixed.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) route: &'static Route,
    pub(super) segments: Vec<&'a str>,
}

/// Why there is no route.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Missing {
    /// There is no such path.
    Path,
    /// The path has only these methods, as the header field Allow lists them.
    Method(String),
}

/// Finds the row of a request. A HEAD is answered like a GET.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<Found<'a>, Missing> {
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let mut methods = Vec::new();
    for route in ROUTES {
        let Some(segments) = segments(route.path, path) else {
            continue;
        };
        if route.method == *method {
            return Ok(Found { route, segments });
        }
        methods.push(route.method.as_str());
        if route.method == Method::GET {
            methods.push("HEAD");
        }
    }
    if methods.is_empty() {
        Err(Missing::Path)
    } else {
        Err(Missing::Method(methods.join(", ")))
    }
}

/// One row, for the status page.
pub(super) struct Row {
    pub(super) method: &'static Method,
    pub(super) path: &'static str,
    pub(super) about: &'static str,
    pub(super) is_action: bool,
    /// Whether a browser can open it as it stands.
    pub(super) is_page: bool,
}

/// The table without the parts of the status page.
pub(super) fn rows() -> impl Iterator<Item = Row> {
    let is_part = |route: &&Route| {
        matches!(
            route.operation,
            Operation::PageStyle | Operation::PageScript | Operation::PageIcon
        )
    };
    ROUTES
        .iter()
        .filter(move |route| !is_part(route))
        .map(|route| Row {
            method: &route.method,
            path: route.path,
            about: route.about,
            is_action: route.is_action,
            is_page: route.method == Method::GET
                && !route.is_action
                && route.path != "/"
                && !route.path.split('/').any(is_placeholder),
        })
}

/// The table as text.
pub(super) fn contents() -> String {
    let rows = ROUTES.iter().map(|route| {
        let mark = if route.is_action { "*" } else { " " };
        format!("{:6} {mark} {:44} {}\n", route.method, route.path, route.about)
    });
    std::iter::once(BEFORE.to_owned())
        .chain(rows)
        .chain([BEHIND.to_owned()])
        .collect()
}

/// The segments that stand where the pattern has capitals; `None` if the path does not match. Slashes at the ends do not
/// count.
fn segments<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let mut given = path.trim_matches('/').split('/');
    let mut found = Vec::new();
    for expected in pattern.trim_matches('/').split('/') {
        let segment = given.next()?;
        if is_placeholder(expected) {
            found.push(segment);
        } else if segment != expected {
            return None;
        }
    }
    given.next().is_none().then_some(found)
}

fn is_placeholder(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row is found by its path and method; a wrong method learns the right ones, and no unknown path is found.
    #[test]
    fn a_row_is_found_by_path_and_method() {
        let found =
            |method: &Method, path| find(method, path).map(|found| (found.route.operation, found.segments));
        let rows = [
            ("/", Ok((Operation::Front, vec![]))),
            ("/metrics/", Ok((Operation::Metrics, vec![]))),
            ("/user-agents/ab", Ok((Operation::UserAgent, vec!["ab"]))),
            (
                "/user-agents/ab/subscriptions/cd",
                Ok((Operation::Subscription, vec!["ab", "cd"])),
            ),
            ("/user-agents/ab/subscriptions", Err(Missing::Path)),
            ("/metrics/more", Err(Missing::Path)),
            ("/push/token", Err(Missing::Path)),
        ];
        for (path, expected) in rows {
            assert_eq!(found(&Method::GET, path), expected, "{path}");
            assert_eq!(found(&Method::HEAD, path), expected, "{path}");
        }
        let refused = found(&Method::POST, "/metrics");
        assert_eq!(refused, Err(Missing::Method("GET, HEAD".to_owned())));
    }

    /// Whatever changes something needs the token.
    #[test]
    fn what_changes_something_is_an_action() {
        for route in ROUTES {
            let changes = route.method != Method::GET && route.operation != Operation::Inspect;
            assert!(route.is_action || !changes, "{} {}", route.method, route.path);
        }
    }

    /// `GET /` lists every row, and no two rows answer the same request.
    #[test]
    fn the_page_lists_every_row() {
        let text = contents();
        for (at, route) in ROUTES.iter().enumerate() {
            assert!(
                text.contains(route.path) && text.contains(route.about),
                "{}",
                route.path
            );
            let is_same = |other: &Route| (&other.method, other.path) == (&route.method, route.path);
            assert!(!ROUTES[..at].iter().any(is_same), "{}", route.path);
        }
    }
}
