//! The beta distribution: density and draws.

use numeric::{SeededStream, ln_gamma};

/// A gamma draw of shape at least 1 and scale 1 (Marsaglia and Tsang 2000).
fn gamma(shape: f64, stream: &mut SeededStream) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let z = stream.normal();
        let v = (1.0 + c * z).powi(3);
        let u = 1.0 - stream.uniform();
        if v > 0.0 && u.ln() < 0.5 * z * z + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// Beta distribution with both parameters at least 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beta {
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
    log_norm: f64,
}

impl Beta {
    pub(crate) fn new(alpha: f64, beta: f64) -> Beta {
        Beta {
            alpha,
            beta,
            log_norm: ln_gamma(alpha + beta) - ln_gamma(alpha) - ln_gamma(beta),
        }
    }

    pub(crate) fn mean(&self) -> f64 {
        self.alpha / (self.alpha + self.beta)
    }

    pub(crate) fn deviation(&self) -> f64 {
        (self.mean() * (1.0 - self.mean()) / (self.alpha + self.beta + 1.0)).sqrt()
    }

    pub(crate) fn density(&self, x: f64) -> f64 {
        if x <= 0.0 || x >= 1.0 {
            return 0.0;
        }
        (self.log_norm + (self.alpha - 1.0) * x.ln() + (self.beta - 1.0) * (-x).ln_1p()).exp()
    }

    pub(crate) fn draw(&self, stream: &mut SeededStream) -> f64 {
        let (a, b) = (gamma(self.alpha, stream), gamma(self.beta, stream));
        a / (a + b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // Beta(2, 3) has density 12 x (1 - x)^2.
        assert!((Beta::new(2.0, 3.0).density(0.25) - 12.0 * 0.25 * 0.5625).abs() < 1e-12);
        let beta = Beta::new(3.0, 9.0);
        let mut stream = SeededStream::new(1, 1);
        let draws: Vec<f64> = (0..40_000).map(|_| beta.draw(&mut stream)).collect();
        // The standard error is 0.0006: five of them.
        assert!((numeric::mean(&draws) - 0.25).abs() < 0.003);
        assert!((numeric::variance(&draws).sqrt() - beta.deviation()).abs() < 0.003);
    }
}
