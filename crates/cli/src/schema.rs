//! `concierge schema`: what kind each attribute has, and a way to say otherwise.

use crate::failure::bad_input;
use crate::folder::DataFolder;
use crate::output::{self, count};
use assembly::Service;
use domain::{AttributeKind, EntityKind, KindOrigin};
use serde_json::json;

/// Show the kinds of attributes, as inferred or as fixed; fix them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  concierge schema --data shop
  concierge schema --data shop --set items.year=number --set users.city=category
  concierge schema --data shop --set items.year=inferred")]
pub(crate) struct Args {
    #[command(flatten)]
    folder: DataFolder,
    /// Fix a kind: category, tags, number, text, timestamp, geo, embedding, ids; or `inferred`
    #[arg(long, value_name = "items.NAME=KIND")]
    set: Vec<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let changes = args
        .set
        .iter()
        .map(|text| parse(text))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let service = args.folder.open()?;
    for (of, attribute, kind) in changes {
        service.fix_kind(of, &attribute, kind)?;
    }
    show(&service, args.json)?;
    Ok(service.close()?)
}

fn show(service: &Service, json: bool) -> anyhow::Result<()> {
    let items = service.schema(EntityKind::Item)?;
    let users = service.schema(EntityKind::User)?;
    if json {
        return output::json(&json!({ "items": items, "users": users }));
    }
    let mut rows = Vec::new();
    for (entity, schema) in [("items", &items), ("users", &users)] {
        for (name, attribute) in schema {
            let origin = match attribute.origin {
                KindOrigin::Inferred => "inferred",
                KindOrigin::Fixed => "fixed",
            };
            rows.push(vec![
                format!("{entity}.{name}"),
                kind_name(attribute.kind),
                origin.to_owned(),
                count(attribute.present),
            ]);
        }
    }
    output::table(&["attribute", "kind", "", "present"], rows)
}

fn kind_name(kind: AttributeKind) -> String {
    format!("{kind:?}").to_lowercase()
}

/// Reads `items.year=number`.
fn parse(text: &str) -> anyhow::Result<(EntityKind, String, Option<AttributeKind>)> {
    let wrong = || {
        bad_input(
            "--set",
            text,
            "items.NAME=KIND or users.NAME=KIND, with KIND one of category, tags, number, text, timestamp, geo, \
             embedding, ids, inferred",
        )
    };
    let (path, kind) = text.rsplit_once('=').ok_or_else(wrong)?;
    let (entity, name) = path.split_once('.').ok_or_else(wrong)?;
    let of = match entity {
        "items" => EntityKind::Item,
        "users" => EntityKind::User,
        _ => return Err(wrong()),
    };
    if name.is_empty() {
        return Err(wrong());
    }
    let kind = match kind {
        "inferred" => None,
        kind => Some(serde_json::from_value(json!(kind)).map_err(|_| wrong())?),
    };
    Ok((of, name.to_owned(), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_or_refused() {
        let (of, name, kind) = parse("items.year=number").unwrap();
        assert_eq!(
            (of, name.as_str(), kind),
            (EntityKind::Item, "year", Some(AttributeKind::Number))
        );
        let (of, name, kind) = parse("users.home.city=inferred").unwrap();
        assert_eq!((of, name.as_str(), kind), (EntityKind::User, "home.city", None));
        for text in [
            "year=number",
            "items.year",
            "things.year=number",
            "items.=text",
            "items.year=colour",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
