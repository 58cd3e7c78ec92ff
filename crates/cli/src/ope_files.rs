//! Logs of policies from files. Every row must be sound: an estimate over part of a log would be another one.

use crate::failure::InputError;
use crate::files;
use import::Cell;
use ope::{Log, LogError, SlateLog};
use std::collections::BTreeMap;
use std::path::Path;

const REWARD: &[&str] = &["reward", "click", "value"];
const ACTION: &[&str] = &["action", "item_id"];
const PROPENSITY: &[&str] = &["pscore", "propensity", "propensity_score"];

/// Names of columns, where they are not the usual ones.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Columns of --log")]
pub(crate) struct Names {
    /// Reward of the round; reward, click or value if absent.
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["slates", "data"])]
    reward_column: Option<String>,
    /// Action that was chosen; action or item_id if absent.
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["slates", "data"])]
    action_column: Option<String>,
    /// Probability with which it was chosen; pscore, propensity or propensity_score if absent.
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["slates", "data"])]
    propensity_column: Option<String>,
    /// What stands before the action in columns of the target's probabilities.
    #[arg(long, value_name = "PREFIX", default_value = "pi_e_", conflicts_with_all = ["slates", "data"])]
    target_prefix: String,
    /// What stands before the action in columns of the logging policy's probabilities.
    #[arg(long, value_name = "PREFIX", default_value = "pi_b_", conflicts_with_all = ["slates", "data"])]
    logging_prefix: String,
    /// What stands before the action in columns of guessed rewards.
    #[arg(long, value_name = "PREFIX", default_value = "q_hat_", conflicts_with_all = ["slates", "data"])]
    model_prefix: String,
    /// What columns of features begin with.
    #[arg(long, value_name = "PREFIX", default_value = "x_", conflicts_with_all = ["slates", "data"])]
    feature_prefix: String,
}

/// A column by the name that was given, or by its usual names.
fn named<'a>(given: Option<&'a String>, usual: &[&'a str]) -> Vec<&'a str> {
    given.map_or_else(|| usual.to_vec(), |name| vec![name.as_str()])
}

/// A file as columns of cells.
struct Frame {
    name: String,
    columns: Vec<String>,
    cells: Vec<Vec<Cell>>,
    lines: Vec<u64>,
}

impl Frame {
    fn read(path: &Path) -> Result<Frame, InputError> {
        let name = path.display().to_string();
        let mut source = files::open_plainly(path)?;
        let mut frame = Frame {
            name,
            columns: Vec::new(),
            cells: Vec::new(),
            lines: Vec::new(),
        };
        while let Some(batch) = source.next_batch(32_768).map_err(|e| InputError(e.to_string()))? {
            for column in source.columns().iter().skip(frame.columns.len()) {
                frame.columns.push(column.clone());
                frame.cells.push(vec![Cell::Null; frame.lines.len()]);
            }
            for (at, row) in batch.rows.iter().enumerate() {
                if let Some(bad) = &row.bad {
                    return Err(InputError(format!("{}: line {}: {bad}", frame.name, row.line)));
                }
                let own = batch.cells_of(at);
                for (place, column) in frame.cells.iter_mut().enumerate() {
                    column.push(own.get(place).cloned().unwrap_or(Cell::Null));
                }
                frame.lines.push(row.line);
            }
        }
        if frame.lines.is_empty() {
            return Err(InputError(format!(
                "{}: got 0 rows, expected at least one",
                frame.name
            )));
        }
        Ok(frame)
    }

    fn find(&self, names: &[&str]) -> Option<usize> {
        names
            .iter()
            .find_map(|name| self.columns.iter().position(|column| column == name))
    }

    fn need(&self, names: &[&str]) -> Result<usize, InputError> {
        self.find(names).ok_or_else(|| {
            let columns = self.columns.join(", ");
            InputError(format!(
                "{}: no column {}; there are {columns}",
                self.name, names[0]
            ))
        })
    }

    fn numbers(&self, place: usize) -> Result<Vec<f64>, InputError> {
        let number = |(cell, line): (&Cell, &u64)| {
            cell.as_number().ok_or_else(|| {
                InputError(format!(
                    "{}: line {line}: {}: got {}, expected a finite number",
                    self.name,
                    self.columns[place],
                    cell.shown()
                ))
            })
        };
        self.cells[place].iter().zip(&self.lines).map(number).collect()
    }

    fn texts(&self, place: usize) -> Result<Vec<String>, InputError> {
        let text = |(cell, line): (&Cell, &u64)| {
            cell.as_text().map(std::borrow::Cow::into_owned).ok_or_else(|| {
                InputError(format!(
                    "{}: line {line}: {}: got nothing, expected a name",
                    self.name, self.columns[place]
                ))
            })
        };
        self.cells[place].iter().zip(&self.lines).map(text).collect()
    }

    /// What columns with this beginning are called behind it.
    fn behind(&self, prefix: &str) -> Vec<String> {
        self.columns
            .iter()
            .filter_map(|column| column.strip_prefix(prefix))
            .map(str::to_owned)
            .collect()
    }

    /// Columns as rows, in the order of `names`; `None` if there is none with this beginning.
    fn matrix(&self, prefix: &str, names: &[String]) -> Result<Option<Vec<f64>>, InputError> {
        if self.behind(prefix).is_empty() {
            return Ok(None);
        }
        let mut out = vec![0.0; self.lines.len() * names.len()];
        for (at, name) in names.iter().enumerate() {
            let place = self.need(&[&format!("{prefix}{name}")])?;
            let column = self.numbers(place)?;
            out.iter_mut()
                .skip(at)
                .step_by(names.len())
                .zip(column)
                .for_each(|(cell, v)| *cell = v);
        }
        Ok(Some(out))
    }

    fn wrong(&self, e: LogError) -> InputError {
        match e.row.and_then(|row| self.lines.get(row)) {
            Some(line) => InputError(format!(
                "{}: line {line}: {}: got {}, expected {}",
                self.name, e.field, e.got, e.expected
            )),
            None => InputError(format!("{}: {e}", self.name)),
        }
    }
}

/// A log with one action per row.
pub(crate) struct LogColumns<'a>(Frame, &'a Names);

impl LogColumns<'_> {
    /// Reads the file.
    pub(crate) fn read<'a>(path: &Path, names: &'a Names) -> Result<LogColumns<'a>, InputError> {
        Ok(LogColumns(Frame::read(path)?, names))
    }

    /// The log with this target: `columns`, `uniform` or a file.
    pub(crate) fn log(&self, target: &str, categories: Option<&Path>) -> Result<Log, InputError> {
        let LogColumns(frame, names) = self;
        let logged = frame.texts(frame.need(&named(names.action_column.as_ref(), ACTION))?)?;
        let (target_prefix, logging_prefix) = (&names.target_prefix, &names.logging_prefix);
        let mut labels: Vec<String> = [target_prefix, logging_prefix, &names.model_prefix]
            .iter()
            .flat_map(|prefix| frame.behind(prefix))
            .collect();
        labels.extend(logged.iter().cloned());
        let other = match target {
            "columns" | "uniform" => None,
            file => {
                let other = Frame::read(Path::new(file))?;
                let actions = other.texts(other.need(&named(names.action_column.as_ref(), ACTION))?)?;
                labels.extend(actions.iter().cloned());
                Some(actions)
            }
        };
        labels.sort_unstable();
        labels.dedup();
        let numbers: BTreeMap<&str, u32> = labels.iter().map(String::as_str).zip(0..).collect();
        let n = logged.len();
        let distribution = match (target, other) {
            ("columns", _) => frame.matrix(target_prefix, &labels)?.ok_or_else(|| {
                let name = &frame.name;
                InputError(format!(
                    "{name}: no columns {target_prefix}<action>; say --target uniform or name a log of the target"
                ))
            })?,
            (_, Some(actions)) => {
                let mut shares = vec![0.0; labels.len()];
                let each = 1.0 / actions.len() as f64;
                actions
                    .iter()
                    .for_each(|action| shares[numbers[action.as_str()] as usize] += each);
                shares.repeat(n)
            }
            (_, None) => vec![1.0 / labels.len() as f64; n * labels.len()],
        };
        let actions = logged.iter().map(|action| numbers[action.as_str()]).collect();
        let rewards = frame.numbers(frame.need(&named(names.reward_column.as_ref(), REWARD))?)?;
        let wrong = |e| frame.wrong(e);
        let mut log = Log::new(labels.len(), rewards, actions, distribution)
            .and_then(|log| log.with_labels(labels.clone()))
            .map_err(wrong)?;
        let propensity = match &names.propensity_column {
            Some(name) => Some(frame.need(&[name])?),
            None => frame.find(PROPENSITY),
        };
        if let Some(place) = propensity {
            log = log.with_propensities(frame.numbers(place)?).map_err(wrong)?;
        }
        if let Some(logging) = frame.matrix(logging_prefix, &labels)? {
            log = log.with_logging(logging).map_err(wrong)?;
        }
        if let Some(model) = frame.matrix(&names.model_prefix, &labels)? {
            log = log.with_model(model).map_err(wrong)?;
        }
        let features = frame.behind(&names.feature_prefix);
        if let Some(contexts) = frame.matrix(&names.feature_prefix, &features)? {
            log = log.with_contexts(features.len(), contexts).map_err(wrong)?;
        }
        match categories {
            Some(path) => log
                .with_categories(self::categories(path, &labels)?)
                .map_err(wrong),
            None => Ok(log),
        }
    }
}

fn categories(path: &Path, labels: &[String]) -> Result<Vec<u32>, InputError> {
    let frame = Frame::read(path)?;
    let actions = frame.texts(frame.need(ACTION)?)?;
    let names = frame.texts(frame.need(&["category"])?)?;
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut by_action: BTreeMap<&str, u32> = BTreeMap::new();
    for (action, name) in actions
        .iter()
        .zip(&names)
        .filter(|(action, _)| labels.contains(*action))
    {
        let next = numbers.len() as u32;
        by_action.insert(action, *numbers.entry(name).or_insert(next));
    }
    let of = |label: &String| {
        by_action
            .get(label.as_str())
            .copied()
            .ok_or_else(|| InputError(format!("{}: no category of action {label}", frame.name)))
    };
    labels.iter().map(of).collect()
}

/// A probability under the logging policy and under the target, by row, where the file has it.
type Both = Option<(Vec<f64>, Vec<f64>)>;

/// A log with one position of a slate per row, rows of a slate together and in order.
pub(crate) fn slates(path: &Path) -> Result<SlateLog, InputError> {
    let frame = Frame::read(path)?;
    let ids = frame.texts(frame.need(&["slate_id"])?)?;
    let positions = frame.numbers(frame.need(&["position"])?)?;
    let n_positions = ids.iter().take_while(|id| **id == ids[0]).count();
    for (at, (id, position)) in ids.iter().zip(&positions).enumerate() {
        let first = at - at % n_positions;
        let follows = at == first || positions[at - 1] < *position;
        if ids[first] != *id || !follows || (at == first && at > 0 && ids[at - 1] == *id) {
            let (name, line) = (&frame.name, frame.lines[at]);
            return Err(InputError(format!(
                "{name}: line {line}: got slate {id}, position {position}; expected {n_positions} rows of each slate together, by position"
            )));
        }
    }
    let wrong = |e| InputError(format!("{}: {e}", frame.name));
    let mut log = SlateLog::new(n_positions, frame.numbers(frame.need(&["reward"])?)?).map_err(wrong)?;
    let pair = |name: &str| -> Result<Both, InputError> {
        match frame.find(&[name]) {
            None => Ok(None),
            Some(place) => {
                let target = frame.need(&[&format!("pi_e_{name}")])?;
                Ok(Some((frame.numbers(place)?, frame.numbers(target)?)))
            }
        }
    };
    let firsts = |values: Vec<f64>| values.into_iter().step_by(n_positions).collect();
    if let Some((logging, target)) = pair("pscore")? {
        log = log.with_slates(firsts(logging), firsts(target)).map_err(wrong)?;
    }
    if let Some((logging, target)) = pair("pscore_item_position")? {
        log = log.with_marginals(logging, target).map_err(wrong)?;
    }
    if let Some((logging, target)) = pair("pscore_cascade")? {
        log = log.with_prefixes(logging, target).map_err(wrong)?;
    }
    if let Some(logged) = frame.find(&["q_hat"]) {
        let target = frame.numbers(frame.need(&["pi_e_q_hat"])?)?;
        log = log.with_model(frame.numbers(logged)?, target).map_err(wrong)?;
    }
    if let Some(place) = frame.find(&["pseudo_inverse_weight"]) {
        log = log
            .with_pseudo_inverse_weights(firsts(frame.numbers(place)?))
            .map_err(wrong)?;
    }
    Ok(log)
}
