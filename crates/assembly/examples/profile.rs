//! Where the time of a slate goes: asks for slates of sample users of a data folder in a loop.
//!
//! `cargo run --release -p assembly --example profile -- DIR [SECONDS] [THREADS] [preview]`; previews are slates without a record.

use assembly::{RecommendRequest, Service, SystemClock};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("expected a data folder")?);
    let seconds: u64 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let threads: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let preview = arguments.next().is_some_and(|text| text == "preview");
    let (service, _) = Service::open(&dir, Arc::new(SystemClock::default()))?;
    let users = service.sample_users(200);
    let run = |length: Duration| -> Result<(BTreeMap<String, u64>, u64), Failure> {
        let (mut by_stage, mut count, start) = (BTreeMap::new(), 0u64, Instant::now());
        while start.elapsed() < length {
            for (user, _) in &users {
                let answer = service.recommend(&RecommendRequest {
                    placement: "home".into(),
                    user_id: Some(user.clone()),
                    preview,
                    ..RecommendRequest::default()
                })?;
                for (stage, us) in answer.timings_us {
                    *by_stage.entry(stage.to_string()).or_default() += us;
                }
                count += 1;
            }
        }
        Ok((by_stage, count))
    };
    // The first round fills what is made on first use.
    run(Duration::from_nanos(1))?;
    let start = Instant::now();
    let parts: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| run(Duration::from_secs(seconds))))
            .collect();
        all.into_iter()
            .map(|one| one.join().expect("a thread that does not panic"))
            .collect::<Result<_, _>>()
    })?;
    let count: u64 = parts.iter().map(|(_, count)| count).sum();
    println!(
        "{count} slates, {:.3} ms each on {threads} threads",
        start.elapsed().as_secs_f64() * 1e3 * threads as f64 / count as f64
    );
    let mut by_stage: BTreeMap<&str, u64> = BTreeMap::new();
    for (stage, us) in parts.iter().flat_map(|(stages, _)| stages) {
        *by_stage.entry(stage).or_default() += us;
    }
    for (stage, us) in by_stage {
        println!("{:>8.1} us  {stage}", us as f64 / count as f64);
    }
    Ok(())
}
