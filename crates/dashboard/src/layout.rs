//! What all pages share.

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// A whole page. `nonce` is what the style sheet is allowed by.
pub(crate) fn page(title: &str, nonce: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                header.bar {
                    a.brand href="/" { "Concierge" }
                    nav { a href="/" { "Try it" } a href="/docs" { "API" } a href="/metrics" { "Metrics" } }
                }
                main { (body) }
            }
        }
    };
    page.into_string()
}

/// A page that says one thing, for errors.
pub fn message_page(title: &str, text: &str, nonce: &str) -> String {
    page(
        title,
        nonce,
        &html! {
            section.panel { h1 { (title) } p { (text) } p { a href="/" { "Back to the first page" } } }
        },
    )
}
