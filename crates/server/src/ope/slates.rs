//! Slates that are sent, as a log.

use ::ope::{LogError, SlateLog};
use assembly::Problem;
use serde::Deserialize;

/// One slate, with what is known of it as a whole.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slate {
    /// From the top.
    positions: Vec<Position>,
    pscore: Option<f64>,
    pi_e_pscore: Option<f64>,
    pseudo_inverse_weight: Option<f64>,
}

/// What is known of one of its positions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    reward: f64,
    pscore_item_position: Option<f64>,
    pi_e_pscore_item_position: Option<f64>,
    pscore_cascade: Option<f64>,
    pi_e_pscore_cascade: Option<f64>,
    q_hat: Option<f64>,
    pi_e_q_hat: Option<f64>,
}

impl Slate {
    pub(super) fn n_positions(&self) -> usize {
        self.positions.len()
    }
}

/// What is said of each row, if it is.
type Column<'a> = (&'static str, &'a dyn Fn(usize) -> Option<f64>);
/// A probability or a guess of the log and of the target, if they are there.
type Both = Option<(Vec<f64>, Vec<f64>)>;

/// The log of slates that were sent; at least one.
pub(super) fn log(slates: &[Slate]) -> Result<SlateLog, Problem> {
    let n_positions = slates.first().map_or(0, Slate::n_positions);
    let uneven = |slate: &Slate| slate.n_positions() != n_positions || n_positions == 0;
    if let Some(at) = slates.iter().position(uneven) {
        let expected = match n_positions {
            0 => "at least one".to_owned(),
            n => format!("{n}, as many as in the first slate"),
        };
        let got = slates[at].n_positions().to_string();
        return Err(Problem::new(format!("slates[{at}].positions"), got, expected));
    }
    let position = |row: usize| &slates[row / n_positions].positions[row % n_positions];
    let of_slate = |row: usize, name: &str| format!("slates[{row}].{name}");
    let of_position = |row: usize, name: &str| {
        let (slate, place) = (row / n_positions, row % n_positions);
        format!("slates[{slate}].positions[{place}].{name}")
    };
    let rows = slates.len() * n_positions;
    let rewards = (0..rows).map(|row| position(row).reward).collect();
    let mut log =
        SlateLog::new(n_positions, rewards).map_err(|e| told(e, "reward", "reward", &of_position))?;
    let (a, b) = ("pscore", "pi_e_pscore");
    let both = [
        (a, &|at: usize| slates[at].pscore as _),
        (b, &|at: usize| slates[at].pi_e_pscore),
    ] as [Column<'_>; 2];
    if let Some((logging, target)) = pair(slates.len(), both, &of_slate)? {
        log = log
            .with_slates(logging, target)
            .map_err(|e| told(e, a, b, &of_slate))?;
    }
    let (a, b) = ("pscore_item_position", "pi_e_pscore_item_position");
    let both = [
        (a, &|row| position(row).pscore_item_position),
        (b, &|row| position(row).pi_e_pscore_item_position),
    ] as [Column<'_>; 2];
    if let Some((logging, target)) = pair(rows, both, &of_position)? {
        log = log
            .with_marginals(logging, target)
            .map_err(|e| told(e, a, b, &of_position))?;
    }
    let (a, b) = ("pscore_cascade", "pi_e_pscore_cascade");
    let both = [
        (a, &|row| position(row).pscore_cascade),
        (b, &|row| position(row).pi_e_pscore_cascade),
    ] as [Column<'_>; 2];
    if let Some((logging, target)) = pair(rows, both, &of_position)? {
        log = log
            .with_prefixes(logging, target)
            .map_err(|e| told(e, a, b, &of_position))?;
    }
    let (a, b) = ("q_hat", "pi_e_q_hat");
    let both = [
        (a, &|row| position(row).q_hat),
        (b, &|row| position(row).pi_e_q_hat),
    ] as [Column<'_>; 2];
    if let Some((logged, target)) = pair(rows, both, &of_position)? {
        log = log
            .with_model(logged, target)
            .map_err(|e| told(e, a, b, &of_position))?;
    }
    let name = "pseudo_inverse_weight";
    if let Some(weights) = column(
        slates.len(),
        (name, &|at| slates[at].pseudo_inverse_weight),
        &of_slate,
    )? {
        log = log
            .with_pseudo_inverse_weights(weights)
            .map_err(|e| told(e, name, name, &of_slate))?;
    }
    Ok(log)
}

/// A column of as many rows; `None` if no row has it. `field` is the path of a row's value.
fn column(
    rows: usize,
    (name, of): Column<'_>,
    field: &dyn Fn(usize, &str) -> String,
) -> Result<Option<Vec<f64>>, Problem> {
    let is_there = of(0).is_some();
    match (0..rows).find(|row| of(*row).is_some() != is_there) {
        Some(row) => Err(Problem::new(
            field(row, name),
            if is_there { "nothing" } else { "a number" },
            "the same in all slates as in the first",
        )),
        None => Ok((0..rows).map(of).collect()),
    }
}

/// The columns of the log and of the target, which come together.
fn pair(
    rows: usize,
    [logging, target]: [Column<'_>; 2],
    field: &dyn Fn(usize, &str) -> String,
) -> Result<Both, Problem> {
    match (column(rows, logging, field)?, column(rows, target, field)?) {
        (Some(logging), Some(target)) => Ok(Some((logging, target))),
        (None, None) => Ok(None),
        (known, _) => {
            let (missing, other) = if known.is_some() {
                (target.0, logging.0)
            } else {
                (logging.0, target.0)
            };
            let expected = format!("a number, as there is {other}");
            Err(Problem::new(field(0, missing), "nothing", expected))
        }
    }
}

/// A fault of the log by the path of the value: that of the log, which must be above 0, or that of the target.
fn told(e: LogError, logging: &str, target: &str, field: &dyn Fn(usize, &str) -> String) -> Problem {
    let name = if e.expected.starts_with("above 0") {
        logging
    } else {
        target
    };
    Problem::new(field(e.row.unwrap_or(0), name), e.got, e.expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    const OF_POSITIONS: [&str; 6] = [
        "pscore_item_position",
        "pi_e_pscore_item_position",
        "pscore_cascade",
        "pi_e_pscore_cascade",
        "q_hat",
        "pi_e_q_hat",
    ];
    const OF_SLATES: [&str; 3] = ["pscore", "pi_e_pscore", "pseudo_inverse_weight"];

    /// What can be wrong with some numbers.
    fn number() -> impl Strategy<Value = Option<f64>> + Clone {
        prop_oneof![40 => (0.01f64..1.0).prop_map(Some), 1 => Just(None), 1 => Just(Some(0.0)), 1 => Just(Some(-0.1)), 1 => Just(Some(1.5))]
    }

    type Told = (Vec<Vec<Vec<Option<f64>>>>, Vec<Vec<Option<f64>>>, Vec<bool>);

    /// By slate and position, by slate, and which columns there are.
    fn told() -> impl Strategy<Value = Told> {
        let sizes = (
            1usize..4,
            1usize..4,
            prop_oneof![12 => Just(None), 1 => (0usize..4).prop_map(Some)],
        );
        sizes.prop_flat_map(|(slates, positions, odd)| {
            let lengths = (0..slates).map(move |at| match odd {
                Some(length) if at + 1 == slates => length,
                _ => positions,
            });
            let position = prop::collection::vec(number(), 6);
            let each: Vec<_> = lengths
                .map(|n| prop::collection::vec(position.clone(), n))
                .collect();
            let whole = prop::collection::vec(prop::collection::vec(number(), 3), slates);
            let paired = prop::collection::vec(any::<bool>(), 5).prop_map(|with| {
                let [a, b, c, d, e] = [with[0], with[1], with[2], with[3], with[4]];
                vec![a, a, b, b, c, c, d, d, e]
            });
            let any = prop::collection::vec(any::<bool>(), 9);
            (each, whole, prop_oneof![6 => paired, 1 => any])
        })
    }

    fn body((each, whole, with): &Told) -> Value {
        let named = |names: &[&str], values: &[Option<f64>], with: &[bool]| -> Map<String, Value> {
            let known = names.iter().zip(values).zip(with).filter(|(_, with)| **with);
            let known =
                known.filter_map(|((name, value), _)| value.map(|value| ((*name).to_owned(), json!(value))));
            known.collect()
        };
        let slates = each.iter().zip(whole).map(|(positions, whole)| {
            let mut slate = named(&OF_SLATES, whole, &with[6..]);
            let positions = positions.iter().map(|values| {
                let mut position = named(&OF_POSITIONS, values, &with[..6]);
                position.insert("reward".to_owned(), json!(0.5));
                position
            });
            slate.insert("positions".to_owned(), positions.map(Value::Object).collect());
            Value::Object(slate)
        });
        slates.collect()
    }

    /// Whether all is sound: the same written down plainly.
    fn is_sound(slates: &Value) -> bool {
        let slates = slates.as_array().expect("a list");
        let positions = |slate: &Value| slate["positions"].as_array().expect("a list").clone();
        let n = positions(&slates[0]).len();
        let rows: Vec<Value> = slates.iter().flat_map(positions).collect();
        let probability = |low: bool, value: &Value| {
            value
                .as_f64()
                .is_some_and(|p| p <= 1.0 && (p > 0.0 || (!low && p == 0.0)))
        };
        let column = |rows: &[Value], name: &str| -> Option<Vec<Value>> {
            let there: Vec<Value> = rows.iter().filter_map(|row| row.get(name).cloned()).collect();
            (there.len() == rows.len()).then_some(there)
        };
        let absent = |rows: &[Value], name: &str| rows.iter().all(|row| row.get(name).is_none());
        let pair = |rows: &[Value], name: &str, is_probability: bool| {
            let target = format!("pi_e_{name}");
            match (column(rows, name), column(rows, &target)) {
                (Some(a), Some(b)) => {
                    !is_probability
                        || (a.iter().all(|p| probability(true, p)) && b.iter().all(|p| probability(false, p)))
                }
                _ => absent(rows, name) && absent(rows, &target),
            }
        };
        let weight = "pseudo_inverse_weight";
        n > 0
            && slates.iter().all(|slate| positions(slate).len() == n)
            && pair(slates, "pscore", true)
            && pair(&rows, "pscore_item_position", true)
            && pair(&rows, "pscore_cascade", true)
            && pair(&rows, "q_hat", false)
            && (absent(slates, weight) || column(slates, weight).is_some())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// A log comes of sound slates alone, and what is wrong is named by a path that is there.
        #[test]
        fn slates_are_taken_if_they_are_sound(told in told()) {
            let body = body(&told);
            let slates: Vec<Slate> = serde_json::from_value(body.clone()).expect("numbers with known names");
            match log(&slates) {
                Ok(log) => {
                    prop_assert!(is_sound(&body), "{body}");
                    prop_assert_eq!(log.n_slates(), slates.len());
                    prop_assert_eq!(log.has_model(), told.2[4]);
                }
                Err(problem) => {
                    prop_assert!(!is_sound(&body), "{problem:?} of {body}");
                    let path = problem.field.replace('[', "/").replace("].", "/").replace(']', "");
                    let (parent, name) = path.rsplit_once('/').expect("a path");
                    let parent = parent.strip_prefix("slates").and_then(|path| body.pointer(path));
                    prop_assert!(parent.is_some_and(Value::is_object), "{problem:?} of {body}");
                    let known = OF_POSITIONS.iter().chain(&OF_SLATES).chain(&["positions"]);
                    prop_assert!(known.into_iter().any(|known| *known == name), "{problem:?}");
                }
            }
        }
    }
}
