//! The forms of requests and answers, for the OpenAPI document.

use crate::schemas::{count, flag, number, object, or_null, text, texts};
use serde_json::{Value, json};

fn numbers(what: &str) -> Value {
    json!({"type": "object", "additionalProperties": {"type": "number"}, "description": what})
}

fn range() -> Value {
    object(
        &["low", "high"],
        json!({"low": number("Lower end"), "high": number("Upper end")}),
    )
}

fn choice(of: &[&str], what: &str) -> Value {
    json!({"type": ["string", "null"], "description": format!("{what}: {}", of.join(", "))})
}

/// The form of a slate that is sent.
fn slate_schema() -> Value {
    let maybe = |what: &str| or_null(number(what));
    let position = object(
        &["reward"],
        json!({
            "reward": number("What came of it"),
            "pscore_item_position": maybe("The logging policy's probability of the item here, whatever stands elsewhere"),
            "pi_e_pscore_item_position": maybe("The target's"),
            "pscore_cascade": maybe("The logging policy's probability of the items down to here"),
            "pi_e_pscore_cascade": maybe("The target's"),
            "q_hat": maybe("A guess of the reward of the item here"),
            "pi_e_q_hat": maybe("The mean of such guesses over the target's choice after the same items"),
        }),
    );
    object(
        &["positions"],
        json!({
            "positions": {"type": "array", "items": position, "minItems": 1, "description": "From the top; as many in each slate"},
            "pscore": maybe("The logging policy's probability of the whole slate"),
            "pi_e_pscore": maybe("The target's"),
            "pseudo_inverse_weight": maybe("Weight of pseudo_inverse, where positions depend on each other"),
        }),
    )
}

/// The form of the request.
pub(crate) fn request_schema() -> Value {
    let round = object(
        &["action", "reward"],
        json!({
            "action": text("What was chosen"), "reward": number("What came of it"),
            "propensity": or_null(number("Probability with which it was chosen")),
            "target": numbers("The target's probability by action; 0 for those not named"),
            "logging": numbers("The logging policy's probability by action"),
            "model": numbers("A guess of the reward of every action"),
            "features": {"type": "array", "items": {"type": "number"}, "description": "To learn such guesses from"},
        }),
    );
    let join = object(
        &["placement", "rewards"],
        json!({"placement": text("Decisions of which placement"), "rewards": numbers("Worth by type of event"),
            "window_hours": or_null(number("Hours after a decision in which events count; those of the configuration if absent"))}),
    );
    let mut decisions = object(
        &["join", "positions"],
        json!({"join": join, "policy": or_null(text("greedy, uniform, epsilon:SHARE or softmax:TEMPERATURE over the recorded scores; or else under")),
            "under": {"type": ["object", "null"], "description": "As the body of a replay: a configuration under which every decision is made again up to the choice"},
            "positions": count("Places of each slate, from the top")}),
    );
    decisions["type"] = json!(["object", "null"]);
    object(
        &[],
        json!({
            "rounds": {"type": "array", "items": round, "description": "A log of single actions, instead of slates or decisions"},
            "slates": {"type": "array", "items": slate_schema(), "description": "A log of slates of one length, instead of rounds or decisions"},
            "decisions": decisions,
            "estimators": texts("By name, with a parameter behind a colon if it is not to be tuned; all that fit if absent"),
            "assume_propensities": choice(&["frequencies", "uniform"], "What to assume where rounds have none"),
            "reward_model": choice(&["ridge", "logistic"], "What is learnt where no model is given"),
            "tuning": choice(&["mean_square", "slope"], "How parameters are chosen"),
            "interval": choice(&["bootstrap", "normal", "bernstein", "few_events"], "Which is told first; few_events instead of the first two where few rounds are rewarded"),
            "level": or_null(number("Level of intervals; 0.95 if absent")),
            "reward_range": {"type": ["array", "null"], "items": {"type": "number"}, "description": "Least and most that a reward can be"},
            "support_tolerance": or_null(number("Share of the target's choices that may be without support; 0.001 if absent")),
            "resamples": {"type": ["integer", "null"], "minimum": 2, "description": "Of the bootstrap; 1,000 if absent"},
            "seed": count("Seed"),
        }),
    )
}

/// The form of the answer.
pub(crate) fn report_schema() -> Value {
    let mut bernstein = range();
    bernstein["properties"]["guaranteed"] = flag("Whether it holds for certain");
    let intervals = object(
        &["standard_error", "bootstrap", "normal", "bernstein"],
        json!({"standard_error": number("Of the linearised estimate"), "bootstrap": range(), "normal": range(), "bernstein": bernstein,
            "few_events": {"type": ["object", "null"], "description": "For few rewarded rounds: low, high, how many events, how many equal ones they are worth; none without weights"}}),
    );
    let estimate = object(
        &[
            "estimator",
            "value",
            "low",
            "high",
            "interval",
            "effective_sample_size",
            "propensities",
            "intervals",
            "warnings",
        ],
        json!({
            "interval": text("Which interval low and high are"),
            "estimator": text("As it was asked for"), "value": number("The estimate"),
            "low": number("Lower end of the interval"), "high": number("Upper end"),
            "effective_sample_size": number("Equal rounds that are worth as much"),
            "propensities": or_null(text("logged, estimated, assumed or missing; null where none were used")),
            "intervals": intervals, "interval_of": or_null(text("The estimator without bias that the intervals are of")),
            "sampling": or_null(range()),
            "parameter": {"type": ["object", "null"]}, "weights": {"type": ["object", "null"]},
            "warnings": texts("What to know before relying on it"),
        }),
    );
    let refused = object(
        &["estimator", "reason"],
        json!({"estimator": text("As it was asked for"), "reason": text("Why it would not answer")}),
    );
    object(
        &[
            "rounds",
            "actions",
            "logged_value",
            "propensities",
            "level",
            "interval",
            "seed",
            "estimates",
            "refused",
        ],
        json!({
            "rounds": count("Rounds, or slates"), "actions": count("Actions, or positions"),
            "logged_value": number("What the logging policy earned a round"),
            "propensities": text("logged, estimated, assumed or missing"),
            "reward_model": or_null(text("Where it comes from")), "level": number("Of intervals"),
            "interval": text("Which one is told first"), "seed": count("Seed"),
            "support": {"type": ["object", "null"], "description": "What the log can say about the target"},
            "estimates": {"type": "array", "items": estimate}, "refused": {"type": "array", "items": refused},
            "join": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "What was joined and left out"},
            "short": count("Decisions with fewer places"), "cut": count("Decisions without the scores of all candidates"),
            "notes": texts("What to know of the request"),
            "gone": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "Decisions that cannot be made again, by the input that is gone"},
        }),
    )
}
