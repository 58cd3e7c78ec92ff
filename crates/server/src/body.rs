//! Reading bodies: JSON within its limits, one row or many, each row with its own verdict.

use assembly::Problem;
use serde::de::DeserializeOwned;

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) depth: usize,
    pub(crate) rows: usize,
}

/// Deepest nesting of brackets and braces outside of strings.
pub(crate) fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

fn shown(json: &[u8]) -> String {
    String::from_utf8_lossy(&json[..json.len().min(200)])
        .trim()
        .to_owned()
}

/// The text between the first pair of backticks.
fn quoted(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

/// What a reader's message says of which field.
fn problem(path: &str, message: &str, json: &[u8]) -> Problem {
    let message = message.split(" at line ").next().unwrap_or(message);
    let join = |name: &str| match path {
        "." | "" => name.to_owned(),
        path if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        path => format!("{path}.{name}"),
    };
    if let (true, Some(name)) = (message.starts_with("unknown field"), quoted(message)) {
        let known = message.split("expected ").nth(1).unwrap_or("no such field");
        return Problem::new(join(name), "an unknown field", known.replace('`', ""));
    }
    if let (true, Some(name)) = (message.starts_with("missing field"), quoted(message)) {
        return Problem::new(join(name), "nothing", "a value");
    }
    if let (true, Some(name)) = (message.starts_with("duplicate field"), quoted(message)) {
        return Problem::new(join(name), "the field twice", "each field once");
    }
    if let Some((got, expected)) = message.split_once(", expected ") {
        let got = got
            .trim_start_matches("invalid type: ")
            .trim_start_matches("invalid value: ");
        let field = if matches!(path, "." | "?") { "body" } else { path };
        return Problem::new(field, got.replace('`', ""), expected.replace('`', ""));
    }
    let field = if matches!(path, "." | "?") { "body" } else { path };
    Problem::new(
        field,
        format!("{} ({message})", shown(json)),
        "JSON of the documented form",
    )
}

/// Reads one JSON value.
pub(crate) fn value<T: DeserializeOwned>(json: &[u8], limits: BodyLimits) -> Result<T, Problem> {
    let deep = depth(json);
    if deep > limits.depth {
        let expected = format!("at most {} levels", limits.depth);
        return Err(Problem::new(
            "body",
            format!("JSON nested {deep} levels deep"),
            expected,
        ));
    }
    if let Err(error) = std::str::from_utf8(json) {
        let got = format!("a byte that is not UTF-8 at {}", error.valid_up_to());
        return Err(Problem::new("body", got, "UTF-8"));
    }
    serde_json::from_slice(json).or_else(|_| explained(json))
}

/// Reads again, to say where it went wrong.
fn explained<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = serde_path_to_error::deserialize(&mut reader);
    match read {
        Err(error) => Err(problem(
            &error.path().to_string(),
            &error.inner().to_string(),
            json,
        )),
        Ok(value) => match reader.end() {
            Ok(()) => Ok(value),
            Err(_) => Err(Problem::new(
                "body",
                shown(json),
                "one JSON value and nothing after it",
            )),
        },
    }
}

/// Rows that may each be bad.
pub(crate) type Rows<T> = Vec<Result<T, Problem>>;

/// Reads one object, an array of objects, or an object per line.
pub(crate) fn rows<T: DeserializeOwned>(
    json: &[u8],
    is_lines: bool,
    limits: BodyLimits,
) -> Result<Rows<T>, Problem> {
    let first = json.iter().find(|byte| !byte.is_ascii_whitespace());
    let rows: Rows<T> = match first {
        None => {
            return Err(Problem::new(
                "body",
                "nothing",
                "an object, an array of objects, or an object per line",
            ));
        }
        Some(b'[') if !is_lines => {
            let raw: Vec<serde_json::Value> = value(json, limits)?;
            raw.into_iter()
                .map(|row| {
                    let bytes = row.to_string().into_bytes();
                    object(&bytes, limits)
                })
                .collect()
        }
        _ if is_lines || is_many_lines(json) => {
            let lines = json
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.iter().all(u8::is_ascii_whitespace));
            lines.map(|line| object(line, limits)).collect()
        }
        _ => vec![Ok(value(json, limits)?)],
    };
    if rows.len() > limits.rows {
        let expected = format!("1 to {} rows", limits.rows);
        return Err(Problem::new("body", format!("{} rows", rows.len()), expected));
    }
    if rows.is_empty() {
        return Err(Problem::new("body", "no rows", "at least one"));
    }
    Ok(rows)
}

/// Reads one object that is the whole body.
pub(crate) fn one<T: DeserializeOwned>(json: &[u8], limits: BodyLimits) -> Result<T, Problem> {
    match json.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => value(json, limits),
        None => Err(Problem::new("body", "nothing", "a JSON object")),
        Some(_) => Err(Problem::new("body", shown(json), "a JSON object")),
    }
}

fn object<T: DeserializeOwned>(json: &[u8], limits: BodyLimits) -> Result<T, Problem> {
    match json.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => value(json, limits),
        _ => Err(Problem::new("row", shown(json), "a JSON object")),
    }
}

/// True if the first line is a whole object and another follows.
fn is_many_lines(json: &[u8]) -> bool {
    let mut lines = json
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    let first = lines.next();
    lines.next().is_some()
        && first.is_some_and(|line| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_looks_past_strings() {
        assert_eq!(depth(br#"{"a":[1,{"b":2}]}"#), 3);
        assert_eq!(depth(br#"{"a":"[[[[{{{\"[["}"#), 1);
        assert_eq!(depth(b"17"), 0);
        assert_eq!(depth(&b"[".repeat(100_000)), 100_000);
    }
}
