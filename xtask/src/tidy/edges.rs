//! Which crate may know which, and where heavy dependencies may stand.

use super::Tree;
use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet};

/// Each crate in flow order with the crates of ours that it may depend on. A crate may only name
/// crates above it, so that the table itself has no cycle.
#[rustfmt::skip]
const EDGES: &[(&str, &[&str])] = &[
    ("domain",         &[]),
    ("numeric",        &[]),
    ("testkit",        &["domain", "numeric"]),
    ("trees",          &["numeric"]),
    ("signals",        &["domain", "numeric"]),
    ("dataset",        &["domain", "numeric", "signals"]),
    ("import",         &["domain", "signals", "dataset"]),
    ("import-parquet", &["domain", "dataset", "import"]),
    ("models",         &["domain", "numeric", "signals", "dataset"]),
    ("retrieval",      &["domain", "numeric"]),
    ("ranking",        &["domain", "numeric", "trees"]),
    ("rerank",         &["domain", "numeric"]),
    ("rules",          &["domain", "numeric", "rerank"]),
    ("policies",       &["domain", "numeric"]),
    ("engine",         &["domain"]),
    ("feedback",       &["domain", "signals"]),
    ("store-memory",   &["domain", "signals"]),
    ("store-file",     &["domain", "signals"]),
    ("store-sqlite",   &["domain", "signals"]),
    ("ratings",        &["numeric"]),
    ("ope",            &["numeric"]),
    ("evaluate",       &["domain", "numeric", "signals", "dataset", "models"]),
    ("assembly",       &["domain", "numeric", "signals", "dataset", "models", "retrieval", "ranking", "rerank", "rules", "policies", "engine", "feedback", "store-memory", "store-file", "store-sqlite"]),
    ("simulate",       &["domain", "numeric", "store-memory", "assembly"]),
    ("dashboard",      &["domain"]),
    ("server",         &["domain", "signals", "ope", "assembly", "dashboard"]),
    ("cli",            &["domain", "numeric", "signals", "dataset", "import", "import-parquet", "models", "ratings", "ope", "evaluate", "engine", "assembly", "simulate", "server"]),
    ("xtask",          &[]),
];

/// Crates that may not use `testkit`, since it is built on them.
const BELOW_TESTKIT: &[&str] = &["domain", "numeric", "testkit"];

/// Dependencies that only these crates may have (tests may use what they like).
#[rustfmt::skip]
const HEAVY: &[(&str, &[&str])] = &[
    ("anyhow",                      &["cli", "xtask"]),
    ("axum",                        &["server"]),
    ("cel",                         &["rules"]),
    ("clap",                        &["cli"]),
    ("comfy-table",                 &["cli"]),
    ("csv",                         &["import"]),
    ("faer",                        &["numeric"]),
    ("indicatif",                   &["cli"]),
    ("maud",                        &["cli", "dashboard"]),
    ("metrics",                     &["server"]),
    ("metrics-exporter-prometheus", &["server"]),
    ("parquet",                     &["store-file", "import-parquet"]),
    ("proptest",                    &[]),
    ("rusqlite",                    &["store-sqlite"]),
    ("tempfile",                    &[]),
    ("tokio",                       &["server", "cli"]),
    ("tracing-subscriber",          &["cli"]),
    ("ureq",                        &[]),
    ("usearch",                     &["retrieval"]),
];

/// All that the two bottom crates may have.
const BOTTOM: &[(&str, &[&str])] = &[
    ("domain", &["serde", "thiserror"]),
    ("numeric", &["serde", "thiserror", "rayon", "faer"]),
];

/// One crate's dependencies by name.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    /// Folder from the root.
    pub(crate) folder: String,
    /// `[dependencies]`, those of single targets among them, and `[build-dependencies]`.
    pub(crate) product: BTreeSet<String>,
    /// `[dev-dependencies]`.
    pub(crate) tests: BTreeSet<String>,
}

/// All manifests.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// Crates by package name.
    pub(crate) crates: BTreeMap<String, Manifest>,
    /// Names in `[workspace.dependencies]` that are not ours.
    pub(crate) outside: BTreeSet<String>,
}

impl Manifests {
    /// Reads the root manifest and those of `crates/` and `xtask`.
    pub(crate) fn read(tree: &Tree) -> anyhow::Result<Manifests> {
        let mut all = Manifests::default();
        for (path, text) in tree.files() {
            let Some(folder) = path.strip_suffix("Cargo.toml") else {
                continue;
            };
            let value: toml::Table = text.parse().with_context(|| format!("parsing {path}"))?;
            if folder.is_empty() {
                let listed = value.get("workspace").and_then(|w| w.get("dependencies"));
                for (name, entry) in listed.and_then(|d| d.as_table()).into_iter().flatten() {
                    if entry.get("path").is_none() {
                        all.outside.insert(name.clone());
                    }
                }
                continue;
            }
            let folder = folder.trim_end_matches('/');
            let name = value
                .get("package")
                .and_then(|p| p.get("name"))
                .and_then(|n| n.as_str())
                .with_context(|| format!("{path} names no package"))?;
            let mut manifest = Manifest {
                folder: folder.to_owned(),
                product: names(&value, "dependencies"),
                tests: names(&value, "dev-dependencies"),
            };
            manifest.product.extend(names(&value, "build-dependencies"));
            let targets = value.get("target").and_then(|targets| targets.as_table());
            for target in targets.into_iter().flat_map(|targets| targets.values()) {
                let table = target.as_table();
                manifest
                    .product
                    .extend(table.map(|t| names(t, "dependencies")).unwrap_or_default());
            }
            all.crates.insert(name.to_owned(), manifest);
        }
        Ok(all)
    }
}

fn names(value: &toml::Table, section: &str) -> BTreeSet<String> {
    let table = value.get(section).and_then(|s| s.as_table());
    table.map(|t| t.keys().cloned().collect()).unwrap_or_default()
}

fn allowed(
    table: &'static [(&'static str, &'static [&'static str])],
    name: &str,
) -> Option<&'static [&'static str]> {
    table.iter().find(|(of, _)| *of == name).map(|(_, list)| *list)
}

/// Edges between our crates that the table does not allow, cycles, and crates that it lacks.
pub(crate) fn direction(manifests: &Manifests) -> Vec<String> {
    let mut found = Vec::new();
    for (name, manifest) in &manifests.crates {
        let folder = manifest.folder.rsplit('/').next().unwrap_or_default();
        if folder != name {
            found.push(format!(
                "{}: package {name} should be named as its folder",
                manifest.folder
            ));
        }
        let Some(may) = allowed(EDGES, name) else {
            found.push(format!(
                "{name}: not in the table of crates in xtask/src/tidy/edges.rs"
            ));
            continue;
        };
        for other in manifest
            .product
            .iter()
            .filter(|d| manifests.crates.contains_key(*d))
        {
            if !may.contains(&other.as_str()) {
                found.push(format!("{name} -> {other}: this edge is not allowed"));
            }
        }
        for other in manifest
            .tests
            .iter()
            .filter(|d| manifests.crates.contains_key(*d))
        {
            let testkit = other == "testkit" && !BELOW_TESTKIT.contains(&name.as_str());
            if !testkit && !may.contains(&other.as_str()) {
                found.push(format!("{name} -> {other} (tests): this edge is not allowed"));
            }
        }
    }
    for (name, _) in EDGES {
        if !manifests.crates.contains_key(*name) {
            found.push(format!(
                "{name}: in the table of crates, but not in the workspace"
            ));
        }
    }
    found.extend(cycle(manifests).map(|path| format!("cycle: {}", path.join(" -> "))));
    found
}

/// One cycle of product edges, if there is any.
fn cycle(manifests: &Manifests) -> Option<Vec<String>> {
    fn visit(
        manifests: &Manifests,
        name: &str,
        path: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|p| p == name) {
            let mut cycle = path[start..].to_vec();
            cycle.push(name.to_owned());
            return Some(cycle);
        }
        if !done.insert(name.to_owned()) {
            return None;
        }
        path.push(name.to_owned());
        for other in &manifests.crates.get(name)?.product {
            if manifests.crates.contains_key(other)
                && let Some(cycle) = visit(manifests, other, path, done)
            {
                return Some(cycle);
            }
        }
        path.pop();
        None
    }
    let mut done = BTreeSet::new();
    manifests
        .crates
        .keys()
        .find_map(|name| visit(manifests, name, &mut Vec::new(), &mut done))
}

/// Heavy dependencies outside their crates, and anything extra in the bottom crates.
pub(crate) fn heavy(manifests: &Manifests) -> Vec<String> {
    let mut found = Vec::new();
    for (name, manifest) in &manifests.crates {
        for dependency in &manifest.product {
            if let Some(only) = allowed(HEAVY, dependency)
                && !only.contains(&name.as_str())
            {
                found.push(match only {
                    [] => format!("{name} -> {dependency}: for tests only"),
                    _ => format!("{name} -> {dependency}: only {} may have it", only.join(", ")),
                });
            }
            if let Some(only) = allowed(BOTTOM, name)
                && !only.contains(&dependency.as_str())
            {
                found.push(format!(
                    "{name} -> {dependency}: {name} has {} at most",
                    only.join(", ")
                ));
            }
        }
    }
    found
}

/// True if the code of a crate is comments alone: its place is laid out, nothing is built yet.
pub(crate) fn is_reserved(code: &str) -> bool {
    let is_comment = |line: &str| line.is_empty() || line.starts_with("//") || line == "fn main() {}";
    !code.is_empty() && code.lines().map(str::trim).all(is_comment)
}

/// Dependencies that a manifest names and no code of the crate uses, and entries of the root
/// manifest that no crate uses.
pub(crate) fn unused(tree: &Tree, manifests: &Manifests) -> Vec<String> {
    let mut found = Vec::new();
    for (name, manifest) in &manifests.crates {
        let prefix = format!("{}/", manifest.folder);
        let code: String = tree
            .files()
            .filter(|(path, _)| path.starts_with(&prefix) && path.ends_with(".rs"))
            .map(|(_, text)| text)
            .collect();
        if is_reserved(&code) {
            continue;
        }
        for dependency in manifest.product.iter().chain(&manifest.tests) {
            if !mentions(&code, &dependency.replace('-', "_")) {
                found.push(format!("{name} -> {dependency}: named in the manifest, not used"));
            }
        }
    }
    for dependency in &manifests.outside {
        let used = |m: &Manifest| m.product.contains(dependency) || m.tests.contains(dependency);
        if !manifests.crates.values().any(used) {
            found.push(format!("Cargo.toml: no crate uses {dependency}"));
        }
    }
    found
}

/// True if `word` stands in `code` as a whole identifier before `::`, or after `use `.
fn mentions(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + word.len()..];
        let whole = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        whole && (after.starts_with("::") || after.starts_with(';') || after.starts_with(" as "))
    })
}

#[cfg(test)]
mod tests {
    use super::{EDGES, Manifests, cycle, direction, heavy, unused};
    use crate::tidy::Tree;

    fn manifest(name: &str, product: &[&str], tests: &[&str]) -> (String, String) {
        let section = |names: &[&str]| {
            names
                .iter()
                .map(|n| format!("{n}.workspace = true\n"))
                .collect::<String>()
        };
        (
            format!("crates/{name}/Cargo.toml"),
            format!(
                "[package]\nname = \"{name}\"\n[dependencies]\n{}[dev-dependencies]\n{}",
                section(product),
                section(tests)
            ),
        )
    }

    fn planted(crates: &[(&str, &[&str], &[&str])]) -> Manifests {
        let files: Vec<_> = crates.iter().map(|(n, p, t)| manifest(n, p, t)).collect();
        let files: Vec<_> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
        Manifests::read(&Tree::of(&files)).expect("planted manifests parse")
    }

    /// Findings about edges; the planted workspaces lack most crates, which is not what is tested.
    fn edges(manifests: &Manifests) -> Vec<String> {
        direction(manifests)
            .into_iter()
            .filter(|f| !f.contains("not in the workspace"))
            .collect()
    }

    #[test]
    fn the_table_only_points_upwards() {
        for (place, (name, may)) in EDGES.iter().enumerate() {
            for other in *may {
                let above = EDGES[..place].iter().any(|(n, _)| n == other);
                assert!(above, "{name} names {other}, which is not above it");
            }
        }
    }

    #[test]
    fn a_wrong_edge_is_found() {
        let fine = planted(&[("domain", &[], &[]), ("engine", &["domain"], &[])]);
        assert_eq!(edges(&fine), [""; 0]);
        let wrong = planted(&[("models", &[], &[]), ("engine", &["models"], &[])]);
        assert_eq!(edges(&wrong), ["engine -> models: this edge is not allowed"]);
        let upwards = planted(&[("engine", &[], &[]), ("domain", &["engine"], &[])]);
        assert_eq!(edges(&upwards), ["domain -> engine: this edge is not allowed"]);
        let tests = planted(&[
            ("testkit", &[], &[]),
            ("engine", &[], &["testkit"]),
            ("domain", &[], &["testkit"]),
        ]);
        assert_eq!(
            edges(&tests),
            ["domain -> testkit (tests): this edge is not allowed"]
        );
        let unknown = planted(&[("misc", &[], &[])]);
        assert_eq!(
            edges(&unknown),
            ["misc: not in the table of crates in xtask/src/tidy/edges.rs"]
        );
    }

    #[test]
    fn a_cycle_is_found() {
        let ring = planted(&[("a", &["b"], &[]), ("b", &["c"], &[]), ("c", &["b"], &[])]);
        assert_eq!(cycle(&ring), Some(vec!["b".into(), "c".into(), "b".into()]));
        let tree = planted(&[("a", &["b", "c"], &[]), ("b", &["c"], &[]), ("c", &[], &[])]);
        assert_eq!(cycle(&tree), None);
    }

    #[test]
    fn a_heavy_dependency_outside_its_crate_is_found() {
        let wrong = planted(&[
            ("engine", &["tokio"], &["proptest"]),
            ("models", &["proptest"], &[]),
            ("numeric", &["serde_json"], &[]),
            ("server", &["axum"], &[]),
        ]);
        assert_eq!(
            heavy(&wrong),
            [
                "engine -> tokio: only server, cli may have it",
                "models -> proptest: for tests only",
                "numeric -> serde_json: numeric has serde, thiserror, rayon, faer at most",
            ]
        );
    }

    #[test]
    fn an_unused_dependency_is_found() {
        let tree = Tree::of(&[
            (
                "Cargo.toml",
                "[workspace.dependencies]\nzstd = \"1\"\nserde-x = \"1\"\n",
            ),
            (
                "crates/engine/Cargo.toml",
                "[package]\nname = \"engine\"\n[dependencies]\nserde-x = \"1\"\ncsv = \"1\"\n",
            ),
            ("crates/engine/src/lib.rs", "use serde_x::A;\nfn my_csv() {}\n"),
        ]);
        let manifests = Manifests::read(&tree).expect("planted manifests parse");
        assert_eq!(
            unused(&tree, &manifests),
            [
                "engine -> csv: named in the manifest, not used",
                "Cargo.toml: no crate uses zstd"
            ]
        );
    }
}
