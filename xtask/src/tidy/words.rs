//! Words that have no place in what is kept: paths of one machine, unfinished work, debugging.

use super::Tree;

/// Files that have to name the words.
const EXEMPT: &[&str] = &["xtask/src/tidy/words.rs", "Cargo.toml"];

/// Each word, and whether it counts only as a whole word.
const WORDS: &[(&str, bool)] = &[
    ("/work/", false),
    ("/root/", false),
    ("/home/", false),
    ("TODO", true),
    ("FIXME", true),
    ("todo!", true),
    ("unimplemented!", true),
    ("dbg!", true),
];

/// Every occurrence.
pub(crate) fn check(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree.files() {
        if EXEMPT.contains(&path) || path.ends_with(".lock") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for (word, whole) in WORDS {
                if occurs(line, word, *whole) {
                    found.push(format!("{path}:{}: holds {word}", number + 1));
                }
            }
        }
    }
    found
}

fn occurs(line: &str, word: &str, whole: bool) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        if whole {
            !part(before) && (word.ends_with('!') || !part(after))
        } else {
            // A path of a machine starts there; `crates/x/work/` or a web address does not.
            !part(before) && before != Some('.')
        }
    })
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::Tree;

    #[test]
    fn words_are_found_where_they_count() {
        let tree = Tree::of(&[
            (
                "a.rs",
                "let path = \"/root/x\";\n// TODO: later\nfn todo_list() {}\n",
            ),
            ("b.md", "see https://example.org/work/x and TODOS\n"),
            ("c.rs", "dbg!(x);\nmy_dbg!(x);\n"),
        ]);
        assert_eq!(
            check(&tree),
            ["a.rs:1: holds /root/", "a.rs:2: holds TODO", "c.rs:1: holds dbg!"]
        );
    }
}
