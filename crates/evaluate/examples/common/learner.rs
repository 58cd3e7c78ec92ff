//! Learners as the command line has them: `NAME` or `NAME:{json}`.

use models::Trainer;

pub(crate) fn learner(text: &str) -> Result<Box<dyn Trainer>, Box<dyn std::error::Error>> {
    let (name, config) = match text.split_once(':') {
        Some((name, config)) => (name, serde_json::from_str(config)?),
        None => (text, serde_json::Value::Null),
    };
    let entry = models::trainer(name).ok_or_else(|| format!("no learner {name}"))?;
    Ok((entry.build)(&config)?)
}
