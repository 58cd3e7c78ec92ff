//! The rules of the repository, each a function from its text to findings.

mod documents;
mod edges;
mod purity;
mod sizes;
mod tree;
mod words;

pub(crate) use tree::Tree;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Rules that are broken, in the order of files.
    pub(crate) violations: Vec<String>,
    /// Things to look at twice.
    pub(crate) advice: Vec<String>,
}

/// Runs every rule.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<Report> {
    let manifests = edges::Manifests::read(tree)?;
    let mut report = Report::default();
    for found in [
        edges::direction(&manifests),
        edges::heavy(&manifests),
        documents::dependencies(tree, &manifests),
        documents::paths(tree),
        documents::decisions(tree),
        documents::headers(tree, &manifests),
        documents::state(tree, &manifests),
        purity::check(tree),
        words::check(tree),
    ] {
        report.violations.extend(found);
    }
    report.violations.extend(edges::unused(tree, &manifests));
    report.advice = sizes::check(tree);
    Ok(report)
}
