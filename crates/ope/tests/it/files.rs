//! Columns of numbers and texts from Parquet files of reference data.

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The shared data beside the repository.
pub(crate) fn shared(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(path)
}

/// Columns of a file: numbers as they are, texts as the order in which they first occur.
pub(crate) struct Columns(BTreeMap<String, Vec<f64>>);

impl Columns {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Columns {
        let file = std::fs::File::open(path).expect("the file is there");
        let reader = SerializedFileReader::new(file).expect("the file is Parquet");
        let rows = reader.get_row_iter(None).expect("the file has rows");
        let mut columns: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut texts: BTreeMap<(String, String), f64> = BTreeMap::new();
        let mut kinds: BTreeMap<String, f64> = BTreeMap::new();
        for row in rows {
            let row = row.expect("rows can be read");
            for (name, field) in row.get_column_iter() {
                let value = match field {
                    Field::Double(v) => *v,
                    Field::Float(v) => f64::from(*v),
                    Field::Long(v) => *v as f64,
                    Field::Int(v) => f64::from(*v),
                    Field::Short(v) => f64::from(*v),
                    Field::Str(v) => *texts.entry((name.clone(), v.clone())).or_insert_with(|| {
                        let next = kinds.entry(name.clone()).or_insert(0.0);
                        *next += 1.0;
                        *next - 1.0
                    }),
                    other => panic!("{name}: {other:?}"),
                };
                match columns.get_mut(name) {
                    Some(column) => column.push(value),
                    None => drop(columns.insert(name.clone(), vec![value])),
                }
            }
        }
        Columns(columns)
    }

    /// A column.
    pub(crate) fn get(&self, name: &str) -> Vec<f64> {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("no column {name}"))
            .clone()
    }

    /// A column of whole numbers.
    pub(crate) fn whole(&self, name: &str) -> Vec<u32> {
        self.get(name).iter().map(|v| *v as u32).collect()
    }

    /// Columns `prefix0`, `prefix1`, … as rows.
    #[allow(dead_code, reason = "only some who include this file have such columns")]
    pub(crate) fn matrix(&self, prefix: &str, width: usize) -> Vec<f64> {
        let columns: Vec<Vec<f64>> = (0..width).map(|at| self.get(&format!("{prefix}{at}"))).collect();
        let n = columns.first().map_or(0, Vec::len);
        (0..n)
            .flat_map(|row| columns.iter().map(move |column| column[row]))
            .collect()
    }
}
