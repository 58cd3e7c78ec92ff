//! Progress bars on standard error; nothing is drawn unless it is a terminal.

use crate::output::count;
use import::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// A spinner for work of unknown length.
pub(crate) fn spinner(message: impl Into<String>) -> ProgressBar {
    let spinner = style(ProgressBar::new_spinner(), "{spinner} {msg} ({elapsed})");
    spinner.set_message(message.into());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// A bar for work of known length.
pub(crate) fn bar(message: impl Into<String>, length: u64) -> ProgressBar {
    let bar = style(ProgressBar::new(length), "{msg} {bar:30} {pos}/{len}, ETA {eta}");
    bar.set_message(message.into());
    bar
}

/// The bar of one imported file: share done, rows, rate, time left where the size is known.
pub(crate) struct ImportBar {
    bar: ProgressBar,
    started: Instant,
}

/// Begins the bar of one imported file.
pub(crate) fn import(name: &str) -> ImportBar {
    let bar = style(ProgressBar::new_spinner(), "{prefix} {spinner} {msg} ({elapsed})");
    bar.set_prefix(name.to_owned());
    ImportBar {
        bar,
        started: Instant::now(),
    }
}

impl ImportBar {
    /// Draws how far it is.
    pub(crate) fn show(&self, at: &Progress) {
        let rate = at.rows as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        if let Some(total) = at.consumed.total
            && self.bar.length().is_none()
        {
            self.bar.set_length(total);
            let template = "{prefix} {bar:30} {percent}% {msg}, ETA {eta}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
        }
        self.bar.set_position(at.consumed.done);
        let bad = if at.bad > 0 {
            format!(", {} bad", count(at.bad))
        } else {
            String::new()
        };
        self.bar.set_message(format!(
            "{} rows{bad}, {} rows/s",
            count(at.rows),
            count(rate as u64)
        ));
    }

    /// Takes it away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
