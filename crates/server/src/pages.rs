//! The pages: from the service to what the dashboard shows.

use crate::answer::Answer;
use crate::app::App;
use crate::http::Call;
use crate::openapi;
use assembly::{
    EventInput, PageRequest, PageResponse, Problem, RecommendRequest, RecommendResponse, ServiceError,
};
use dashboard::{Act, ApiPage, Card, Found, HomePage, PageRow, Person, Recent, Source};
use domain::{Attributes, RawAttribute, Timestamp};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Longest query or form that a page takes, bytes.
const PAIRS_MAX: usize = 64 * 1024;
/// Stands before the name of a page where it is chosen like a placement.
const PAGE: &str = "page:";
/// People among whom one is picked to surprise.
const SAMPLE: usize = 64;

fn acts(app: &App) -> Vec<Act> {
    let all = [
        Act {
            event_type: "click",
            value: None,
            label: "Click",
        },
        Act {
            event_type: "like",
            value: None,
            label: "Like",
        },
        Act {
            event_type: "purchase",
            value: None,
            label: "Buy",
        },
        Act {
            event_type: "dismiss",
            value: None,
            label: "Not for me",
        },
    ];
    let configured = &app.service.config().event_types;
    all.into_iter()
        .filter(|act| configured.get(act.event_type).is_some())
        .collect()
}

/// Hard to guess, and new every time.
fn nonce() -> String {
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    pairs
        .iter()
        .find(|(known, _)| known == name)
        .map_or("", |(_, value)| value)
}

/// What is known of an item besides its title, in a line.
fn about(attributes: &Attributes, title: &str) -> String {
    let told = attributes.values().filter_map(|value| match value {
        RawAttribute::Text(text) if text != title && text.len() <= 60 => Some(text.clone()),
        RawAttribute::Texts(texts) if !texts.is_empty() => {
            Some(texts.iter().take(5).cloned().collect::<Vec<_>>().join(", "))
        }
        RawAttribute::Number(number) => Some(number.to_string()),
        _ => None,
    });
    told.take(4).collect::<Vec<_>>().join(" · ")
}

fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.0.saturating_sub(then.0).max(0) / 1000;
    match seconds {
        0..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

fn page_error(error: &ServiceError) -> Answer {
    let status = Answer::error(error).status;
    let nonce = nonce();
    Answer::html(
        status,
        dashboard::message_page("That did not work", &error.to_string(), &nonce),
        &nonce,
    )
}

pub(crate) fn home(app: &App, call: &Call) -> Answer {
    if call.query.len() > PAIRS_MAX {
        let got = format!("{} bytes", call.query.len());
        return Answer::input(&Problem::new("query", got, format!("at most {PAIRS_MAX}")));
    }
    let pairs = Call::pairs(&call.query);
    match home_page(app, &pairs) {
        Ok(view) => {
            let nonce = view.nonce.clone();
            Answer::html(200, dashboard::home_page(&view), &nonce)
        }
        Err(error) => page_error(&error),
    }
}

/// What the first page shows: a slate, or a page of rows.
enum Shown {
    Slate(RecommendResponse),
    Page(PageResponse),
}

impl Shown {
    fn degraded(&self) -> &[domain::Degradation] {
        match self {
            Shown::Slate(slate) => &slate.degraded,
            Shown::Page(page) => &page.degraded,
        }
    }

    /// The one decision, if it is one.
    fn decision_id(&self) -> String {
        match self {
            Shown::Slate(slate) => slate.decision_id.clone(),
            Shown::Page(_) => String::new(),
        }
    }

    fn snapshot(&self) -> &str {
        match self {
            Shown::Slate(slate) => &slate.snapshot,
            Shown::Page(page) => &page.snapshot,
        }
    }

    fn took_us(&self) -> u64 {
        let total = |slate: &RecommendResponse| slate.timings_us.get("total").copied().unwrap_or(0);
        match self {
            Shown::Slate(slate) => total(slate),
            Shown::Page(page) => page.rows.iter().map(|row| total(&row.slate)).sum(),
        }
    }
}

fn home_page(app: &App, pairs: &[(String, String)]) -> Result<HomePage, ServiceError> {
    let service = &app.service;
    let user = value(pairs, "user").trim().to_owned();
    let pages = service.config().pages.keys().map(|page| format!("{PAGE}{page}"));
    let placements: Vec<String> = service.config().placements.keys().cloned().chain(pages).collect();
    let asked = value(pairs, "placement");
    let placement = if asked.is_empty() {
        placements.first().cloned().unwrap_or_default()
    } else {
        asked.to_owned()
    };
    let user_id = (!user.is_empty()).then(|| user.clone());
    let shown = match placement.strip_prefix(PAGE) {
        Some(page) => Shown::Page(service.page(&PageRequest {
            page: page.to_owned(),
            user_id,
            ..PageRequest::default()
        })?),
        None => Shown::Slate(service.recommend(&RecommendRequest {
            placement: placement.clone(),
            user_id,
            ..RecommendRequest::default()
        })?),
    };
    let before: Vec<&str> = value(pairs, "before")
        .split(['\r', '\n'])
        .filter(|id| !id.is_empty())
        .collect();
    let did = value(pairs, "did");
    let title_of = |id: &str| {
        service
            .item(id)
            .map_or_else(|_| id.to_owned(), |item| service.title(&item))
    };
    let cards = |slate: &RecommendResponse| -> Vec<Card> {
        let cards = slate.items.iter().enumerate().map(|(at, item)| {
            let was = before.iter().position(|id| *id == item.item_id);
            let title = title_of(&item.item_id);
            Card {
                about: about(&item.attributes, &title),
                title,
                item_id: item.item_id.clone(),
                rank: item.rank,
                score: item.score,
                reasons: item.reasons.clone(),
                sources: item.sources.iter().cloned().map(Source).collect(),
                is_new: !before.is_empty() && was.is_none(),
                decision_id: slate.decision_id.clone(),
                risen: match shown {
                    Shown::Slate(_) => was.map_or(0, |was| was as i32 - at as i32),
                    Shown::Page(_) => 0,
                },
            }
        });
        cards.collect()
    };
    let (slate_cards, rows) = match &shown {
        Shown::Slate(slate) => (cards(slate), Vec::new()),
        Shown::Page(page) => {
            let rows = page.rows.iter().map(|row| PageRow {
                title: row.title.clone(),
                slate: cards(&row.slate),
            });
            (Vec::new(), rows.collect())
        }
    };
    let now = service.now();
    let events = if user.is_empty() {
        Vec::new()
    } else {
        service.recent_events(&user, 12)?
    };
    let recent = events.iter().map(|event| Recent {
        event_type: match event.value {
            Some(value) => format!("{} {value}", event.event_type),
            None => event.event_type.as_str().to_owned(),
        },
        title: title_of(event.item_id.as_str()),
        when: ago(now, event.timestamp),
    });
    let query = value(pairs, "q").to_owned();
    let found = service.find_items(&query, 12).into_iter().map(|item| {
        let title = service.title(&item);
        Found {
            about: about(&item.attributes, &title),
            title,
            item_id: item.item_id.as_str().to_owned(),
        }
    });
    let status = service.status();
    let mut notices: Vec<String> = status.warnings.clone();
    if status.models.is_empty() {
        notices.push("There are no models yet: the list below is whatever may be shown.".to_owned());
    }
    if !did.is_empty() {
        let rows = rows.iter().flat_map(|row: &PageRow| &row.slate);
        let fresh = slate_cards.iter().chain(rows).filter(|card| card.is_new).count();
        notices.push(format!("{did} — {fresh} of the list are new."));
    }
    for degraded in shown.degraded() {
        notices.push(format!(
            "Not as configured: {} {}.",
            degraded.stage, degraded.reason
        ));
    }
    let figures = [
        ("Items", status.items),
        ("Users", status.users),
        ("Events", status.events),
        ("Events to be absorbed", service.waiting() as u64),
        ("Decisions kept", status.decisions),
    ];
    let mut people = service
        .sample_users(SAMPLE)
        .into_iter()
        .map(|(id, events)| Person { id, events })
        .collect::<Vec<_>>();
    let chance = RandomState::new().build_hasher().finish() as usize;
    let surprise = (!people.is_empty()).then(|| people[chance % people.len()].id.clone());
    people.truncate(8);
    Ok(HomePage {
        people,
        surprise,
        placements,
        placement,
        slate: slate_cards,
        rows,
        recent: recent.collect(),
        query,
        found: found.collect(),
        acts: acts(app),
        decision_id: shown.decision_id(),
        snapshot: shown.snapshot().to_owned(),
        took_us: shown.took_us(),
        notices,
        figures: figures
            .map(|(name, value)| (name.to_owned(), value.to_string()))
            .to_vec(),
        nonce: nonce(),
        user: Person {
            events: events.len(),
            id: user,
        },
    })
}

/// A text as part of a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

pub(crate) fn act(app: &App, call: &Call) -> Answer {
    let kind = call.header("content-type").unwrap_or("");
    if !kind.starts_with("application/x-www-form-urlencoded") {
        let problem = Problem::new("Content-Type", kind, "application/x-www-form-urlencoded");
        return Answer::refused(
            415,
            "content-type",
            "The body is of a type that is not read",
            &problem,
        );
    }
    let text = String::from_utf8_lossy(&call.body[..call.body.len().min(PAIRS_MAX)]);
    let pairs = Call::pairs(&text);
    let decision = value(&pairs, "decision");
    let event = EventInput {
        event_id: None,
        user_id: value(&pairs, "user").to_owned(),
        item_id: value(&pairs, "item").to_owned(),
        event_type: value(&pairs, "type").to_owned(),
        timestamp: None,
        value: value(&pairs, "value").parse().ok(),
        session_id: None,
        decision_id: (!decision.is_empty()).then(|| decision.to_owned()),
        context: Attributes::new(),
    };
    let (user, item, event_type) = (
        event.user_id.clone(),
        event.item_id.clone(),
        event.event_type.clone(),
    );
    match app.service.ingest(vec![Ok(event)]) {
        Err(error) => page_error(&error),
        Ok(report) => match report.rejected.first() {
            Some(rejected) => page_error(&ServiceError::Input(rejected.problem.clone())),
            None => {
                let title = app
                    .service
                    .item(&item)
                    .map_or_else(|_| item.clone(), |item| app.service.title(&item));
                let known = if report.duplicate > 0 {
                    " (known already)"
                } else {
                    ""
                };
                let did = format!("{event_type}: {title}{known}");
                Answer::see_other(format!(
                    "/?user={}&placement={}&did={}&before={}",
                    encoded(&user),
                    encoded(value(&pairs, "placement")),
                    encoded(&did),
                    encoded(value(&pairs, "before")),
                ))
            }
        },
    }
}

pub(crate) fn docs(_: &App, call: &Call) -> Answer {
    let nonce = nonce();
    let view = ApiPage {
        base: format!("http://{}", call.header("host").unwrap_or("127.0.0.1:7800")),
        operations: openapi::for_page(),
        nonce: nonce.clone(),
    };
    Answer::html(200, dashboard::api_page(&view), &nonce)
}
