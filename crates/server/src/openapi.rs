//! The OpenAPI document, made from the table of operations.

use crate::operations::{BodyKind, OPERATIONS, Operation};
use crate::schemas;
use dashboard::ApiOperation;
use serde_json::{Map, Value, json};

/// Refusals that any operation may give.
const COMMON: [(u16, &str); 9] = [
    (400, "A field cannot be"),
    (401, "A key is needed"),
    (403, "The request comes from another site"),
    (408, "It took too long"),
    (413, "The body is too large"),
    (415, "The body is of a type that is not read"),
    (421, "This server is not that host"),
    (
        500,
        "The data folder needs attention, or a defect of this program",
    ),
    (503, "Too much at once, or stopping"),
];

fn meaning(status: u16) -> &'static str {
    match status {
        200 => "Done",
        202 => "Begun",
        303 => "See the page",
        404 => "There is no such thing",
        409 => "Something stands against it now",
        _ => COMMON
            .iter()
            .find(|(known, _)| *known == status)
            .map_or("", |(_, meaning)| meaning),
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn body(operation: &Operation) -> Option<Value> {
    let example = schemas::example(operation.path, operation.method);
    let with_example = |schema: Value| match &example {
        Some(example) => json!({"schema": schema, "example": example}),
        None => json!({"schema": schema}),
    };
    match operation.body {
        BodyKind::None => None,
        BodyKind::One(schema) => Some(
            json!({"required": schema != "TrainRequest", "content": {"application/json": with_example(reference(schema))}}),
        ),
        BodyKind::Rows(schema) => {
            let many = json!({"oneOf": [reference(schema), {"type": "array", "minItems": 1, "items": reference(schema)}]});
            Some(json!({"required": true, "content": {
                "application/json": with_example(many),
                "application/x-ndjson": {"schema": reference(schema)},
            }}))
        }
        BodyKind::Form => Some(json!({"required": true, "content": {
            "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
        }})),
    }
}

fn answers(operation: &Operation) -> Value {
    let mut answers = Map::new();
    for (status, meaning) in COMMON {
        let content = json!({"application/problem+json": {"schema": reference("Problem")}});
        answers.insert(
            status.to_string(),
            json!({"description": meaning, "content": content}),
        );
    }
    for (status, schema) in operation.answers {
        let kind = match *schema {
            "Problem" => "application/problem+json",
            _ => "application/json",
        };
        let mut answer = json!({"description": meaning(*status)});
        if let (false, Some(object)) = (schema.is_empty(), answer.as_object_mut()) {
            let schema = if *schema == "Any" {
                json!({})
            } else {
                reference(schema)
            };
            object.insert("content".to_owned(), json!({kind: {"schema": schema}}));
        }
        answers.insert(status.to_string(), answer);
    }
    Value::Object(answers)
}

fn parts(path: &str) -> Vec<Value> {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect()
}

/// The document.
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let mut told = json!({
            "summary": operation.summary,
            "operationId": format!("{}{}", operation.method.to_lowercase(), operation.path.replace(['/', '{', '}', '.'], "_")),
            "responses": answers(operation),
        });
        if let Some(object) = told.as_object_mut() {
            let parts = parts(operation.path);
            if !parts.is_empty() {
                object.insert("parameters".to_owned(), parts.into());
            }
            if let Some(body) = body(operation) {
                object.insert("requestBody".to_owned(), body);
            }
        }
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.method.to_lowercase(), told);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Concierge",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Items, users and events go in, slates come out.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas::schemas(),
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"key": []}, {"bearer": []}],
    })
}

/// The operations as the API browser shows them.
pub(crate) fn for_page() -> Vec<ApiOperation> {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    let all = schemas::schemas();
    OPERATIONS
        .iter()
        .map(|operation| ApiOperation {
            method: operation.method.to_owned(),
            path: operation.path.to_owned(),
            summary: operation.summary.to_owned(),
            description: match operation.body {
                BodyKind::Rows(_) => {
                    "One object, an array of objects, or an object per line (application/x-ndjson)."
                        .to_owned()
                }
                _ => String::new(),
            },
            example: schemas::example(operation.path, operation.method).map(|example| example.to_string()),
            body: match operation.body {
                BodyKind::One(schema) | BodyKind::Rows(schema) => Some(pretty(&all[schema])),
                _ => None,
            },
            answers: operation
                .answers
                .iter()
                .map(|(status, _)| (status.to_string(), meaning(*status).to_owned()))
                .collect(),
        })
        .collect()
}
