//! The operations of the API.

use crate::answer::Answer;
use crate::app::App;
use crate::body;
use crate::http::Call;
use assembly::{Problem, ServiceError};
use domain::{AttributeKind, EntityKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::atomic::Ordering;

/// Events of a user that are shown.
const RECENT: usize = 50;

pub(crate) fn answered<T: serde::Serialize>(result: Result<T, ServiceError>) -> Answer {
    match result {
        Ok(value) => Answer::json(200, &value),
        Err(error) => Answer::error(&error),
    }
}

/// Whether the body is an object per line; refuses what is no JSON.
fn is_lines(call: &Call) -> Result<bool, Answer> {
    let told = call
        .header("content-type")
        .unwrap_or("application/json")
        .to_lowercase();
    let kind = told.split(';').next().unwrap_or("").trim();
    match kind {
        "application/json" => Ok(false),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Ok(true)
        }
        _ => {
            let problem = Problem::new("Content-Type", told, "application/json or application/x-ndjson");
            Err(Answer::refused(
                415,
                "content-type",
                "The body is of a type that is not read",
                &problem,
            ))
        }
    }
}

pub(crate) fn one<T: DeserializeOwned>(app: &App, call: &Call) -> Result<T, Answer> {
    if is_lines(call)? {
        let problem = Problem::new("Content-Type", "one object per line", "application/json");
        return Err(Answer::refused(
            415,
            "content-type",
            "The body is of a type that is not read",
            &problem,
        ));
    }
    body::one(&call.body, app.limits()).map_err(|problem| Answer::input(&problem))
}

pub(crate) fn rows<T: DeserializeOwned>(app: &App, call: &Call) -> Result<body::Rows<T>, Answer> {
    let lines = is_lines(call)?;
    body::rows(&call.body, lines, app.limits()).map_err(|problem| Answer::input(&problem))
}

pub(crate) fn events(app: &App, call: &Call) -> Answer {
    let rows = match rows(app, call) {
        Ok(rows) => rows,
        Err(refused) => return refused,
    };
    let report = app.service.ingest(rows);
    if let Ok(report) = &report {
        let (accepted, duplicate) = (report.accepted as u64, report.duplicate as u64);
        app.numbers
            .rows("events", accepted, duplicate, report.rejected.len() as u64);
    }
    answered(report)
}

pub(crate) fn items(app: &App, call: &Call) -> Answer {
    match rows(app, call) {
        Ok(rows) => written(app, "items", app.service.put_items(rows)),
        Err(refused) => refused,
    }
}

pub(crate) fn users(app: &App, call: &Call) -> Answer {
    match rows(app, call) {
        Ok(rows) => written(app, "users", app.service.put_users(rows)),
        Err(refused) => refused,
    }
}

fn written(app: &App, what: &'static str, report: Result<assembly::WriteReport, ServiceError>) -> Answer {
    if let Ok(report) = &report {
        let rejected = report.rejected.len() as u64;
        app.numbers
            .rows(what, report.created + report.updated, report.unchanged, rejected);
    }
    answered(report)
}

pub(crate) fn item(app: &App, call: &Call) -> Answer {
    answered(app.service.item(call.part("id")))
}

pub(crate) fn user(app: &App, call: &Call) -> Answer {
    let id = call.part("id");
    let found = app
        .service
        .user(id)
        .and_then(|user| Ok((user, app.service.recent_events(id, RECENT)?)));
    match found {
        Ok((user, recent)) => Answer::json(
            200,
            &json!({
                "user_id": user.user_id,
                "attributes": user.attributes,
                "recent": recent.iter().map(|event| json!({
                    "item_id": event.item_id,
                    "event_type": event.event_type,
                    "timestamp": event.timestamp,
                    "value": event.value,
                })).collect::<Vec<_>>(),
            }),
        ),
        Err(error) => Answer::error(&error),
    }
}

pub(crate) fn erase(app: &App, call: &Call) -> Answer {
    answered(app.service.erase_user(call.part("id")))
}

pub(crate) fn recommend(app: &App, call: &Call) -> Answer {
    match one(app, call) {
        Ok(request) => slate(app, app.service.recommend(&request)),
        Err(refused) => refused,
    }
}

pub(crate) fn rank(app: &App, call: &Call) -> Answer {
    match one(app, call) {
        Ok(request) => slate(app, app.service.rank(&request)),
        Err(refused) => refused,
    }
}

pub(crate) fn page(app: &App, call: &Call) -> Answer {
    match one(app, call) {
        Ok(request) => {
            let page = app.service.page(&request);
            for row in page.iter().flat_map(|page| &page.rows) {
                app.numbers.slate(&row.slate);
            }
            answered(page)
        }
        Err(refused) => refused,
    }
}

fn slate(app: &App, slate: Result<assembly::RecommendResponse, ServiceError>) -> Answer {
    if let Ok(slate) = &slate {
        app.numbers.slate(slate);
    }
    answered(slate)
}

pub(crate) fn similar(app: &App, call: &Call) -> Answer {
    match one(app, call) {
        Ok(request) => answered(app.service.similar(&request)),
        Err(refused) => refused,
    }
}

pub(crate) fn decision(app: &App, call: &Call) -> Answer {
    answered(app.service.decision(call.part("id")))
}

/// Longest query of a search, bytes.
const QUERY_MAX: usize = 8192;

pub(crate) fn decisions(app: &App, call: &Call) -> Answer {
    if call.query.len() > QUERY_MAX {
        let got = format!("{} bytes", call.query.len());
        return Answer::input(&Problem::new("query", got, format!("at most {QUERY_MAX}")));
    }
    let mut query = assembly::DecisionQuery::default();
    for (name, value) in Call::pairs(&call.query) {
        let told = Some(value.clone());
        let moment = told.clone().map(assembly::Moment::Text);
        match name.as_str() {
            "from" => query.from = moment,
            "to" => query.to = moment,
            "user_id" => query.user_id = told,
            "item_id" => query.item_id = told,
            "placement" => query.placement = told,
            "policy" => query.policy = told,
            "after" => query.after = told,
            "limit" => match value.parse() {
                Ok(limit) => query.limit = Some(limit),
                Err(_) => return Answer::input(&Problem::new("limit", value, "1 to 1000")),
            },
            other => {
                let expected = "from, to, user_id, item_id, placement, policy, limit or after";
                return Answer::input(&Problem::new("query", other, expected));
            }
        }
    }
    answered(app.service.find_decisions(&query))
}

pub(crate) fn replay(app: &App, call: &Call) -> Answer {
    let request: assembly::ReplayRequest = if call.body.is_empty() {
        assembly::ReplayRequest::default()
    } else {
        match one(app, call) {
            Ok(request) => request,
            Err(refused) => return refused,
        }
    };
    answered(app.service.replay(call.part("id"), &request))
}

pub(crate) fn ope(app: &App, call: &Call) -> Answer {
    match one::<crate::ope::OpeRequest>(app, call) {
        Ok(request) => answered(request.answer(&app.service, app.limits().rows)),
        Err(refused) => refused,
    }
}

pub(crate) fn status(app: &App, _: &Call) -> Answer {
    Answer::json(200, &app.service.status())
}

pub(crate) fn models(app: &App, _: &Call) -> Answer {
    let status = app.service.status();
    let in_service: Vec<_> = status
        .models
        .iter()
        .map(|(name, bytes)| json!({"name": name, "bytes": bytes}))
        .collect();
    let rankers = match app.service.rankers() {
        Ok(rankers) => rankers,
        Err(error) => return Answer::error(&error),
    };
    let learners: Vec<_> = assembly::learners()
        .into_iter()
        .map(|(name, summary)| json!({"name": name, "summary": summary}))
        .collect();
    Answer::json(
        200,
        &json!({
            "snapshot": status.snapshot,
            "trained_at": status.trained_at,
            "training": status.training,
            "last_training_error": status.last_training_error,
            "in_service": in_service,
            "learners": learners,
            "rankers": rankers,
        }),
    )
}

pub(crate) fn faults(app: &App, _: &Call) -> Answer {
    answered(app.service.faults())
}

pub(crate) fn set_faults(app: &App, call: &Call) -> Answer {
    match one::<assembly::Faults>(app, call) {
        Ok(faults) => answered(app.service.set_faults(&faults)),
        Err(refused) => refused,
    }
}

/// What is to be done with the ranker of a placement.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, tag = "action", rename_all = "snake_case")]
enum RankerRequest {
    /// Learn a new one, in the background unless told to wait.
    Train {
        #[serde(default)]
        wait: bool,
    },
    /// Put this version in service.
    Promote { version: u64 },
    /// Put the version before the one in service in service again.
    Rollback {},
}

pub(crate) fn ranker(app: &App, call: &Call) -> Answer {
    let request: RankerRequest = match one(app, call) {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    let placement = call.part("placement").to_owned();
    let service = app.service.clone();
    match request {
        RankerRequest::Promote { version } => answered(
            service
                .promote_ranker(&placement, version)
                .map(|()| json!({"placement": placement, "version": version})),
        ),
        RankerRequest::Rollback {} => answered(
            service
                .roll_back_ranker(&placement)
                .map(|version| json!({"placement": placement, "version": version})),
        ),
        RankerRequest::Train { wait: true } => {
            answered(service.train_ranker(&placement, &|step| tracing::info!(step, "training the ranker")))
        }
        RankerRequest::Train { wait: false } => {
            if !service.ranked_placements().contains(&placement) {
                let problem = Problem::new("placement", placement, "one whose ranker.kind is trees");
                return Answer::error(&ServiceError::Input(problem));
            }
            if service.status().training {
                return Answer::error(&ServiceError::Busy("a training is under way".into()));
            }
            let begun = std::thread::Builder::new()
                .name("training".into())
                .spawn(move || crate::background::train_ranker(&service, &placement));
            match begun {
                Ok(_) => Answer::json(202, &json!({"status": "begun", "see": "/v1/models"})),
                Err(error) => Answer::unavailable(&format!("no thread for it: {error}")),
            }
        }
    }
}

pub(crate) fn placements(app: &App, _: &Call) -> Answer {
    Answer::json(200, &app.service.config().placements)
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TrainRequest {
    wait: bool,
}

pub(crate) fn train(app: &App, call: &Call) -> Answer {
    let request: TrainRequest = if call.body.is_empty() {
        TrainRequest::default()
    } else {
        match one(app, call) {
            Ok(request) => request,
            Err(refused) => return refused,
        }
    };
    if request.wait {
        return answered(app.service.train(&|step| tracing::info!(step, "training")));
    }
    if app.service.status().training {
        return Answer::error(&ServiceError::Busy("a training is under way".into()));
    }
    let service = app.service.clone();
    let begun = std::thread::Builder::new()
        .name("training".into())
        .spawn(move || {
            crate::background::train(&service);
        });
    match begun {
        Ok(_) => Answer::json(202, &json!({"status": "begun", "see": "/v1/status"})),
        Err(error) => Answer::unavailable(&format!("no thread for it: {error}")),
    }
}

fn entity(call: &Call) -> Result<EntityKind, Answer> {
    match call.part("entity") {
        "items" => Ok(EntityKind::Item),
        "users" => Ok(EntityKind::User),
        other => {
            let problem = Problem::new("entity", other, "items or users");
            Err(Answer::refused(
                404,
                "no-such-path",
                "There is no such path",
                &problem,
            ))
        }
    }
}

pub(crate) fn schema(app: &App, call: &Call) -> Answer {
    match entity(call) {
        Ok(of) => answered(app.service.schema(of)),
        Err(refused) => refused,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindRequest {
    #[serde(deserialize_with = "Option::deserialize")]
    kind: Option<AttributeKind>,
}

pub(crate) fn fix_kind(app: &App, call: &Call) -> Answer {
    let request = entity(call).and_then(|of| Ok((of, one::<KindRequest>(app, call)?)));
    match request {
        Ok((of, request)) => {
            let fixed = app.service.fix_kind(of, call.part("attribute"), request.kind);
            answered(fixed.and_then(|()| app.service.schema(of)))
        }
        Err(refused) => refused,
    }
}

pub(crate) fn health(_: &App, _: &Call) -> Answer {
    Answer::json(200, &json!({"status": "ok"}))
}

pub(crate) fn ready(app: &App, _: &Call) -> Answer {
    if app.is_stopping.load(Ordering::SeqCst) {
        return Answer::json(503, &json!({"status": "stopping"}));
    }
    Answer::json(200, &json!({"status": "ok"}))
}

pub(crate) fn metrics(app: &App, _: &Call) -> Answer {
    Answer {
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        ..Answer::text(200, app.numbers.render(&app.service, app.admission.waiting()))
    }
}

pub(crate) fn document(_: &App, _: &Call) -> Answer {
    Answer::json(200, &crate::openapi())
}
