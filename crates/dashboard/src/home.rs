//! The first page: someone, what is shown to them, why, and what they do about it.

use crate::layout::page;
use maud::{Markup, html};

/// Who recommends are for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// Their id.
    pub id: String,
    /// Events kept of them.
    pub events: usize,
}

/// Who proposed an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(pub String);

/// One item of a slate.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Card {
    /// Which.
    pub item_id: String,
    /// What to call it.
    pub title: String,
    /// What else is known of it, in a line.
    pub about: String,
    /// Place, from 1.
    pub rank: u32,
    /// Score.
    pub score: f32,
    /// Why.
    pub reasons: Vec<String>,
    /// Who proposed it.
    pub sources: Vec<Source>,
    /// True if it was not on the slate before the last act.
    pub is_new: bool,
    /// Id of the decision that it is of, where that is not the one of the page.
    pub decision_id: String,
    /// Places that it rose since the last act; negative if it fell.
    pub risen: i32,
}

/// A row of a page of several.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PageRow {
    /// Its title.
    pub title: String,
    /// Its items.
    pub slate: Vec<Card>,
}

/// Something that a person did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recent {
    /// Kind of act.
    pub event_type: String,
    /// With what.
    pub title: String,
    /// When, in words.
    pub when: String,
}

/// An item that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Which.
    pub item_id: String,
    /// What to call it.
    pub title: String,
    /// What else is known of it.
    pub about: String,
}

/// Something that can be done with an item by a click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Type of the event.
    pub event_type: &'static str,
    /// Its value, if it needs one.
    pub value: Option<&'static str>,
    /// On the button.
    pub label: &'static str,
}

/// All that the page shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HomePage {
    /// Who is looked at; nobody if empty.
    pub user: Person,
    /// People to choose from.
    pub people: Vec<Person>,
    /// Someone picked by chance, to surprise.
    pub surprise: Option<String>,
    /// Placements to choose from.
    pub placements: Vec<String>,
    /// The one shown.
    pub placement: String,
    /// The slate.
    pub slate: Vec<Card>,
    /// The rows, where a page of several is shown in place of a slate.
    pub rows: Vec<PageRow>,
    /// What the person did lately, newest first.
    pub recent: Vec<Recent>,
    /// What was searched for.
    pub query: String,
    /// What was found.
    pub found: Vec<Found>,
    /// What a click can say.
    pub acts: Vec<Act>,
    /// Id of the decision, if one was made.
    pub decision_id: String,
    /// Version of what answered.
    pub snapshot: String,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// What should be said.
    pub notices: Vec<String>,
    /// Figures of the whole: name and value.
    pub figures: Vec<(String, String)>,
    /// What the style sheet is allowed by.
    pub nonce: String,
}

fn act_form(view: &HomePage, item_id: &str, decision_id: &str, act: &Act) -> Markup {
    let rows = view.rows.iter().flat_map(|row| &row.slate);
    let before: Vec<&str> = view
        .slate
        .iter()
        .chain(rows)
        .map(|card| card.item_id.as_str())
        .collect();
    let decision_id = if decision_id.is_empty() {
        &view.decision_id
    } else {
        decision_id
    };
    html! {
        form method="post" action="/act" {
            input type="hidden" name="user" value=(view.user.id);
            input type="hidden" name="placement" value=(view.placement);
            input type="hidden" name="item" value=(item_id);
            input type="hidden" name="type" value=(act.event_type);
            input type="hidden" name="decision" value=(decision_id);
            input type="hidden" name="before" value=(before.join("\n"));
            @if let Some(value) = act.value { input type="hidden" name="value" value=(value); }
            button type="submit" data-act=(act.event_type) data-item=(item_id) { (act.label) }
        }
    }
}

fn acts(view: &HomePage, item_id: &str, decision_id: &str) -> Markup {
    html! { div.acts { @if !view.user.id.is_empty() { @for act in &view.acts { (act_form(view, item_id, decision_id, act)) } } } }
}

fn card(view: &HomePage, card: &Card) -> Markup {
    html! {
        li.card.new[card.is_new] data-item=(card.item_id) {
            div.place { (card.rank) }
            div {
                div.title { (card.title) }
                @if !card.about.is_empty() { div.meta { (card.about) } }
                @for reason in &card.reasons { p.why { (reason) } }
                div.chips {
                    @if card.is_new { span.chip.fresh { "new" } }
                    @if card.risen > 0 { span.chip.moved { "▲ " (card.risen) } }
                    @if card.risen < 0 { span.chip.moved { "▼ " (-card.risen) } }
                    @for source in &card.sources { span.chip.source { (source.0) } }
                    span.chip { "score " (format!("{:.3}", card.score)) }
                }
            }
            (acts(view, &card.item_id, &card.decision_id))
        }
    }
}

fn choose(view: &HomePage) -> Markup {
    html! {
        section.panel {
            form.row method="get" action="/" {
                label for="user" { "Someone" }
                input id="user" name="user" value=(view.user.id) list="people" placeholder="an id, known or made up" maxlength="256" autocomplete="off";
                datalist id="people" { @for person in &view.people { option value=(person.id) { (person.events) " events" } } }
                @if view.placements.len() > 1 {
                    label for="placement" { "Placement" }
                    select id="placement" name="placement" {
                        @for name in &view.placements { option value=(name) selected[*name == view.placement] { (name) } }
                    }
                }
                button.main type="submit" { "Show" }
            }
            p.quiet {
                "For example "
                @for (at, person) in view.people.iter().take(6).enumerate() {
                    @if at > 0 { ", " }
                    a href={ "/?user=" (encoded(&person.id)) } { (person.id) }
                }
                @if let Some(person) = &view.surprise { " · " a id="surprise" href={ "/?user=" (encoded(person)) } { "surprise me" } }
                " · or invent someone: they are served from their first click."
            }
        }
    }
}

fn side(view: &HomePage) -> Markup {
    html! {
        aside {
            @if !view.user.id.is_empty() {
                section.panel {
                    h2 { "What " (view.user.id) " did" }
                    @if view.recent.is_empty() { p.quiet { "Nothing yet. Click something on the list, or find something below." } }
                    ul.plain id="recent" {
                        @for event in &view.recent { li { strong { (event.event_type) } " " (event.title) div.quiet { (event.when) } } }
                    }
                }
                section.panel {
                    h2 { "Find something" }
                    form.row id="find" method="get" action="/" {
                        input type="hidden" name="user" value=(view.user.id);
                        input type="hidden" name="placement" value=(view.placement);
                        input name="q" value=(view.query) placeholder="words of a title" aria-label="words of a title" maxlength="200";
                        button type="submit" { "Find" }
                    }
                    @if !view.query.is_empty() && view.found.is_empty() { p.quiet { "Nothing found." } }
                    ul.plain id="found" {
                        @for found in &view.found {
                            li { div.title { (found.title) } div.meta { (found.about) } (acts(view, &found.item_id, "")) }
                        }
                    }
                }
            }
            section.panel {
                h2 { "How things stand" }
                table { @for (name, value) in &view.figures { tr { td { (name) } td { (value) } } } }
            }
        }
    }
}

/// Renders the page.
pub fn home_page(view: &HomePage) -> String {
    let of = if view.user.id.is_empty() {
        "anyone".to_owned()
    } else {
        view.user.id.clone()
    };
    page(
        "Concierge",
        &view.nonce,
        &html! {
            @for notice in &view.notices { p.notice role="status" { (notice) } }
            (choose(view))
            div.columns {
                section {
                    h1 { "For " (of) }
                    @for row in &view.rows {
                        section.shelf {
                            h2.shelf-title { (row.title) }
                            ol.slate { @for item in &row.slate { (card(view, item)) } }
                        }
                    }
                    @if view.slate.is_empty() && view.rows.is_empty() { p.panel { "There is nothing to show: no item of the catalogue may be shown." } }
                    ol.slate id="slate" { @for item in &view.slate { (card(view, item)) } }
                    @if !view.decision_id.is_empty() {
                        p.quiet {
                            "Decision " a href={ "/v1/decisions/" (encoded(&view.decision_id)) } { (view.decision_id) }
                            " · snapshot " (view.snapshot) " · " (format!("{:.1} ms", view.took_us as f64 / 1000.0))
                        }
                    }
                }
                (side(view))
            }
        },
    )
}

/// A text as part of a query or a path.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_escaped_wherever_it_stands() {
        let evil = "\"><script>alert(1)</script>&'".to_owned();
        let view = HomePage {
            user: Person {
                id: evil.clone(),
                events: 1,
            },
            people: vec![Person {
                id: evil.clone(),
                events: 2,
            }],
            placements: vec![evil.clone(), "home".into()],
            placement: evil.clone(),
            slate: vec![Card {
                item_id: evil.clone(),
                title: evil.clone(),
                about: evil.clone(),
                reasons: vec![evil.clone()],
                sources: vec![Source(evil.clone())],
                is_new: true,
                ..Card::default()
            }],
            rows: vec![PageRow {
                title: evil.clone(),
                slate: vec![Card {
                    title: evil.clone(),
                    decision_id: evil.clone(),
                    ..Card::default()
                }],
            }],
            recent: vec![Recent {
                event_type: evil.clone(),
                title: evil.clone(),
                when: evil.clone(),
            }],
            query: evil.clone(),
            found: vec![Found {
                item_id: evil.clone(),
                title: evil.clone(),
                about: evil.clone(),
            }],
            acts: vec![Act {
                event_type: "click",
                value: Some("1"),
                label: "Click",
            }],
            decision_id: evil.clone(),
            snapshot: evil.clone(),
            notices: vec![evil.clone()],
            figures: vec![(evil.clone(), evil.clone())],
            ..HomePage::default()
        };
        let html = home_page(&view);
        assert!(!html.contains("<script"), "{html}");
        assert!(html.matches("&lt;script&gt;").count() > 15);
        assert!(!crate::message_page(&evil, &evil, "n").contains("<script"));
    }

    #[test]
    fn a_page_for_nobody_offers_no_clicks() {
        let view = HomePage {
            slate: vec![Card {
                item_id: "a".into(),
                title: "A".into(),
                rank: 1,
                ..Card::default()
            }],
            acts: vec![Act {
                event_type: "click",
                value: None,
                label: "Click",
            }],
            ..HomePage::default()
        };
        let html = home_page(&view);
        assert!(html.contains("For anyone") && !html.contains("/act"));
    }
}
