//! Documents name only what exists, and say why each dependency is there.

use super::{
    Tree,
    edges::{Manifests, is_reserved},
};
use std::collections::BTreeSet;

/// Folders in whose paths documents speak of the repository.
const ROOTS: &[&str] = &[
    "crates/",
    "docs/",
    "xtask/",
    ".ci/",
    "changelog.d/",
    "benches/",
    "fuzz/",
    "pipelines/",
    "tests/",
];

/// Every outside dependency has a row in `docs/dependencies.md` that says why, and no row is about one that is gone.
pub(crate) fn dependencies(tree: &Tree, manifests: &Manifests) -> Vec<String> {
    const PAGE: &str = "docs/dependencies.md";
    let Some(page) = tree.text(PAGE) else {
        return vec![format!("{PAGE}: missing")];
    };
    let mut found = Vec::new();
    let mut listed = BTreeSet::new();
    for (number, line) in page.lines().enumerate() {
        let Some(rest) = line.strip_prefix("| `") else {
            continue;
        };
        let name = rest.split('`').next().unwrap_or_default();
        let reason = line
            .trim_end_matches([' ', '|'])
            .rsplit('|')
            .next()
            .unwrap_or_default();
        if reason.split_whitespace().count() < 4 {
            found.push(format!("{PAGE}:{}: {name} has no reason", number + 1));
        }
        if !manifests.outside.contains(name) {
            found.push(format!(
                "{PAGE}:{}: {name} is no dependency of the workspace",
                number + 1
            ));
        }
        listed.insert(name.to_owned());
    }
    for name in manifests.outside.difference(&listed) {
        found.push(format!("{PAGE}: {name} is not justified"));
    }
    found
}

/// Paths in backticks and link targets in the documents that lead nowhere.
pub(crate) fn paths(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree.files() {
        let root_page = !path.contains('/') && (path.ends_with(".md") || path == "NOTICE");
        let page = path.starts_with("docs/") && path.ends_with(".md");
        if !(root_page || page) {
            continue;
        }
        let mut fenced = false;
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            let spans = line
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|span| looks_like_path(span));
            for span in spans.filter(|span| !tree.exists(span)) {
                found.push(format!("{path}:{}: `{span}` does not exist", number + 1));
            }
            for target in link_targets(line) {
                if !tree.exists(&beside(path, target)) {
                    found.push(format!("{path}:{}: link to {target} leads nowhere", number + 1));
                }
            }
        }
    }
    found
}

fn looks_like_path(span: &str) -> bool {
    let plain = span
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '*'));
    let root_file = !span.contains('/')
        && (span.ends_with(".md") || matches!(span, "LICENSE" | "NOTICE" | "clippy.toml" | "rustfmt.toml"))
        && span
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_uppercase() || span.ends_with(".toml"));
    plain && (root_file || ROOTS.iter().any(|root| span.starts_with(root)))
}

/// Targets of links within the repository, without their anchors.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?.split('#').next()?;
        (!target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")).then_some(target)
    })
}

/// `target` as seen from the folder of `page`, from the root.
fn beside(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Decision pages are numbered from 1 without gaps or doubles and have the four parts.
pub(crate) fn decisions(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let mut expected = 1;
    for (path, text) in tree.files() {
        let Some(name) = path.strip_prefix("docs/decisions/") else {
            continue;
        };
        let number: Option<u32> = name.split('-').next().and_then(|n| n.parse().ok());
        if number != Some(expected) {
            found.push(format!("{path}: expected number {expected:04}"));
        }
        expected += 1;
        for part in ["## Context", "## Decision", "## Consequences", "## Alternatives"] {
            if !text.lines().any(|line| line == part) {
                found.push(format!("{path}: has no \"{part}\""));
            }
        }
    }
    found
}

/// The line `Not built:` of the architecture page names exactly the crates that are laid out and have no code.
pub(crate) fn state(tree: &Tree, manifests: &Manifests) -> Vec<String> {
    const PAGE: &str = "ARCHITECTURE.md";
    let line = tree
        .text(PAGE)
        .and_then(|page| page.lines().find(|line| line.starts_with("Not built:")))
        .unwrap_or_default();
    let named: BTreeSet<&str> = line.split('`').skip(1).step_by(2).collect();
    let reserved: BTreeSet<&str> = manifests
        .crates
        .iter()
        .filter(|(_, manifest)| {
            let file = |name| tree.text(&format!("{}/src/{name}", manifest.folder));
            file("lib.rs")
                .or_else(|| file("main.rs"))
                .is_some_and(is_reserved)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    let missing = reserved
        .difference(&named)
        .map(|name| format!("{PAGE}: {name} has no code, and \"Not built:\" does not say so"));
    let built = named
        .difference(&reserved)
        .map(|name| format!("{PAGE}: {name} has code; take it out of \"Not built:\""));
    missing.chain(built).collect()
}

/// Every crate opens with what it is, and libraries with what they do not know.
pub(crate) fn headers(tree: &Tree, manifests: &Manifests) -> Vec<String> {
    let mut found = Vec::new();
    for manifest in manifests.crates.values() {
        for file in ["lib.rs", "main.rs"] {
            let path = format!("{}/src/{file}", manifest.folder);
            let Some(text) = tree.text(&path) else {
                continue;
            };
            let header: String = text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .collect::<Vec<_>>()
                .join(" ");
            if header.is_empty() {
                found.push(format!("{path}: has no //! header"));
            } else if file == "lib.rs" && !is_reserved(text) && !header.contains("not know") {
                found.push(format!("{path}: does not say what the crate does not know"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{decisions, dependencies, headers, paths, state};
    use crate::tidy::{Tree, edges::Manifests};

    fn manifests(tree: &Tree) -> Manifests {
        Manifests::read(tree).expect("planted manifests parse")
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let root =
            "[workspace.dependencies]\nserde = \"1\"\ncsv = \"1\"\nzstd = \"1\"\nours = { path = \"x\" }\n";
        let page = "| `serde` | all | reads and writes typed values |\n| `csv` | import | |\n| `gone` | x | was once of some use |\n";
        let tree = Tree::of(&[("Cargo.toml", root), ("docs/dependencies.md", page)]);
        assert_eq!(
            dependencies(&tree, &manifests(&tree)),
            [
                "docs/dependencies.md:2: csv has no reason",
                "docs/dependencies.md:3: gone is no dependency of the workspace",
                "docs/dependencies.md: zstd is not justified",
            ]
        );
    }

    #[test]
    fn a_path_that_is_gone_is_found() {
        let page = "see `crates/a/src` and `crates/b`, `POST /v1/events`, `NOTES.md`\n\
                    ```\ncat `crates/zzz`\n```\n[x](guides/x.md#part) [y](https://example.org) [z](../LICENSE)\n";
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", ""),
            ("LICENSE", ""),
            ("docs/page.md", page),
        ]);
        assert_eq!(
            paths(&tree),
            [
                "docs/page.md:1: `crates/b` does not exist",
                "docs/page.md:1: `NOTES.md` does not exist",
                "docs/page.md:5: link to guides/x.md leads nowhere",
            ]
        );
    }

    #[test]
    fn decisions_are_numbered_and_whole() {
        let whole = "## Context\n## Decision\n## Consequences\n## Alternatives\n";
        let tree = Tree::of(&[
            ("docs/decisions/0001-a.md", whole),
            ("docs/decisions/0003-b.md", "## Context\n"),
        ]);
        assert_eq!(
            decisions(&tree),
            [
                "docs/decisions/0003-b.md: expected number 0002",
                "docs/decisions/0003-b.md: has no \"## Decision\"",
                "docs/decisions/0003-b.md: has no \"## Consequences\"",
                "docs/decisions/0003-b.md: has no \"## Alternatives\"",
            ]
        );
    }

    #[test]
    fn a_crate_without_code_is_named_and_no_other() {
        let tree = Tree::of(&[
            ("ARCHITECTURE.md", "Not built: `a`, `b`\n"),
            ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("crates/a/src/lib.rs", "//! A.\n"),
            ("crates/b/Cargo.toml", "[package]\nname = \"b\"\n"),
            ("crates/b/src/lib.rs", "//! B.\nmod x;\n"),
            ("crates/c/Cargo.toml", "[package]\nname = \"c\"\n"),
            ("crates/c/src/main.rs", "//! C.\nfn main() {}\n"),
        ]);
        assert_eq!(
            state(&tree, &manifests(&tree)),
            [
                "ARCHITECTURE.md: c has no code, and \"Not built:\" does not say so",
                "ARCHITECTURE.md: b has code; take it out of \"Not built:\"",
            ]
        );
    }

    #[test]
    fn a_crate_without_header_is_found() {
        let tree = Tree::of(&[
            ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("crates/a/src/lib.rs", "mod x;\n"),
            ("crates/b/Cargo.toml", "[package]\nname = \"b\"\n"),
            ("crates/b/src/lib.rs", "//! B. What it does not know: A.\n"),
        ]);
        assert_eq!(
            headers(&tree, &manifests(&tree)),
            ["crates/a/src/lib.rs: has no //! header"]
        );
    }
}
