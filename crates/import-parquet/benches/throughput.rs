//! Rows per second and peak memory of an import whose rows go nowhere.
//!
//! `cargo bench -p import-parquet -- 10000000` makes up that many events, writes them as Parquet, and reads each form
//! back in a process of its own. Without a number it takes a million.

use dataset::Synthetic;
use domain::{Item, NewEvent, User};
use import::{Counts, Kind, Options, Sink, TextOptions, open_text, plan, run};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

struct Nowhere;

impl Sink for Nowhere {
    fn events(&mut self, events: Vec<NewEvent>) -> Result<Counts, String> {
        let accepted = events.len() as u64;
        Ok(Counts {
            accepted,
            duplicate: 0,
        })
    }

    fn items(&mut self, _: Vec<Item>) -> Result<Counts, String> {
        Err("events were expected".to_owned())
    }

    fn users(&mut self, _: Vec<User>) -> Result<Counts, String> {
        Err("events were expected".to_owned())
    }
}

fn read(path: &Path) {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let started = Instant::now();
    let mut source = if name.ends_with(".parquet") {
        import_parquet::open(path).expect("written just now")
    } else {
        let file = File::open(path).expect("written just now");
        open_text(Box::new(file), &name, None, &TextOptions::default()).expect("written just now")
    };
    let (plan, first) = plan(source.as_mut(), &name, &Options::new(Kind::Events)).expect("sound");
    let summary = run(source, &plan, first, &mut Nowhere, None, &mut |_| {}).expect("sound");
    let seconds = started.elapsed().as_secs_f64();
    let rate = summary.accepted as f64 / seconds;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!(
        "{name}: {} rows in {seconds:.2} s, {rate:.0} rows/s, peak memory {}",
        summary.accepted,
        peak.unwrap_or("unknown").trim()
    );
}

fn write_text(dir: &Path, synthetic: &Synthetic) -> std::io::Result<()> {
    let mut csv = BufWriter::new(File::create(dir.join("events.csv"))?);
    let mut json = BufWriter::new(File::create(dir.join("events.jsonl"))?);
    writeln!(csv, "user_id,item_id,event_type,timestamp,value")?;
    for event in synthetic.events() {
        let (user, item, kind) = (&event.user_id, &event.item_id, &event.event_type);
        let value = event.value.map_or(String::new(), |value| value.to_string());
        let at = event.timestamp.0;
        writeln!(csv, "{user},{item},{kind},{at},{value}")?;
        let value = event
            .value
            .map_or(String::new(), |value| format!(",\"value\":{value}"));
        writeln!(
            json,
            "{{\"user_id\":\"{user}\",\"item_id\":\"{item}\",\"event_type\":\"{kind}\",\"timestamp\":{at}{value}}}"
        )?;
    }
    csv.flush()?;
    json.flush()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [word, path] = arguments.as_slice()
        && word == "read"
    {
        return read(Path::new(path));
    }
    let events = arguments
        .first()
        .map_or(1_000_000, |n| n.parse().expect("a number of rows"));
    let synthetic = Synthetic {
        users: 1_000_000,
        items: 100_000,
        events,
        ..Synthetic::default()
    };
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    import_parquet::write_events(&dir.path().join("events.parquet"), synthetic.events()).expect("room");
    write_text(dir.path(), &synthetic).expect("room");
    let this = std::env::current_exe().expect("this program");
    for name in ["events.parquet", "events.csv", "events.jsonl"] {
        let status = Command::new(&this)
            .arg("read")
            .arg(dir.path().join(name))
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{name}");
    }
}
