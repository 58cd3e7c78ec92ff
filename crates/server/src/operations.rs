//! Every operation, with its handler. The router, the document and the API browser are made from this table.

use crate::answer::Answer;
use crate::app::App;
use crate::http::Call;
use crate::{handlers, pages, rules};

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// There is none.
    None,
    /// One object of this schema.
    One(&'static str),
    /// One object, an array, or one per line, of this schema.
    Rows(&'static str),
    /// A form of a page.
    Form,
}

/// What an operation asks of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Next to nothing: it is answered at once, however busy the server is.
    Light,
    /// A processor all the while. Few are at work at one time, or they would all take turns and all be late.
    Deciding,
    /// Some of everything; it waits for disks and other threads too.
    Other,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) body: BodyKind,
    /// Statuses besides those of [`COMMON`](crate::openapi) with the schema of their body, if it is JSON.
    pub(crate) answers: &'static [(u16, &'static str)],
    pub(crate) handler: fn(&App, &Call) -> Answer,
    pub(crate) work: Work,
}

#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    Operation { method: "POST", path: "/v1/events", summary: "Tells what happened; durable when answered, and the next request sees it",
        body: BodyKind::Rows("Event"), answers: &[(200, "IngestReport")], handler: handlers::events, work: Work::Other },
    Operation { method: "PUT", path: "/v1/items", summary: "Adds or replaces items; the next request sees them",
        body: BodyKind::Rows("Item"), answers: &[(200, "WriteReport")], handler: handlers::items, work: Work::Other },
    Operation { method: "GET", path: "/v1/items/{id}", summary: "One item",
        body: BodyKind::None, answers: &[(200, "StoredItem"), (404, "Problem")], handler: handlers::item, work: Work::Other },
    Operation { method: "PUT", path: "/v1/users", summary: "Adds or replaces what is known of users",
        body: BodyKind::Rows("User"), answers: &[(200, "WriteReport")], handler: handlers::users, work: Work::Other },
    Operation { method: "GET", path: "/v1/users/{id}", summary: "What is known of a user, with the latest events",
        body: BodyKind::None, answers: &[(200, "UserView"), (404, "Problem")], handler: handlers::user, work: Work::Other },
    Operation { method: "DELETE", path: "/v1/users/{id}", summary: "Erases a user from log, state, catalogue and decisions",
        body: BodyKind::None, answers: &[(200, "ErasureReport")], handler: handlers::erase, work: Work::Other },
    Operation { method: "POST", path: "/v1/recommend", summary: "A slate for a placement",
        body: BodyKind::One("RecommendRequest"), answers: &[(200, "Slate"), (404, "Problem")], handler: handlers::recommend, work: Work::Deciding },
    Operation { method: "POST", path: "/v1/page", summary: "A page: rows with titles, the best first, no item twice",
        body: BodyKind::One("PageRequest"), answers: &[(200, "Page")], handler: handlers::page, work: Work::Deciding },
    Operation { method: "POST", path: "/v1/similar", summary: "Items like one item",
        body: BodyKind::One("SimilarRequest"), answers: &[(200, "Similar"), (404, "Problem"), (409, "Problem")], handler: handlers::similar, work: Work::Deciding },
    Operation { method: "POST", path: "/v1/rank", summary: "Given items, ordered for someone",
        body: BodyKind::One("RankRequest"), answers: &[(200, "Slate")], handler: handlers::rank, work: Work::Deciding },
    Operation { method: "GET", path: "/v1/decisions", summary: "Past decisions, the latest first: by `from`, `to`, `user_id`, `item_id`, `placement`, `policy`, `limit`, `after`",
        body: BodyKind::None, answers: &[(200, "DecisionPage")], handler: handlers::decisions, work: Work::Other },
    Operation { method: "GET", path: "/v1/decisions/{id}", summary: "The record of a decision",
        body: BodyKind::None, answers: &[(200, "Decision"), (404, "Problem")], handler: handlers::decision, work: Work::Other },
    Operation { method: "POST", path: "/v1/decisions/{id}/replay", summary: "A past decision made again, exactly or with another configuration",
        body: BodyKind::One("ReplayRequest"), answers: &[(200, "ReplayReport"), (404, "Problem"), (410, "Problem")], handler: handlers::replay, work: Work::Other },
    Operation { method: "GET", path: "/v1/rules", summary: "The rules in force and their version",
        body: BodyKind::None, answers: &[(200, "Rules")], handler: rules::list, work: Work::Other },
    Operation { method: "PUT", path: "/v1/rules", summary: "Adds or replaces rules, all or none; the next request obeys them",
        body: BodyKind::Rows("Rule"), answers: &[(200, "RulesReport")], handler: rules::put, work: Work::Other },
    Operation { method: "GET", path: "/v1/rules/{name}", summary: "One rule",
        body: BodyKind::None, answers: &[(200, "Rule"), (404, "Problem")], handler: rules::one_rule, work: Work::Other },
    Operation { method: "DELETE", path: "/v1/rules/{name}", summary: "Takes a rule out; earlier versions stay",
        body: BodyKind::None, answers: &[(200, "RulesReport"), (404, "Problem")], handler: rules::delete, work: Work::Other },
    Operation { method: "GET", path: "/v1/rules/versions/{version}", summary: "The rules of an earlier version",
        body: BodyKind::None, answers: &[(200, "Rules"), (404, "Problem")], handler: rules::version, work: Work::Other },
    Operation { method: "POST", path: "/v1/rules/check", summary: "Looks at a rule as if to store it, and says how many items it is about",
        body: BodyKind::One("Rule"), answers: &[(200, "RuleCheck")], handler: rules::check, work: Work::Other },
    Operation { method: "POST", path: "/v1/rules/dry-run", summary: "What rules would have done to past decisions",
        body: BodyKind::One("DryRunRequest"), answers: &[(200, "DryRunReport")], handler: rules::dry_run, work: Work::Other },
    Operation { method: "POST", path: "/v1/ope", summary: "What another policy would have earned, judged from rounds or slates that are sent or from the decisions here",
        body: BodyKind::One("OpeRequest"), answers: &[(200, "OpeReport")], handler: handlers::ope, work: Work::Other },
    Operation { method: "GET", path: "/v1/status", summary: "How things stand",
        body: BodyKind::None, answers: &[(200, "Status")], handler: handlers::status, work: Work::Other },
    Operation { method: "GET", path: "/v1/models", summary: "The models in service and those that can be trained",
        body: BodyKind::None, answers: &[(200, "Models")], handler: handlers::models, work: Work::Other },
    Operation { method: "POST", path: "/v1/models/rankers/{placement}", summary: "Trains, promotes or rolls back the learnt ranker of a placement",
        body: BodyKind::One("RankerRequest"), answers: &[(200, "RankerAnswer"), (202, "TrainBegun"), (404, "Problem"), (409, "Problem")], handler: handlers::ranker, work: Work::Other },
    Operation { method: "GET", path: "/v1/placements", summary: "The placements and their configuration",
        body: BodyKind::None, answers: &[(200, "Placements")], handler: handlers::placements, work: Work::Other },
    Operation { method: "GET", path: "/v1/chaos", summary: "Faults put in on purpose; refused unless the configuration asks for chaos",
        body: BodyKind::None, answers: &[(200, "Faults")], handler: handlers::faults, work: Work::Light },
    Operation { method: "PUT", path: "/v1/chaos", summary: "Changes the faults put in on purpose, from the next request on; what is left out is well",
        body: BodyKind::One("Faults"), answers: &[(200, "Faults")], handler: handlers::set_faults, work: Work::Light },
    Operation { method: "POST", path: "/v1/train", summary: "Trains the models anew, in the background unless told to wait",
        body: BodyKind::One("TrainRequest"), answers: &[(200, "TrainReport"), (202, "TrainBegun"), (409, "Problem")], handler: handlers::train, work: Work::Other },
    Operation { method: "GET", path: "/v1/schema/{entity}", summary: "The kinds of attributes of `items` or `users`",
        body: BodyKind::None, answers: &[(200, "Schema"), (404, "Problem")], handler: handlers::schema, work: Work::Other },
    Operation { method: "PUT", path: "/v1/schema/{entity}/{attribute}", summary: "Fixes the kind of an attribute, or hands it back to inference with null",
        body: BodyKind::One("KindRequest"), answers: &[(200, "Schema"), (404, "Problem")], handler: handlers::fix_kind, work: Work::Other },
    Operation { method: "GET", path: "/healthz", summary: "Whether the process answers",
        body: BodyKind::None, answers: &[(200, "Health")], handler: handlers::health, work: Work::Light },
    Operation { method: "GET", path: "/readyz", summary: "Whether requests should be sent here",
        body: BodyKind::None, answers: &[(200, "Health"), (503, "Health")], handler: handlers::ready, work: Work::Light },
    Operation { method: "GET", path: "/metrics", summary: "Figures in the text format of Prometheus",
        body: BodyKind::None, answers: &[(200, "")], handler: handlers::metrics, work: Work::Light },
    Operation { method: "GET", path: "/openapi.json", summary: "This document",
        body: BodyKind::None, answers: &[(200, "Any")], handler: handlers::document, work: Work::Other },
    Operation { method: "GET", path: "/", summary: "A page to try it on",
        body: BodyKind::None, answers: &[(200, "")], handler: pages::home, work: Work::Deciding },
    Operation { method: "POST", path: "/act", summary: "An event from the page",
        body: BodyKind::Form, answers: &[(303, "")], handler: pages::act, work: Work::Other },
    Operation { method: "GET", path: "/docs", summary: "A page to browse the API",
        body: BodyKind::None, answers: &[(200, "")], handler: pages::docs, work: Work::Other },
];

/// True if a path is of this form.
pub(crate) fn fits(form: &str, path: &str) -> bool {
    let (mut form, mut path) = (form.split('/'), path.split('/'));
    loop {
        match (form.next(), path.next()) {
            (None, None) => return true,
            (Some(part), Some(given)) if part == given || (part.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}
