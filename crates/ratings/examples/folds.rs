//! Error of rating models by cross-validation, with nothing else linked in.
//!
//! ```text
//! cargo run --release -p ratings --example folds -- RATINGS.tsv random|time FOLDS NAME[:{json}] ...
//! ```
//! The file has no header; a line is `user<TAB>item<TAB>rating<TAB>seconds`. One line per model: RMSE, its 95 % interval, MAE, seconds to fit a fold.

use ratings::{Rating, cross_validate, folds, folds_by_time, trainer};
use std::collections::HashMap;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, order, n, models @ ..] = args.as_slice() else {
        return Err("expected RATINGS.tsv random|time FOLDS NAME[:{json}] ...".into());
    };
    let text = std::fs::read_to_string(path)?;
    let (mut users, mut items) = (HashMap::new(), HashMap::new());
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[user, item, value, seconds] = fields.as_slice() else {
            return Err(format!("{path}, line {}: expected user, item, rating and seconds", at + 1).into());
        };
        let (n_users, n_items) = (users.len() as u32, items.len() as u32);
        rows.push(Rating {
            user: *users.entry(user).or_insert(n_users),
            item: *items.entry(item).or_insert(n_items),
            value: value.parse()?,
            at_s: Some(seconds.parse()?),
        });
    }
    let folds = match order.as_str() {
        "random" => folds(rows.len(), n.parse()?, 0)?,
        "time" => folds_by_time(&rows, n.parse()?)?,
        other => return Err(format!("folds: got {other}, expected random or time").into()),
    };
    for model in models {
        let (name, config) = match model.split_once(':') {
            Some((name, config)) => (name, serde_json::from_str(config)?),
            None => (model.as_str(), serde_json::Value::Null),
        };
        let entry = trainer(name).ok_or_else(|| format!("no model {name}"))?;
        let (trainer, start) = ((entry.build)(&config)?, Instant::now());
        let seconds = || start.elapsed().as_secs_f64();
        let shape = (users.len(), items.len());
        let m = cross_validate(&*trainer, shape, &rows, &folds, 0, &seconds, &|| ())?;
        let (low, high) = m.rmse_interval;
        println!(
            "{model}\trmse {:.4} ({low:.4} to {high:.4})\tmae {:.4}\tfit {:.2} s",
            m.rmse, m.mae, m.fit_seconds
        );
    }
    Ok(())
}
