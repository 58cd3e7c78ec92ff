//! How much memory a process has held at most and how much time it took, as the kernel counts it.

/// Forgets the peak so far, where the kernel lets us; otherwise peaks only rise.
pub(crate) fn reset_peak() {
    // Refused in some containers; the figure is then the peak since the start, which is still a bound.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Peak resident memory of this process in MB (10⁶ bytes) since the last reset; `None` where it is
/// not told.
pub(crate) fn peak_mb() -> Option<f64> {
    peak_mb_of("self")
}

/// The same of another process.
pub(crate) fn peak_mb_of(process: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((kib * 1024.0 / 1e5).round() / 10.0)
}

/// Processor time that a process has used, its own and the system's, in seconds; `None` where it is not told.
pub(crate) fn cpu_seconds_of(process: &str) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name comes in parentheses and may hold anything.
    let fields = stat.rsplit(')').next()?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    // The kernel counts in hundredths of a second for everybody outside.
    Some(ticks as f64 / 100.0)
}
