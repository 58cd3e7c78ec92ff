//! Time of the truncated singular value decomposition of a binary matrix, degree-normalised: a file of `row<TAB>column`
//! lines, and the rank. Prints seconds, the first and last value, and how accurate they are: the largest residual
//! ‖AᵀAv − σ²v‖ and the largest product of two different vectors.

use numeric::{Csr, axpy, dot, norm, truncated_svd};
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
    let across = matrix.transpose();
    let vector = |j: usize| -> Vec<f32> {
        svd.right
            .iter()
            .skip(j)
            .step_by(svd.values.len())
            .copied()
            .collect()
    };
    let vectors: Vec<Vec<f32>> = (0..svd.values.len()).map(vector).collect();
    let (mut residual, mut product) = (0f32, 0f32);
    for (j, (vector, value)) in vectors.iter().zip(&svd.values).enumerate() {
        let mut image = across.multiply(&matrix.multiply(vector));
        axpy(-value * value, vector, &mut image);
        residual = residual.max(norm(&image));
        let others = vectors[..j].iter().map(|other| dot(other, vector).abs());
        product = others.fold(product, f32::max);
    }
    println!(
        "{seconds:.2} s, values {:?} to {:?}, residual {residual:.1e}, product {product:.1e}",
        svd.values.first(),
        svd.values.last()
    );
    Ok(())
}
