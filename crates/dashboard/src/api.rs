//! The browser of the API.

use crate::layout::page;
use maud::{Markup, html};

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiOperation {
    /// `GET`, `POST`, …
    pub method: String,
    /// With `{names}` for its parts.
    pub path: String,
    /// In a line.
    pub summary: String,
    /// More.
    pub description: String,
    /// A body to try, in JSON.
    pub example: Option<String>,
    /// Form of the body, in JSON.
    pub body: Option<String>,
    /// Status and what it means.
    pub answers: Vec<(String, String)>,
}

/// All that the page shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiPage {
    /// Address of the server, for the lines to try.
    pub base: String,
    /// Operations in order.
    pub operations: Vec<ApiOperation>,
    /// What the style sheet is allowed by.
    pub nonce: String,
}

fn curl(base: &str, operation: &ApiOperation) -> String {
    let mut line = format!("curl -s -X {} '{base}{}'", operation.method, operation.path);
    if let Some(example) = &operation.example {
        line.push_str(&format!(
            " \\\n  -H 'content-type: application/json' \\\n  -d '{}'",
            example.replace('\'', "'\\''")
        ));
    }
    line
}

fn operation(base: &str, operation: &ApiOperation) -> Markup {
    html! {
        details.op id=(format!("{}{}", operation.method, operation.path)) {
            summary { span.verb { (operation.method) } code { (operation.path) } " " span.quiet { (operation.summary) } }
            @if !operation.description.is_empty() { p { (operation.description) } }
            pre { code { (curl(base, operation)) } }
            @if let Some(body) = &operation.body { h2 { "Body" } pre { code { (body) } } }
            table { @for (status, meaning) in &operation.answers { tr { td { (status) } td { (meaning) } } } }
        }
    }
}

/// Renders the page.
pub fn api_page(view: &ApiPage) -> String {
    page(
        "Concierge API",
        &view.nonce,
        &html! {
            h1 { "API" }
            p { "The same as a document: " a href="/openapi.json" { "openapi.json" } "." }
            @for op in &view.operations { (operation(&view.base, op)) }
        },
    )
}
