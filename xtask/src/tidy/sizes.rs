//! Advice on sizes: long files and long functions deserve a second look, no more.

use super::{Tree, tree::product_lines};

/// Lines from which a file is mentioned, its tests left out.
const FILE_LINES: usize = 800;
/// Lines from which a function is mentioned.
const FUNCTION_LINES: usize = 60;

/// Long files and functions, longest first within each kind.
pub(crate) fn check(tree: &Tree) -> Vec<String> {
    let mut files = Vec::new();
    let mut functions = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| path.ends_with(".rs")) {
        let lines: Vec<&str> = product_lines(text).map(|(_, line)| line).collect();
        if lines.len() > FILE_LINES {
            files.push((
                lines.len(),
                format!("{path}: {} lines; are there two ideas in it?", lines.len()),
            ));
        }
        for (number, name, length) in long_functions(&lines) {
            functions.push((length, format!("{path}:{number}: {name} has {length} lines")));
        }
    }
    files.sort_by(|a, b| b.cmp(a));
    functions.sort_by(|a, b| b.cmp(a));
    files.into_iter().chain(functions).map(|(_, text)| text).collect()
}

/// Line, name and length of each long function. Relies on the formatter: a function ends at the
/// first later line that is its own indentation and a closing brace.
fn long_functions(lines: &[&str]) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let Some(name) = function_name(trimmed) else {
            continue;
        };
        let end = format!("{}}}", &line[..line.len() - trimmed.len()]);
        if let Some(length) = lines[start..].iter().position(|l| *l == end)
            && length + 1 > FUNCTION_LINES
        {
            found.push((start + 1, name.to_owned(), length + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let at = if line.starts_with("fn ") {
        0
    } else {
        line.find(" fn ")? + 1
    };
    let modifiers = &line[..at];
    let known = |word: &str| {
        matches!(word, "pub" | "async" | "const" | "unsafe" | "extern") || word.starts_with("pub(")
    };
    if !modifiers.split_whitespace().all(known) || line.ends_with(';') || line.ends_with('}') {
        return None;
    }
    line[at + 3..].split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::Tree;

    #[test]
    fn long_functions_and_files_are_mentioned() {
        let body = "        x();\n".repeat(61);
        let long = format!(
            "impl A {{\n    pub(crate) fn long(&self) {{\n{body}    }}\n    fn short() {{\n    }}\n}}\n"
        );
        let tree = Tree::of(&[
            ("a.rs", long.as_str()),
            ("b.rs", &"// x\n".repeat(801)),
            ("c.md", &"x\n".repeat(900)),
        ]);
        assert_eq!(
            check(&tree),
            [
                "b.rs: 801 lines; are there two ideas in it?",
                "a.rs:2: long has 63 lines"
            ]
        );
    }
}
