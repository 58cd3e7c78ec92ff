//! No library reads the clock, the environment or a global random source.

use super::{Tree, tree::product_lines};

/// Crates at the edge, which may.
const EDGE: &[&str] = &["crates/server/", "crates/cli/", "xtask/"];

/// Single files that may, and why.
const FILES: &[(&str, &str)] = &[(
    "crates/assembly/src/clock.rs",
    "the one clock, handed to everything that needs a moment",
)];

/// What is not to be called, and what to do instead.
const CALLS: &[(&str, &str)] = &[
    ("SystemTime::now", "take the moment as an argument"),
    ("Instant::now", "take the moment as an argument"),
    ("Timestamp::now", "take the moment as an argument"),
    ("Zoned::now", "take the moment as an argument"),
    ("env::var", "take the value as an argument"),
    ("env::vars", "take the value as an argument"),
    ("env::args", "take the value as an argument"),
    ("env::current_dir", "take the folder as an argument"),
    ("env::temp_dir", "take the folder as an argument"),
    ("thread_rng", "take a seed as an argument"),
    (
        "RandomState::new",
        "take a seed as an argument, or use an ordered map",
    ),
];

/// Calls outside the places that may.
pub(crate) fn check(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree.files() {
        let library = path.starts_with("crates/") && path.ends_with(".rs") && path.contains("/src/");
        let exempt = EDGE.iter().any(|edge| path.starts_with(edge))
            || FILES.iter().any(|(file, _)| *file == path)
            || path.ends_with("/tests.rs")
            || path.contains("/src/tests/");
        if !library || exempt {
            continue;
        }
        for (number, line) in product_lines(text) {
            let code = line.split("//").next().unwrap_or_default();
            for (call, instead) in CALLS {
                if contains_call(code, call) {
                    found.push(format!("{path}:{number}: {call} in a library; {instead}"));
                }
            }
        }
    }
    found
}

/// True if `call` stands in `code`, not as the start of a longer name.
fn contains_call(code: &str, call: &str) -> bool {
    code.match_indices(call).any(|(at, _)| {
        let after = code[at + call.len()..].chars().next();
        !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::Tree;

    #[test]
    fn a_clock_in_a_library_is_found() {
        let clock = "fn a() {\n    let now = std::time::SystemTime::now();\n}\n";
        let tests = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { std::time::Instant::now(); }\n}\n";
        let comment = "// not SystemTime::now\nfn a() { env!(\"CARGO_PKG_NAME\"); env::variables(); }\n";
        let tree = Tree::of(&[
            ("crates/assembly/src/clock.rs", clock),
            ("crates/cli/src/main.rs", clock),
            ("crates/engine/src/lib.rs", clock),
            ("crates/engine/src/comment.rs", comment),
            ("crates/engine/tests/it/main.rs", clock),
            ("crates/models/src/lib.rs", tests),
            (
                "crates/signals/src/lib.rs",
                "fn a() { let x = std::env::var(\"X\"); }\n",
            ),
        ]);
        assert_eq!(
            check(&tree),
            [
                "crates/engine/src/lib.rs:2: SystemTime::now in a library; take the moment as an argument",
                "crates/signals/src/lib.rs:1: env::var in a library; take the value as an argument",
            ]
        );
    }
}
