//! Forms of what is sent and answered, in JSON Schema. Tests hold real answers against them.

use serde_json::{Value, json};

pub(crate) fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

fn list(of: &str) -> Value {
    json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{of}")}})
}

fn of(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn id(what: &str) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 256, "description": what})
}

pub(crate) fn text(what: &str) -> Value {
    json!({"type": "string", "description": what})
}

pub(crate) fn number(what: &str) -> Value {
    json!({"type": "number", "description": what})
}

pub(crate) fn count(what: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "description": what})
}

pub(crate) fn flag(what: &str) -> Value {
    json!({"type": "boolean", "description": what})
}

pub(crate) fn or_null(mut schema: Value) -> Value {
    if let Some(kind) = schema.get("type").cloned() {
        schema["type"] = json!([kind, "null"]);
    }
    schema
}

pub(crate) fn texts(what: &str) -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": what})
}

fn counts(what: &str) -> Value {
    json!({"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}, "description": what})
}

/// A body to try.
pub(crate) fn example(path: &str, method: &str) -> Option<Value> {
    Some(match (method, path) {
        ("POST", "/v1/events") => json!({"user_id": "someone-new", "item_id": "1", "event_type": "like"}),
        ("PUT", "/v1/items") => {
            json!({"item_id": "new-film", "attributes": {"title": "A New Film", "genres": ["Comedy"]}})
        }
        ("PUT", "/v1/users") => json!({"user_id": "someone-new", "attributes": {"country": "CH"}}),
        ("POST", "/v1/recommend") => json!({"placement": "home", "user_id": "someone-new", "n": 5}),
        ("POST", "/v1/page") => json!({"page": "home", "user_id": "someone-new"}),
        ("POST", "/v1/similar") => json!({"item_id": "1", "n": 5}),
        ("POST", "/v1/rank") => json!({"candidates": ["1", "2", "3"], "user_id": "someone-new"}),
        ("PUT", "/v1/rules") => {
            json!({"name": "no-horror-at-noon", "kind": "exclude", "reason": "not over lunch",
            "where": "now.getHours() == 12 && \"Horror\" in item.genres"})
        }
        ("POST", "/v1/rules/check") => {
            json!({"name": "newer", "kind": "boost", "reason": "newer films first",
            "where": "item.year >= 2000", "strength": 0.5})
        }
        ("POST", "/v1/rules/dry-run") => json!({"decisions": 100, "rules": [
            {"name": "no-horror", "kind": "exclude", "reason": "a try", "where": "\"Horror\" in item.genres"}]}),
        ("POST", "/v1/ope") => json!({"estimators": ["ips", "snips"], "rounds": [
            {"action": "a", "reward": 0, "propensity": 0.8, "target": {"b": 1}},
            {"action": "b", "reward": 1, "propensity": 0.2, "target": {"b": 1}},
        ]}),
        ("POST", "/v1/decisions/{id}/replay") => {
            json!({"placement": {"policy": {"name": "softmax", "temperature": 0.5}}})
        }
        ("POST", "/v1/train") => json!({"wait": false}),
        ("PUT", "/v1/chaos") => json!({"ranker": {"fail": true}, "index": {"slow_ms": 20}}),
        ("POST", "/v1/models/rankers/{placement}") => json!({"action": "promote", "version": 1}),
        ("PUT", "/v1/schema/{entity}/{attribute}") => json!({"kind": "tags"}),
        _ => return None,
    })
}

fn rule() -> Value {
    object(
        &["name", "kind", "reason"],
        json!({
            "name": text("Its name: lower-case letters, digits, - and _"),
            "kind": {"enum": ["filter", "exclude", "boost", "bury", "pin", "quota", "frequency_cap"]},
            "where": text("For which items, users and circumstances: an expression in CEL that is true or false; true if absent"),
            "reason": text("Why, for the record and for people"),
            "placements": texts("Where it applies; everywhere if empty"),
            "from": of("Moment"), "until": of("Moment"),
            "priority": {"type": "integer", "description": "Higher ones come first"},
            "enabled": flag("Whether it applies at all"),
            "strength": or_null(number("Boost, bury: by how many standard deviations of the candidates' scores; 1 if absent")),
            "slot": {"type": ["integer", "null"], "minimum": 1, "description": "Pin: at which place"},
            "items": texts("Pin: which items, the most wanted first"),
            "min": or_null(count("Quota: at least so many")),
            "max": {"type": ["integer", "null"], "minimum": 1, "description": "Quota: at most so many"},
            "max_share": or_null(number("Quota: the same as a share of the slate")),
            "per": or_null(text("Quota, frequency cap: counted for each value of this attribute apart")),
            "times": {"type": ["integer", "null"], "minimum": 1, "description": "Frequency cap: shown so often at most"},
            "window_hours": or_null(number("Frequency cap: within so many hours")),
            "event_types": texts("Frequency cap: events that count; those of the role exposure if empty"),
        }),
    )
}

fn requests() -> Value {
    let session = object(
        &["item_id"],
        json!({
            "item_id": id("With what"),
            "event_type": or_null(text("Which kind of act; click if absent")),
            "timestamp": of("Moment"),
            "value": or_null(number("How much")),
        }),
    );
    json!({
        "Moment": {"type": ["number", "string", "null"], "description": "Unix seconds or milliseconds, RFC 3339, or a date"},
        "Attributes": {"type": "object", "additionalProperties": of("Attribute")},
        "Attribute": {"type": ["boolean", "number", "string", "array", "object"],
            "description": "A flag, a number, text, {lat, lon}, or a list of numbers or of texts"},
        "Event": object(&["user_id", "item_id", "event_type"], json!({
            "event_id": or_null(id("Makes a retry safe; derived from the content if absent")),
            "user_id": id("Who"), "item_id": id("With what"), "event_type": id("Which kind of act"),
            "timestamp": of("Moment"), "value": or_null(number("How much")),
            "session_id": or_null(id("Within which run of activity")),
            "decision_id": or_null(id("In answer to which decision")), "context": of("Attributes"),
        })),
        "Item": object(&["item_id"], json!({
            "item_id": id("Its id"), "attributes": of("Attributes"),
            "hidden": flag("Hidden items are never shown"), "added_at": of("Moment"),
        })),
        "User": object(&["user_id"], json!({"user_id": id("Their id"), "attributes": of("Attributes")})),
        "SessionEvent": session,
        "Filter": {"type": "object", "description":
            "One of all, any_of (lists of filters), not (a filter), or an attribute with equals, any, none, min, max or exists"},
        "RecommendRequest": object(&["placement"], json!({
            "placement": text("Which placement"), "user_id": or_null(id("For whom")),
            "session": list("SessionEvent"), "attributes": of("Attributes"), "context": of("Attributes"),
            "item_id": or_null(id("What the placement is about")),
            "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 1000},
            "filter": of("Filter"), "exclude": texts("Items not to show"),
            "candidates": {"type": ["array", "null"], "items": {"type": "string"}, "description": "Only these"},
            "proposed": {"type": "array", "maxItems": 10000, "description": "Candidates besides those of the sources: ids, best first, or all with scores",
                "items": {"oneOf": [id("Which"), of("ScoredItem")]}},
            "relevance_min": {"type": ["number", "null"], "minimum": 0, "maximum": 1,
                "description": "Items that score less than this share of the way from the weakest candidate to the best are left out"},
            "explain": flag("Whether to take every score apart"),
            "seed": {"type": ["integer", "null"], "minimum": 0},
            "preview": flag("Only a look: nothing is recorded, counted or learnt from, and there is no decision_id"),
        })),
        "ScoredItem": object(&["item_id", "score"], json!({
            "item_id": id("Which"), "score": number("How good, in any unit; higher is better"),
        })),
        "PageRequest": object(&["page"], json!({
            "page": text("Which page"), "user_id": or_null(id("For whom")), "session": list("SessionEvent"),
            "attributes": of("Attributes"), "context": of("Attributes"),
            "rows": {"type": ["integer", "null"], "minimum": 1, "maximum": 20, "description": "Rows at most; as configured if absent"},
            "exclude": texts("Items not to show in any row"), "explain": flag("Whether to take every score apart"),
            "seed": {"type": ["integer", "null"], "minimum": 0},
        })),
        "SimilarRequest": object(&["item_id"], json!({
            "item_id": id("Like which"), "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 1000},
            "model": or_null(text("Whose notion; the ranking model's if absent")), "filter": of("Filter"),
        })),
        "RankRequest": object(&["candidates"], json!({
            "candidates": texts("Items to order"), "placement": or_null(text("Whose ranker; home if absent")),
            "user_id": or_null(id("For whom")), "session": list("SessionEvent"),
            "explain": flag("Whether to take every score apart"),
        })),
        "ReplayRequest": object(&[], json!({
            "placement": {"type": ["object", "null"], "description": "Keys of the placement's configuration to put in place of those of then"},
            "today": flag("Whether today's models, catalogue and configuration answer"),
            "rules": {"type": ["integer", "null"], "minimum": 0, "description": "The stored rules of this version; 0 for none"},
            "seed": {"type": ["integer", "null"], "minimum": 0, "description": "Another seed"},
        })),
        "Rule": rule(),
        "DryRunRequest": object(&[], json!({
            "rules": list("Rule"), "decisions": {"type": ["integer", "null"], "minimum": 1, "maximum": 100_000},
            "placement": or_null(text("Only decisions of this placement")),
        })),
        "OpeRequest": crate::ope::request_schema(),
        "TrainRequest": object(&[], json!({"wait": flag("Answer when it is done")})),
        "Fault": object(&[], json!({
            "fail": flag("It fails"), "slow_ms": count("It takes this much longer, milliseconds, at most 10,000"),
        })),
        "Faults": object(&[], json!({"ranker": of("Fault"), "index": of("Fault"), "store": of("Fault")})),
        "RankerRequest": object(&["action"], json!({
            "action": {"enum": ["train", "promote", "rollback"]},
            "version": count("With promote: which version"),
            "wait": flag("With train: answer when it is done"),
        })),
        "KindRequest": object(&["kind"], json!({"kind": {"enum":
            ["category", "tags", "number", "text", "timestamp", "geo", "embedding", "ids", null]}})),
    })
}

fn reports() -> Value {
    json!({
        "Problem": {"type": "object", "required": ["type", "title", "status", "detail", "who"],
            "additionalProperties": false, "properties": {
                "type": text("Kind of problem"), "title": text("The same in words"), "status": count("HTTP status"),
                "detail": text("This one in words"),
                "who": {"enum": ["caller", "operator", "us"], "description": "Who must act"},
                "field": text("Which field"), "got": text("What was there"), "expected": text("What should have been"),
            }},
        "RowProblem": object(&["row", "field", "got", "expected"], json!({
            "row": count("Row, from 0"), "field": text("Which field"), "got": text("What was there"),
            "expected": text("What should have been"),
        })),
        "IngestReport": {"type": "object", "required": ["accepted", "duplicate", "rejected", "sequence"],
            "additionalProperties": false, "properties": {
                "accepted": count("Rows stored"), "duplicate": count("Rows already there"), "rejected": list("RowProblem"),
                "sequence": count("A slate with at least this sequence has seen the batch"),
                "receipts": {"type": "array", "description": "One per row, for batches of up to 1,000", "items": object(&["status", "sequence"], json!({
                    "status": {"enum": ["accepted", "duplicate", "rejected"]}, "sequence": {"type": ["integer", "null"]},
                }))},
            }},
        "WriteReport": object(&["created", "updated", "unchanged", "rejected"], json!({
            "created": count("New ones"), "updated": count("Changed ones"), "unchanged": count("Put again as they were"),
            "rejected": list("RowProblem"),
        })),
        "StoredItem": object(&["item_id", "attributes", "hidden", "added_at"], json!({
            "item_id": id("Its id"), "attributes": of("Attributes"), "hidden": flag("Whether it is never shown"),
            "added_at": {"type": ["integer", "null"], "description": "Milliseconds since 1970"},
        })),
        "UserView": object(&["user_id", "attributes", "recent"], json!({
            "user_id": id("Their id"), "attributes": of("Attributes"),
            "recent": {"type": "array", "items": object(&["item_id", "event_type", "timestamp", "value"], json!({
                "item_id": id("With what"), "event_type": id("Which kind of act"), "timestamp": {"type": "integer"},
                "value": {"type": ["number", "null"]},
            }))},
        })),
        "ErasureReport": object(&["user_id", "events", "decisions", "attributes"], json!({
            "user_id": id("Whose"), "events": count("Events erased"), "decisions": count("Decision records erased"),
            "attributes": flag("Whether there were attributes"),
        })),
        "Rules": object(&["version", "rules"], json!({"version": count("Version of the set"), "rules": list("Rule")})),
        "RulesReport": object(&["version", "created", "updated", "unchanged", "deleted"], json!({
            "version": count("Version now in force"), "created": count("New ones"), "updated": count("Replaced ones"),
            "unchanged": count("Put again as they were"), "deleted": count("Taken out"),
        })),
        "RuleCheck": object(&["rule", "attributes", "items"], json!({
            "rule": of("Rule"), "attributes": texts("Attributes that it looks at"),
            "items": count("Items for which its expression is true, for nobody in particular"),
        })),
        "DryRunReport": object(&["decisions", "slates_changed", "rules", "examples"], json!({
            "decisions": count("Decisions looked at"), "slates_changed": count("Those whose slate would have been another one"),
            "rules": {"type": "object", "additionalProperties": object(
                &["applied", "shown_removed", "considered_removed", "rescored", "pinned", "passed_over"], json!({
                    "applied": count("Decisions to which it applies"), "shown_removed": count("Items shown that it would have removed"),
                    "considered_removed": count("Candidates that it would have removed"), "rescored": count("Scores that it would have changed"),
                    "pinned": count("Items put at their place"), "passed_over": count("Items passed over for want of room"),
                }))},
            "examples": {"type": "array", "items": object(&["decision_id", "item_id", "rank", "rule", "reason"], json!({
                "decision_id": id("From which decision"), "item_id": id("Which"), "rank": count("Place at which it was shown"),
                "rule": text("By which rule"), "reason": text("Why"),
            }))},
        })),
        "Health": object(&["status"], json!({"status": {"enum": ["ok", "stopping"]}})),
        "ReplayReport": replay_report(),
        "OpeReport": crate::ope::report_schema(),
        "TrainBegun": object(&["status", "see"], json!({"status": {"enum": ["begun"]}, "see": text("Where to look")})),
        "TrainReport": object(&["bundle", "models", "events", "users", "items", "seconds"], json!({
            "bundle": count("Number of the published bundle"), "events": count("Events that counted"),
            "users": count("Users with such events"), "items": count("Items"), "seconds": number("How long it took"),
            "models": {"type": "array", "items": object(&["name", "seconds", "bytes"], json!({
                "name": text("Learner"), "seconds": number("How long it took"), "bytes": count("Bytes held"),
            }))},
        })),
    })
}

fn replay_report() -> Value {
    let rank = |what: &str| json!({"type": ["integer", "null"], "minimum": 1, "description": what});
    let maybe = |what: &str| or_null(number(what));
    let change = object(
        &[
            "item_id",
            "rank_before",
            "rank_after",
            "score_before",
            "score_after",
            "propensity_before",
            "propensity_after",
        ],
        json!({
            "item_id": id("Which"), "rank_before": rank("Place in the recorded slate"), "rank_after": rank("Place in the other one"),
            "score_before": maybe("Recorded"), "score_after": maybe("In the other one"),
            "propensity_before": maybe("Recorded"), "propensity_after": maybe("In the other one"),
        }),
    );
    let what_if = object(
        &["slate", "entered", "left", "moved"],
        json!({
            "slate": {"type": "array", "items": change}, "entered": count("Items that the recorded slate lacks"),
            "left": count("Items that the other slate lacks"), "moved": count("Items in both at another place"),
        }),
    );
    let part = object(
        &["part", "same"],
        json!({"part": text("Part of the record"), "same": flag("To the last bit")}),
    );
    let difference = object(
        &["at", "recorded", "replayed"],
        json!({"at": text("Path in the record"), "recorded": {}, "replayed": {}}),
    );
    let mut report = object(
        &[
            "decision_id",
            "identical",
            "parts",
            "differences",
            "code_then",
            "code_now",
            "decision",
        ],
        json!({
            "decision_id": id("Which"), "identical": flag("Whether the record came out the same to the last bit"),
            "parts": {"type": "array", "items": part}, "differences": {"type": "array", "items": difference},
            "code_then": text("Version of the program that decided"), "code_now": text("Version of this one"),
            "decision": {"type": "object", "description": "The record as it came out"},
        }),
    );
    report["properties"]["what_if"] = what_if;
    report
}

fn views() -> Value {
    let shown = json!({"type": "object", "additionalProperties": false,
    "required": ["item_id", "rank", "score", "propensity", "sources", "reasons"], "properties": {
        "item_id": id("Which"), "rank": {"type": "integer", "minimum": 1}, "score": number("Comparable within the slate"),
        "propensity": {"type": "number", "minimum": 0, "maximum": 1},
        "position_propensity": {"type": "number", "minimum": 0, "maximum": 1}, "sources": texts("Who proposed it"),
        "reasons": texts("Why, for a person"), "attributes": of("Attributes"),
        "explanation": {"type": "array", "items": object(&["model", "kind", "of", "value"], json!({
            "model": text("Who said so"), "kind": {"enum": ["history", "feature", "source", "base", "rule", "exploration"]}, "of": text("Of what"),
            "value": number("They sum to the score"),
        }))},
    }});
    let degraded = json!({"type": "array", "items": object(&["stage", "reason"], json!({
        "stage": text("Where"), "reason": text("Why"),
    }))});
    let degraded_too = degraded.clone();
    let slate = json!({
            "decision_id": id("To be sent with what comes of it; absent in a preview"), "items": list("Shown"),
            "snapshot": text("Version of what answered"), "sequence": count("Last event that the person's state included"),
            "policy": object(&["name", "version", "slate_propensity"], json!({
                "name": text("Who chose"), "version": text("Code and settings"),
                "slate_propensity": number("Probability of this slate in this order"),
            })), "seed": count("Source of all randomness"),
            "arms": {"type": "object"}, "degraded": degraded, "timings_us": counts("Microseconds by stage"),
    });
    let of_slate = [
        "items",
        "snapshot",
        "sequence",
        "arms",
        "policy",
        "seed",
        "degraded",
        "timings_us",
    ];
    let mut row = json!({"row": text("Which row of the configuration"), "title": text("Its title"),
        "item_id": id("The item that it is about"), "value": number("What it is worth, by which rows are ordered")});
    if let (Some(row), Some(slate)) = (row.as_object_mut(), slate.as_object()) {
        row.extend(slate.clone());
    }
    json!({
        "Shown": shown,
        "Slate": object(&of_slate, slate),
        "Page": object(&["page_id", "rows", "left_out", "snapshot", "degraded"], json!({
            "page_id": id("Shared by the decisions of its rows"),
            "rows": {"type": "array", "items": object(&["row", "title", "value", "decision_id", "items"], row)},
            "left_out": {"type": "array", "items": object(&["row", "reason"], json!({
                "row": text("Which row of the configuration"), "item_id": id("The item that it would have been about"),
                "reason": text("Why it is not there"),
            }))},
            "snapshot": text("Version of what answered"), "degraded": degraded_too,
        })),
        "Similar": object(&["items", "snapshot"], json!({"items": list("Shown"), "snapshot": text("Version of what answered")})),
        "DecisionPage": object(&["decisions", "next"], json!({
            "decisions": {"type": "array", "items": object(
                &["decision_id", "now", "placement", "user_id", "policy", "slate_propensity", "shown", "degraded"],
                json!({
                    "decision_id": id("Which"), "now": {"type": "integer", "description": "Milliseconds since 1970"},
                    "placement": text("Of which placement"), "user_id": {"type": ["string", "null"]}, "policy": {"type": ["string", "null"]},
                    "slate_propensity": {"type": ["number", "null"]}, "shown": texts("Items, from the top"),
                    "degraded": flag("Whether anything did not go as configured"),
                }),
            )},
            "next": {"type": ["string", "null"], "description": "For `after` of the next page"},
        })),
        "Decision": {"type": "object", "required": ["decision_id", "now", "placement", "snapshot", "sequence", "seed",
            "config_hash", "history", "stages", "considered", "removals", "shown", "degraded", "arms", "timings_us"]},
        "Status": {"type": "object", "required": ["version", "snapshot", "sequence", "state_sequence", "absorbed_sequence",
            "events", "items", "users", "hidden_items", "models", "staleness", "staleness_max", "trained_at", "training", "last_training_error",
            "unknown_event_types", "decisions", "decision_bytes", "outcomes", "placements", "warnings"]},
        "Models": object(&["snapshot", "trained_at", "training", "last_training_error", "in_service", "learners", "rankers"], json!({
            "snapshot": text("Version"), "trained_at": {"type": ["integer", "null"]}, "training": flag("Whether one is under way"),
            "last_training_error": {"type": ["string", "null"]},
            "in_service": {"type": "array", "items": object(&["name", "bytes"], json!({"name": text("Name"), "bytes": count("Bytes")}))},
            "learners": {"type": "array", "items": object(&["name", "summary"], json!({"name": text("Name"), "summary": text("What it does")}))},
            "rankers": {"type": "array", "items": {"type": "object", "required": ["placement", "version", "in_service"], "properties": {
                "placement": text("Whose"), "version": count("Number, rising"), "in_service": flag("Whether it serves"),
                "from": {"enum": ["decisions", "events"]}, "trained_at": {"type": "integer"}, "weights_version": count("Number of the set of weights"),
                "learning": {"type": "object"}, "comparison": {"type": ["object", "null"]},
            }}},
        })),
        "RankerAnswer": {"type": "object", "required": ["placement", "version"], "properties": {
            "placement": text("Whose"), "version": count("The version in question; 0 for none: the model ranks"), "promoted": flag("Whether it serves now, after a training"),
        }},
        "Placements": {"type": "object", "additionalProperties": {"type": "object"}},
        "Schema": {"type": "object", "additionalProperties": object(&["kind", "origin", "present"], json!({
            "kind": text("How it is read"), "origin": {"enum": ["inferred", "fixed"]}, "present": count("Entities that have it"),
        }))},
    })
}

/// All forms by name.
pub(crate) fn schemas() -> Value {
    let mut all = requests();
    if let Some(all) = all.as_object_mut() {
        for part in [reports(), views()] {
            if let Value::Object(part) = part {
                all.extend(part);
            }
        }
    }
    all
}
