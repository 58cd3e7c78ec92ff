//! Which fields there are, and under which names columns are taken for them.

use serde::Serialize;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What happened.
    Events,
    /// What can be shown.
    Items,
    /// What is known of people.
    Users,
}

/// What a column becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Id of the event.
    EventId,
    /// Who.
    UserId,
    /// What.
    ItemId,
    /// Which kind of act.
    EventType,
    /// When.
    Timestamp,
    /// How much.
    Value,
    /// Run of activity.
    SessionId,
    /// Decision answered to.
    DecisionId,
    /// Named circumstances of an event.
    Context,
    /// Named attributes.
    Attributes,
    /// Whether an item is hidden.
    Hidden,
    /// When an item entered the catalogue.
    AddedAt,
    /// An attribute: text.
    Text,
    /// An attribute: numbers.
    Number,
    /// An attribute: true or false.
    Flag,
    /// An attribute: labels with a separator between.
    List,
    /// Left out.
    Ignored,
}

/// Fields with the names that they go by, the first being our own.
const EVENT_FIELDS: &[(Field, &[&str])] = &[
    (Field::EventId, &["event_id", "eventid", "uuid"]),
    (
        Field::UserId,
        &[
            "user_id",
            "userid",
            "user",
            "uid",
            "visitorid",
            "visitor_id",
            "customer_id",
            "customerid",
            "reviewerid",
        ],
    ),
    (
        Field::ItemId,
        &[
            "item_id",
            "itemid",
            "item",
            "iid",
            "movieid",
            "movie_id",
            "product_id",
            "productid",
            "asin",
            "parent_asin",
            "sku",
            "article_id",
            "track_id",
            "book_id",
            "business_id",
        ],
    ),
    (
        Field::EventType,
        &[
            "event_type",
            "eventtype",
            "event",
            "action",
            "behavior",
            "behaviour",
            "type",
        ],
    ),
    (
        Field::Timestamp,
        &[
            "timestamp",
            "ts",
            "time",
            "datetime",
            "date",
            "event_time",
            "unixreviewtime",
            "created_at",
        ],
    ),
    (
        Field::Value,
        &[
            "value", "rating", "stars", "score", "overall", "weight", "count", "dwell",
        ],
    ),
    (Field::SessionId, &["session_id", "sessionid", "session"]),
    (Field::DecisionId, &["decision_id"]),
    (Field::Context, &["context"]),
];
const ITEM_FIELDS: &[(Field, &[&str])] = &[
    (
        Field::ItemId,
        &[
            "item_id",
            "itemid",
            "item",
            "iid",
            "movieid",
            "movie_id",
            "product_id",
            "productid",
            "asin",
            "parent_asin",
            "sku",
            "article_id",
            "track_id",
            "book_id",
            "business_id",
            "id",
        ],
    ),
    (Field::Attributes, &["attributes"]),
    (Field::Hidden, &["hidden"]),
    (Field::AddedAt, &["added_at"]),
];
const USER_FIELDS: &[(Field, &[&str])] = &[
    (
        Field::UserId,
        &[
            "user_id",
            "userid",
            "user",
            "uid",
            "visitorid",
            "customer_id",
            "customerid",
            "reviewerid",
            "id",
        ],
    ),
    (Field::Attributes, &["attributes"]),
];

pub(crate) fn fields(kind: Kind) -> &'static [(Field, &'static [&'static str])] {
    match kind {
        Kind::Events => EVENT_FIELDS,
        Kind::Items => ITEM_FIELDS,
        Kind::Users => USER_FIELDS,
    }
}

/// Lower case, with spaces, dashes and dots as underscores.
pub(crate) fn plain(name: &str) -> String {
    let lower = name.trim().to_lowercase();
    lower
        .chars()
        .map(|c| if matches!(c, ' ' | '-' | '.') { '_' } else { c })
        .collect()
}

/// True for a name that some kind of file uses for a field.
pub(crate) fn names_something(name: &str) -> bool {
    let name = plain(name);
    let tables = [EVENT_FIELDS, ITEM_FIELDS, USER_FIELDS];
    tables
        .iter()
        .any(|table| table.iter().any(|(_, names)| names.contains(&name.as_str())))
}

/// The field of this name, ours.
pub(crate) fn field_named(kind: Kind, name: &str) -> Option<Field> {
    let mut table = fields(kind).iter();
    table
        .find(|(_, names)| names[0] == plain(name))
        .map(|(field, _)| *field)
}
