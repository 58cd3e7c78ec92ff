//! Rules over HTTP.

use crate::answer::Answer;
use crate::app::App;
use crate::handlers::{answered, one, rows};
use crate::http::Call;
use assembly::{DryRunRequest, Problem, RuleForm, ServiceError};

pub(crate) fn list(app: &App, _: &Call) -> Answer {
    answered(app.service.rules(None))
}

pub(crate) fn version(app: &App, call: &Call) -> Answer {
    let version = call.part("version");
    match version.parse() {
        Ok(version) => answered(app.service.rules(Some(version))),
        Err(_) => Answer::input(&Problem::new("version", version, "the number of a version")),
    }
}

pub(crate) fn one_rule(app: &App, call: &Call) -> Answer {
    answered(app.service.rule(call.part("name")))
}

/// A batch is put whole or not at all: a rule that cannot be read refuses it.
pub(crate) fn put(app: &App, call: &Call) -> Answer {
    let rows = match rows::<RuleForm>(app, call) {
        Ok(rows) => rows,
        Err(refused) => return refused,
    };
    let is_many = rows.len() > 1;
    let mut forms = Vec::with_capacity(rows.len());
    for (at, row) in rows.into_iter().enumerate() {
        match row {
            Ok(form) => forms.push(form),
            Err(problem) if is_many => {
                let field = format!("[{at}].{}", problem.field);
                return Answer::input(&Problem { field, ..problem });
            }
            Err(problem) => return Answer::input(&problem),
        }
    }
    answered(app.service.put_rules(forms, is_many))
}

pub(crate) fn delete(app: &App, call: &Call) -> Answer {
    answered(app.service.delete_rule(call.part("name")))
}

pub(crate) fn check(app: &App, call: &Call) -> Answer {
    answer(one(app, call), |form| app.service.check_rule(form))
}

pub(crate) fn dry_run(app: &App, call: &Call) -> Answer {
    answer(one(app, call), |request: DryRunRequest| {
        app.service.dry_run(&request)
    })
}

fn answer<T, R: serde::Serialize>(
    read: Result<T, Answer>,
    work: impl FnOnce(T) -> Result<R, ServiceError>,
) -> Answer {
    match read {
        Ok(request) => answered(work(request)),
        Err(refused) => refused,
    }
}
