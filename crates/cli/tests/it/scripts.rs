//! The scripts that regenerate the tables of the benchmarks.

use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// What a script would run.
fn listed(script: &str, sections: &[&str]) -> String {
    let out = Command::new("bash")
        .arg(root().join("scripts").join(script))
        .args(sections)
        .env("DRY", "1")
        .env("DATA", "DATA")
        .env_remove("OUT")
        .output()
        .expect("bash is there");
    assert!(
        out.status.success(),
        "{script} {sections:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Every `scripts/NAME.sh SECTION` of the page is a section, and prints commands when it is only asked what it would do.
#[test]
fn every_section_that_the_page_names_is_there() {
    let page = std::fs::read_to_string(root().join("docs/benchmarks.md")).expect("the page");
    let mut sections = 0;
    for (at, _) in page.match_indices("`scripts/") {
        let named = page[at + 1..].split('`').next().unwrap_or_default();
        let mut words = named.trim_start_matches("scripts/").split_whitespace();
        let script = words.next().unwrap_or_default();
        let section = words
            .next()
            .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || "-_".contains(c)));
        let (true, Some(section)) = (
            ["benchmarks.sh", "als.sh", "closed_form_benchmarks.sh"].contains(&script),
            section,
        ) else {
            continue;
        };
        if section == "list" {
            continue;
        }
        let commands = listed(script, &[section]);
        assert!(
            commands.contains("$ "),
            "{script} {section} runs nothing:\n{commands}"
        );
        sections += 1;
    }
    assert!(sections > 20, "{sections} sections on the page");
}

/// Without a section, all of them, those of the other scripts included.
#[test]
fn without_a_section_the_script_runs_all_of_them() {
    let all = listed("benchmarks.sh", &[]);
    for section in listed("benchmarks.sh", &["list"]).lines() {
        assert!(
            all.contains(&format!("== {section}\n")),
            "{section} is left out:\n{all}"
        );
    }
    for other in ["als.sh", "closed_form_benchmarks.sh"] {
        for section in listed(other, &["list"]).lines() {
            for command in listed(other, &[section])
                .lines()
                .filter(|line| line.starts_with("$ "))
            {
                assert!(all.contains(command), "{other} {section}: {command}");
            }
        }
    }
}
