//! e to the power of x by plain arithmetic, so that loops over it become vector code and give the same bits on every machine.

/// Coefficients 1/k!, the highest first: the series is cut where its rest is below 10⁻¹⁴ of the value for |r| ≤ ln 2 / 2.
const TERMS: [f64; 12] = [
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];
/// Adding and taking away this number rounds to a whole one.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// ln 2 in two parts; the first has zeros at its end, so that its product with a small whole number is exact.
const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);

/// eˣ for x from −700 to 700 (others count as the nearest of these), to 13 digits.
#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    let x = if x < -700.0 { -700.0 } else { x };
    let x = if x > 700.0 { 700.0 } else { x };
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = (x - whole * LN2_HIGH) - whole * LN2_LOW;
    let mut sum = TERMS[0];
    for term in &TERMS[1..] {
        sum = sum * r + term;
    }
    // The low bits of `shifted` are the whole number.
    let exponent = (shifted.to_bits() << 52).wrapping_add(1023 << 52);
    sum * f64::from_bits(exponent)
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    #[test]
    fn agrees_with_the_library() {
        for at in -70_000..=70_000 {
            let x = f64::from(at) * 0.01;
            let (got, expected) = (super::exp(x), x.exp());
            assert!(
                ((got - expected) / expected).abs() < 1e-13,
                "{x}: {got} {expected}"
            );
        }
    }
}
