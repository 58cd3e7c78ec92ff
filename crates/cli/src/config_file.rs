//! The configuration that a new data folder gets: every key with its default and what it does.

use anyhow::Context;
use assembly::{CONFIG_FILE, Config};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Key with its table, as it stands in the file, and what it does. Keys of placements and event types are
/// told once, at the first of them.
const KEYS: &[(&str, &str)] = &[
    (
        "history_events_max",
        "Events kept per person for serving, 1 to 100,000.",
    ),
    (
        "absorb_interval_ms",
        "How often new events are taken into the models, at least 10.",
    ),
    (
        "decisions_retention_mb",
        "Space for the decision log, MiB; the oldest go.",
    ),
    (
        "decisions_retention_days",
        "Days for which decisions are kept if there is space; 0 for as long as there is space.",
    ),
    (
        "decisions_wait_for_disk",
        "Whether answers wait until their decision is on the disk, so that even a loss of power loses none.",
    ),
    (
        "outcomes.window_hours",
        "Hours after a decision in which events that carry its id count as what came of it; by type under windows.",
    ),
    ("server.max_body_bytes", "Largest request body."),
    ("server.max_batch_rows", "Most rows of one batch."),
    ("server.max_json_depth", "Deepest nesting of JSON, 4 to 100."),
    (
        "server.request_timeout_ms",
        "A request that takes longer is given up.",
    ),
    (
        "server.queue_max",
        "Requests that wait for a place at work; further ones are turned away with 503, 0 to 100,000.",
    ),
    (
        "server.queue_wait_ms",
        "How long one waits before it is turned away, 1 to 60,000.",
    ),
    (
        "training.model",
        "Learner that ranks; its parts propose candidates. `concierge evaluate` compares them.",
    ),
    (
        "training.fallbacks",
        "Learners that need to know nothing of a person; they fill what the others leave short, in this order.",
    ),
    (
        "training.every_minutes",
        "Least minutes between trainings of the schedule; 0 for on demand only.",
    ),
    (
        "training.staleness_max",
        "Staleness of a model above which it is trained anew: share of what it would learn from now that it does not reflect.",
    ),
    (
        "training.keep",
        "Published bundles of models to keep, at least 2.",
    ),
    (
        "training.keep_mb",
        "Space for all bundles, MiB; older ones than keep stay while there is room, so that their decisions can be replayed.",
    ),
    ("training.seed", "Source of all randomness."),
    (
        "training.threads",
        "0 for all processors; results do not depend on it.",
    ),
    (
        "again.take_types",
        "Types of events that take an item, for the source `again`.",
    ),
    (
        "again.gap_days",
        "Days between two acts on one item where nothing else is known, above 0, at most 3,650.",
    ),
    (
        "again.progress_types",
        "Types of events whose value says how far someone has come, 0 to 1, for the source `continue`.",
    ),
    ("again.begun", "Progress below which nothing has begun, 0 to 1."),
    (
        "again.ended",
        "Progress from which on there is nothing left to continue, above begun, at most 1.",
    ),
    (
        "context.country",
        "Attributes that requests bring as context and what kind they are: what rules may look at.",
    ),
    ("context.device", "Kind of an attribute of the context."),
    ("context.language", "Kind of an attribute of the context."),
    ("context.page", "Kind of an attribute of the context."),
    ("placements.n", "Items if the request does not say, 1 to 1,000."),
    (
        "placements.source_quota",
        "Candidates from each source, 1 to 10,000.",
    ),
    (
        "placements.sources",
        "Sources by name; empty for all that there are.",
    ),
    (
        "placements.exclude_seen",
        "Whether items with an event that marks them seen are left out.",
    ),
    (
        "placements.deadline_ms",
        "Time budget; 0 for none. A slate that ran out of time says `degraded`.",
    ),
    (
        "placements.retrieve_ms",
        "No source is asked later than this, so that time is left for the rest; 0 for the deadline alone.",
    ),
    (
        "placements.rank_ms",
        "The ranker is not asked later than this; 0 for the deadline alone.",
    ),
    (
        "placements.slate_cache_ms",
        "How long a slate may be shown again to someone of whom nothing new is known, at most 60,000; 0 for never.",
    ),
    (
        "placements.rerank.name",
        "What orders the ranked, spreads them or keeps constraints; see docs/guides/rules.md.",
    ),
    (
        "placements.reasons.because",
        "Reason by what someone did; {items} are named.",
    ),
    (
        "placements.reasons.shared",
        "Reason by attributes that what someone did has too; {features} are named.",
    ),
    ("placements.reasons.popular", "Reason where many liked it."),
    (
        "placements.reasons.alike",
        "Reason by the person's own attributes.",
    ),
    ("placements.reasons.new", "Reason for what is new."),
    ("placements.reasons.pinned", "Reason for what a rule put there."),
    ("placements.reasons.otherwise", "Reason where there is no other."),
    (
        "placements.ranker.kind",
        "Who ranks: model, source_ranks or trees; see docs/guides/ranking.md.",
    ),
    (
        "placements.ranker.objective",
        "What trees are learnt to say: outcomes or order.",
    ),
    (
        "placements.ranker.weights_version",
        "Number of the set of weights by outcome, recorded with every ranker.",
    ),
    (
        "placements.ranker.position",
        "What is done about places when learning: none, ips, doubly_robust or feature.",
    ),
    (
        "placements.ranker.clip",
        "The most that one over the examination of a place may be, with ips and doubly_robust, 1 to 1,000.",
    ),
    (
        "placements.ranker.unclicked",
        "Strength of showings in a row that nothing came of, as negatives, 0 to 10.",
    ),
    (
        "placements.ranker.window_hours",
        "Hours after a decision in which events count, above 0 to 8,784.",
    ),
    (
        "placements.ranker.decisions_min",
        "Joined decisions below which a ranker is learnt from the event log instead, at least 10.",
    ),
    (
        "placements.ranker.outcomes_min",
        "Rows with an outcome below which it gets no head, at least 1.",
    ),
    (
        "placements.ranker.holdout_share",
        "Share of the latest decisions on which a new ranker is compared with the one in service, 0.05 to 0.5.",
    ),
    (
        "placements.ranker.every_minutes",
        "Minutes between trainings while there are new decisions; 0 for on demand only.",
    ),
    ("placements.ranker.keep", "Published rankers to keep, at least 2."),
    ("placements.ranker.trees", "Trees of a head at most."),
    ("placements.ranker.leaves", "Leaves of a tree at most."),
    (
        "placements.ranker.learning_rate",
        "Share of a tree's correction that is taken.",
    ),
    (
        "placements.ranker.leaf_rows_min",
        "Rows that a leaf has at least.",
    ),
    (
        "placements.policy.name",
        "Who chooses among the ranked: greedy leaves nothing to chance; see docs/guides/exploration.md.",
    ),
    (
        "placements.policy.pool",
        "Candidates among which it chooses, best first, 1 to 10,000.",
    ),
    (
        "placements.policy.over",
        "What it chooses by: scores of the ranker, or places in the order of the re-ranking.",
    ),
    (
        "placements.record.considered",
        "Candidates kept in the record of a decision.",
    ),
    (
        "placements.record.removals",
        "Removals kept in the record of a decision.",
    ),
    (
        "event_types.weight",
        "What an event is worth, -10 to 10; negative for dislike.",
    ),
    (
        "event_types.role",
        "exposure: it was shown; outcome: something was done with it; preference: an opinion was stated.",
    ),
    (
        "event_types.marks_seen",
        "Whether the item is left out of later slates.",
    ),
    (
        "event_types.half_life_days",
        "Days after which the strength has halved; absent: never.",
    ),
    (
        "event_types.value_min",
        "The event counts only if its value is at least this.",
    ),
    (
        "event_types.value_max",
        "The event counts only if its value is at most this.",
    ),
    (
        "event_types.value_scale",
        "The strength is weight times value / this.",
    ),
];

/// The table of a line such as `[placements.home.record]`, without the name that an operator chose.
fn table_of(header: &str) -> String {
    let mut parts: Vec<&str> = header.trim_matches(['[', ']']).split('.').collect();
    if matches!(parts.first(), Some(&"placements" | &"event_types")) && parts.len() > 1 {
        parts.remove(1);
    }
    parts.join(".")
}

/// A configuration with a comment above each key's first place.
pub(crate) fn commented(config: &Config) -> String {
    let (mut text, mut table, mut told) = (String::new(), String::new(), Vec::new());
    for line in config.to_toml().lines() {
        if line.starts_with('[') && line.ends_with(']') {
            table = table_of(line);
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            let path = if table.is_empty() {
                key.to_owned()
            } else {
                format!("{table}.{key}")
            };
            let known = KEYS.iter().find(|(known, _)| *known == path);
            if let Some((key, what)) = known.filter(|(key, _)| !told.contains(key)) {
                told.push(*key);
                text.push_str(&format!("# {what}\n"));
            }
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Writes the configuration, commented, if there is none; true if it was written.
pub(crate) fn write_if_absent(dir: &Path, config: &Config) -> anyhow::Result<bool> {
    std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let path = dir.join(CONFIG_FILE);
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("writing {}", path.display())),
    };
    let written = file
        .write_all(commented(config).as_bytes())
        .and_then(|()| file.sync_all());
    written.with_context(|| format!("writing {}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_told_and_the_values_are_the_defaults() {
        let text = commented(&Config::default());
        let read = Config::parse(&text, Path::new("concierge.toml")).expect("the default is sound");
        assert_eq!(read, Config::default());
        let (mut table, mut previous, mut seen) = (String::new(), "", Vec::new());
        for line in text.lines() {
            if line.starts_with('[') {
                table = table_of(line);
            } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
                let path = format!("{table}.{key}");
                assert!(
                    previous.starts_with("# ") || seen.contains(&path),
                    "{path} is not told in\n{text}"
                );
                seen.push(path);
            }
            previous = line;
        }
        assert!(seen.len() > 20);
    }
}
