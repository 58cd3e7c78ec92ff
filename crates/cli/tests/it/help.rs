//! Every command explains itself.

use crate::run::concierge;

/// Names under `Commands:` of a help text.
fn commands(help: &str) -> Vec<String> {
    let lines = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1);
    lines
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_an_example_of_itself() {
    let top = concierge("--help").code(0).out;
    let mut open: Vec<Vec<String>> = commands(&top).into_iter().map(|name| vec![name]).collect();
    assert!(open.len() > 9, "{top}");
    while let Some(path) = open.pop() {
        let path_text = path.join(" ");
        let help = concierge(&format!("{path_text} --help")).code(0).out;
        let nested = commands(&help);
        if nested.is_empty() {
            assert!(help.contains("Example"), "{path_text} has no example:\n{help}");
            assert!(
                help.contains(&format!("concierge {path_text} ")),
                "{path_text}:\n{help}"
            );
            assert!(
                help.contains("--json"),
                "{path_text} does not speak JSON:\n{help}"
            );
        }
        open.extend(nested.into_iter().map(|name| [path.clone(), vec![name]].concat()));
    }
}

#[test]
fn what_cannot_be_is_refused_with_exit_code_2() {
    concierge("").code(2);
    concierge("recomend").code(2).says(&["recomend", "recommend"]);
    concierge("status").code(2).says(&["--data"]);
    concierge("status --data /no/such/folder").code(2).says(&[
        "--data: got /no/such/folder",
        "expected",
        "concierge init",
    ]);
    concierge("schema --data . --set year")
        .code(2)
        .says(&["--set: got year, expected items.NAME=KIND"]);
    concierge("erase --data . --user 1").code(2).says(&["--yes"]);
}
