//! Time of the truncated singular value decomposition of a binary matrix, degree-normalised: a file of `row<TAB>column`
//! lines, and the rank. Prints seconds and the first and last value.

use numeric::{Csr, truncated_svd};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("expected a file of pairs")?;
    let rank: usize = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let mut cells = Vec::new();
    for line in std::fs::read_to_string(file)?.lines() {
        let (row, column) = line.split_once('\t').ok_or("expected two columns")?;
        cells.push((row.trim().parse::<u32>()?, column.trim().parse::<u32>()?));
    }
    let size = |all: &mut dyn Iterator<Item = u32>| all.max().map_or(0, |most| most as usize + 1);
    let (rows, columns) = (
        size(&mut cells.iter().map(|c| c.0)),
        size(&mut cells.iter().map(|c| c.1)),
    );
    let (mut of_rows, mut of_columns) = (vec![0f32; rows], vec![0f32; columns]);
    for (row, column) in &cells {
        of_rows[*row as usize] += 1.0;
        of_columns[*column as usize] += 1.0;
    }
    let value = |row: u32, column: u32| {
        (of_rows[row as usize] * of_columns[column as usize])
            .sqrt()
            .recip()
    };
    let triplets: Vec<(u32, u32, f32)> = cells.iter().map(|(r, c)| (*r, *c, value(*r, *c))).collect();
    let matrix = Csr::from_triplets(rows, columns, &triplets);
    let start = Instant::now();
    let svd = truncated_svd(&matrix, rank, 0)?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{seconds:.2} s, values {:?} to {:?}",
        svd.values.first(),
        svd.values.last()
    );
    Ok(())
}
