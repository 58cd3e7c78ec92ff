//! The gamma distribution: probabilities and quantiles, as far as the interval for few events needs them.

use numeric::ln_gamma;

/// Probability of a gamma variable with this shape and scale 1 to be at most `x`: a series below the mean, a continued fraction above.
pub(crate) fn below(shape: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = (shape * x.ln() - x - ln_gamma(shape)).exp();
    if x < shape + 1.0 {
        let (mut term, mut sum, mut at) = (1.0 / shape, 1.0 / shape, shape);
        while term > sum * 1e-16 {
            at += 1.0;
            term *= x / at;
            sum += term;
        }
        return (front * sum).min(1.0);
    }
    let tiny = 1e-300;
    let mut b = x + 1.0 - shape;
    let (mut c, mut d) = (1.0 / tiny, 1.0 / b);
    let mut h = d;
    for i in 1..10_000 {
        let an = -f64::from(i) * (f64::from(i) - shape);
        b += 2.0;
        d = 1.0 / keep_off_zero(an * d + b, tiny);
        c = keep_off_zero(b + an / c, tiny);
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (1.0 - front * h).max(0.0)
}

fn keep_off_zero(x: f64, tiny: f64) -> f64 {
    if x.abs() < tiny { tiny } else { x }
}

/// Where a rising function of x ≥ 0 reaches `p`, by halving.
pub(crate) fn reached(p: f64, rising: impl Fn(f64) -> f64) -> f64 {
    if rising(0.0) >= p {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while rising(high) < p && high < 1e300 {
        low = high;
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if rising(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_tables() {
        // Shape 1 is the exponential; 2 x with shape k / 2 is chi-squared with k degrees of freedom, whose 95 % points are in tables.
        for x in [0.1f64, 1.0, 5.0, 30.0] {
            assert!((below(1.0, x) - (1.0 - (-x).exp())).abs() < 1e-13, "{x}");
        }
        for (degrees, point) in [
            (1.0, 3.841458821),
            (4.0, 9.487729037),
            (20.0, 31.410432844),
            (100.0, 124.342113404),
        ] {
            assert!(
                (below(degrees / 2.0, point / 2.0) - 0.95).abs() < 1e-9,
                "{degrees}"
            );
            let found = 2.0 * reached(0.95, |x| below(degrees / 2.0, x));
            assert!((found - point).abs() < 1e-6, "{degrees}: {found}");
        }
    }
}
