//! Pages: several rows for one screen, no item twice, the best rows first.

use crate::bound::ModelRanker;
use crate::config::Config;
use crate::reasons::title_of;
use crate::serve::AskedFor;
use crate::snapshot::Snapshot;
use crate::wire::{RecommendRequest, RecommendResponse, SessionEvent};
use crate::{Service, ServiceError};
use domain::{Attributes, Candidate, Degradation, Outcome, PageRow, Query, Ranker};
use engine::Decided;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Most rows that a page may have to choose from.
const ROWS_MAX: usize = 20;
/// Most rows that one entry may stand for.
const ANCHORS_MAX: usize = 5;
/// Stands for the title of the item that a row is about.
const ITEM: &str = "{item}";

/// A page: rows to choose from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageConfig {
    /// Rows shown at most, 1 to 20.
    pub rows_max: usize,
    /// Rows to choose from, 1 to 20.
    pub rows: Vec<RowConfig>,
}

impl Default for PageConfig {
    fn default() -> Self {
        PageConfig {
            rows_max: 5,
            rows: Vec::new(),
        }
    }
}

/// A row of a page, or one for each of the latest items of the person's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowConfig {
    /// Its name in records.
    pub name: String,
    /// Its title; `{item}` stands for the title of the item that it is about.
    pub title: String,
    /// Which placement fills it.
    pub placement: String,
    /// If above 0, there is a row about each of so many items that the person took to last, at most 5.
    #[serde(default)]
    pub anchors: usize,
    /// Items in it; the placement's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
    /// A row with fewer items is left out.
    #[serde(default = "three")]
    pub items_min: usize,
    /// Items that score less than this share of the way from the row's weakest candidate to its best are left out, 0 to 1; then
    /// nothing fills the row up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relevance_min: Option<f32>,
    /// Conditions on attributes, as in requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<serde_json::Value>,
}

fn three() -> usize {
    3
}

impl PageConfig {
    /// What is wrong, as `rows[0].placement: got …, expected …`.
    pub(crate) fn check(&self, config: &Config) -> Result<(), String> {
        let within = |key: String, value: usize, low: usize, high: usize| match (low..=high).contains(&value)
        {
            true => Ok(()),
            false => Err(format!("{key}: got {value}, expected {low} to {high}")),
        };
        within("rows_max".into(), self.rows_max, 1, ROWS_MAX)?;
        within("rows.length".into(), self.rows.len(), 1, ROWS_MAX)?;
        let mut names = HashSet::new();
        for (at, row) in self.rows.iter().enumerate() {
            let key = |field: &str| format!("rows[{at}].{field}");
            if row.name.is_empty() || !names.insert(row.name.as_str()) {
                let field = key("name");
                return Err(format!(
                    "{field}: got {:?}, expected a name that no other row has",
                    row.name
                ));
            }
            if !config.placements.contains_key(&row.placement) {
                let known: Vec<_> = config.placements.keys().map(String::as_str).collect();
                let (field, expected) = (key("placement"), known.join(", "));
                return Err(format!(
                    "{field}: got {:?}, expected one of {expected}",
                    row.placement
                ));
            }
            within(key("anchors"), row.anchors, 0, ANCHORS_MAX)?;
            within(key("n"), row.n.unwrap_or(1), 1, 1000)?;
            within(key("items_min"), row.items_min, 1, 1000)?;
            if row.anchors == 0 && row.title.contains(ITEM) {
                let field = key("title");
                return Err(format!(
                    "{field}: got {:?}, expected no {ITEM} in a row without anchors",
                    row.title
                ));
            }
            if let Some(share) = row
                .relevance_min
                .filter(|share| !(*share >= 0.0 && *share <= 1.0))
            {
                return Err(format!("{}: got {share}, expected 0 to 1", key("relevance_min")));
            }
        }
        Ok(())
    }
}

/// A request for a page.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageRequest {
    /// Which page.
    pub page: String,
    /// For whom; nobody in particular if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Events of an anonymous session, or on top of the user's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session: Vec<SessionEvent>,
    /// Attributes of the person, on top of the stored ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
    /// Circumstances.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: Attributes,
    /// Rows wanted at most; as configured if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// Items not to show in any row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Whether to take every score apart.
    #[serde(default)]
    pub explain: bool,
    /// Source of all randomness; drawn if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// A row of a page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the row in the configuration.
    pub row: String,
    /// Its title.
    pub title: String,
    /// The item that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// What it is worth to this person: by which the rows are ordered.
    pub value: f64,
    /// Its slate, a decision of its own.
    #[serde(flatten)]
    pub slate: RecommendResponse,
}

/// A row that could have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowLeftOut {
    /// Name of the row in the configuration.
    pub row: String,
    /// The item that it would have been about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// Why it is not there.
    pub reason: String,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PageResponse {
    /// Id that the decisions of its rows share.
    pub page_id: String,
    /// The best row first; no item stands in two of them.
    pub rows: Vec<Row>,
    /// Rows that could have been.
    pub left_out: Vec<RowLeftOut>,
    /// Version of the bundle that answered.
    pub snapshot: String,
    /// What did not go as configured, in any row.
    pub degraded: Vec<Degradation>,
}

/// A row under consideration.
struct Possible<'a> {
    config: &'a RowConfig,
    anchor: Option<u32>,
    seed: u64,
    /// What it comes to as a request of its own.
    asked: RecommendRequest,
    decided: Decided,
}

impl Service {
    /// Answers with a page. Every row is a decision of its own, recorded with the id of the page. Rows are taken one by one, each time the one worth most given
    /// those that stand: rows that share items with them are decided anew without these items.
    ///
    /// A row is worth the sum over its items of the score of the ranking model for this person (the row's own subject left aside), counted from
    /// the lowest score on any row as first decided, discounted by 1 / log2(1 + place).
    ///
    /// # Errors
    /// [`ServiceError::Input`] names the field at fault.
    pub fn page(&self, request: &PageRequest) -> Result<PageResponse, ServiceError> {
        let Some(page) = self.config.pages.get(&request.page) else {
            let known: Vec<_> = self.config.pages.keys().map(String::as_str).collect();
            let expected = match known.is_empty() {
                true => {
                    "the name of a page; none is configured, see [pages.NAME] in concierge.toml".to_owned()
                }
                false => format!("one of {}", known.join(", ")),
            };
            return Err(ServiceError::input("page", request.page.as_str(), expected));
        };
        let rows_max = request.rows.unwrap_or(page.rows_max);
        if !(1..=ROWS_MAX).contains(&rows_max) {
            return Err(ServiceError::input(
                "rows",
                rows_max.to_string(),
                format!("1 to {ROWS_MAX}"),
            ));
        }
        let snapshot = self.snapshot.load_full();
        let now = self.clock.now();
        let page_id = format!("p{}", &self.new_decision_id(now).as_str()[1..]);
        let seed = request
            .seed
            .unwrap_or_else(|| numeric::hash_bytes(page_id.as_bytes()));
        let as_recommend = RecommendRequest {
            user_id: request.user_id.clone(),
            session: request.session.clone(),
            attributes: request.attributes.clone(),
            context: request.context.clone(),
            exclude: request.exclude.clone(),
            explain: request.explain,
            ..RecommendRequest::default()
        };
        let setting = self.setting(&snapshot, now);
        let person = self.person(&setting, &as_recommend)?;
        let base = setting.query(&as_recommend, person.view, 1);
        let base = base.map_err(ServiceError::Input)?;
        let mut left_out: Vec<RowLeftOut> = Vec::new();
        let mut possible: Vec<Possible<'_>> = Vec::new();
        for config in &page.rows {
            for anchor in anchors(&snapshot, config, &base) {
                let seed = numeric::mix(seed ^ numeric::mix(possible.len() as u64 + 1));
                let asked = row_request(&snapshot, &as_recommend, config, anchor, seed, &HashSet::new());
                let decided = self.decided_anew(&setting, &asked)?;
                possible.push(Possible {
                    config,
                    anchor,
                    seed,
                    asked,
                    decided,
                });
            }
        }
        let mut scores: HashMap<u32, f64> = HashMap::new();
        let mut least: Option<f64> = None;
        let mut used: HashSet<String> = HashSet::new();
        let mut rows: Vec<Row> = Vec::new();
        while rows.len() < rows_max && !possible.is_empty() {
            let mut kept = Vec::new();
            for mut row in possible {
                let is_used = |shown: &domain::Shown| used.contains(shown.item_id.as_str());
                if row.decided.decision.shown.iter().any(is_used) {
                    row.asked =
                        row_request(&snapshot, &as_recommend, row.config, row.anchor, row.seed, &used);
                    row.decided = self.decided_anew(&setting, &row.asked)?;
                }
                let items = row.decided.decision.shown.len();
                match items >= row.config.items_min {
                    true => kept.push(row),
                    false => left_out.push(without(
                        &snapshot,
                        &row,
                        format!("{items} items, fewer than {}", row.config.items_min),
                    )),
                }
            }
            possible = kept;
            self.score(&snapshot, &base, &possible, &mut scores);
            // What a row is worth is counted from the same point to the end.
            let least = *least.get_or_insert_with(|| scores.values().copied().fold(f64::INFINITY, f64::min));
            let worth = |row: &Possible<'_>| self.worth(&snapshot, row, &scores, least);
            let mut best: Option<(f64, usize)> = None;
            for (at, row) in possible.iter().enumerate() {
                let worth = worth(row);
                if best.is_none_or(|(most, _)| worth > most) {
                    best = Some((worth, at));
                }
            }
            let Some((value, at)) = best else {
                break;
            };
            let mut row = possible.remove(at);
            row.decided.decision.page = Some(PageRow {
                page_id: page_id.clone(),
                row: row.config.name.clone(),
                place: rows.len() as u32 + 1,
            });
            let shown = row.decided.decision.shown.iter();
            used.extend(shown.map(|shown| shown.item_id.as_str().to_owned()));
            let entry = row.anchor.and_then(|anchor| snapshot.catalogue.get(anchor));
            rows.push(Row {
                row: row.config.name.clone(),
                title: match entry {
                    Some(entry) => row.config.title.replace(ITEM, title_of(entry)),
                    None => row.config.title.clone(),
                },
                item_id: entry.map(|entry| entry.id.as_str().to_owned()),
                value,
                slate: self.answer(&snapshot, row.decided, AskedFor::Recommend(row.asked)),
            });
        }
        for row in &possible {
            left_out.push(without(
                &snapshot,
                row,
                format!("worth less than the {rows_max} shown"),
            ));
        }
        let mut degraded: Vec<Degradation> = Vec::new();
        for note in rows.iter().flat_map(|row| &row.slate.degraded) {
            if !degraded.contains(note) {
                degraded.push(note.clone());
            }
        }
        Ok(PageResponse {
            page_id,
            rows,
            left_out,
            snapshot: snapshot.version.to_string(),
            degraded,
        })
    }

    /// Scores of what the rows show, for the person as such; those that are known already are left alone.
    fn score(
        &self,
        snapshot: &Snapshot,
        base: &Query,
        rows: &[Possible<'_>],
        scores: &mut HashMap<u32, f64>,
    ) {
        let shown = rows.iter().flat_map(|row| &row.decided.decision.shown);
        let mut items: Vec<u32> = shown
            .filter_map(|shown| self.known(snapshot, shown.item_id.as_str()))
            .filter(|item| !scores.contains_key(item))
            .collect();
        items.sort_unstable();
        items.dedup();
        let candidates: Vec<Candidate> = items
            .iter()
            .map(|item| Candidate {
                item: *item,
                ..Candidate::default()
            })
            .collect();
        let outcomes = snapshot.models.as_ref().and_then(|models| {
            let ranker = ModelRanker {
                bound: models.main.clone(),
            };
            ranker.rank(base, &candidates).ok()
        });
        let outcomes = outcomes.unwrap_or_default();
        for (at, item) in items.into_iter().enumerate() {
            let score = match outcomes.get(at) {
                Some(Outcome::Score(score)) if score.is_finite() => f64::from(*score),
                _ => 0.0,
            };
            scores.insert(item, score);
        }
    }

    fn worth(&self, snapshot: &Snapshot, row: &Possible<'_>, scores: &HashMap<u32, f64>, least: f64) -> f64 {
        let shown = row.decided.decision.shown.iter();
        let worth = shown.map(|shown| {
            let item = self.known(snapshot, shown.item_id.as_str());
            let score = item
                .and_then(|item| scores.get(&item))
                .map_or(0.0, |score| (score - least).max(0.0));
            score / f64::from(shown.rank + 1).log2()
        });
        worth.sum()
    }
}

/// The request that a row comes to, without what stands elsewhere.
fn row_request(
    snapshot: &Snapshot,
    base: &RecommendRequest,
    config: &RowConfig,
    anchor: Option<u32>,
    seed: u64,
    used: &HashSet<String>,
) -> RecommendRequest {
    let mut exclude = base.exclude.clone();
    let mut others: Vec<String> = used.iter().cloned().collect();
    others.sort_unstable();
    exclude.extend(others);
    let item = anchor.and_then(|anchor| snapshot.catalogue.get(anchor));
    RecommendRequest {
        placement: config.placement.clone(),
        item_id: item.map(|entry| entry.id.as_str().to_owned()),
        n: config.n,
        filter: config.filter.clone(),
        exclude,
        relevance_min: config.relevance_min,
        seed: Some(seed),
        ..base.clone()
    }
}

/// What a row is about: nothing in particular, or each of the items that the person took to last, no less than they take to things on average. Hidden ones are left out.
fn anchors(snapshot: &Snapshot, config: &RowConfig, base: &Query) -> Vec<Option<u32>> {
    if config.anchors == 0 {
        return vec![None];
    }
    let hidden = &snapshot.catalogue.hidden;
    let all: Vec<f64> = base
        .history
        .iter()
        .map(|event| f64::from(event.weight))
        .filter(|weight| *weight > 0.0)
        .collect();
    // Of equal ones none is below.
    let mean = numeric::mean(&all) * (1.0 - 1e-6);
    let liked = base
        .history
        .iter()
        .rev()
        .filter(|event| event.weight > 0.0 && f64::from(event.weight) >= mean);
    let seen = liked.filter(|event| !hidden.get(event.item as usize).copied().unwrap_or(true));
    seen.take(config.anchors).map(|event| Some(event.item)).collect()
}

fn without(snapshot: &Snapshot, row: &Possible<'_>, reason: String) -> RowLeftOut {
    let item = row.anchor.and_then(|anchor| snapshot.catalogue.get(anchor));
    RowLeftOut {
        row: row.config.name.clone(),
        item_id: item.map(|entry| entry.id.as_str().to_owned()),
        reason,
    }
}
