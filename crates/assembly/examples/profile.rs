//! Where the time of a slate goes: asks for slates of sample users of a data folder in a loop.
//!
//! `cargo run --release -p assembly --example profile -- DIR [SECONDS]`

use assembly::{RecommendRequest, Service, SystemClock};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("expected a data folder")?);
    let seconds: u64 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let (service, _) = Service::open(&dir, Arc::new(SystemClock::default()))?;
    let users = service.sample_users(200);
    let mut by_stage: BTreeMap<String, u64> = BTreeMap::new();
    let (mut count, mut start, mut warm) = (0u64, Instant::now(), false);
    while start.elapsed() < Duration::from_secs(seconds) {
        for (user, _) in &users {
            let answer = service.recommend(&RecommendRequest {
                placement: "home".into(),
                user_id: Some(user.clone()),
                ..RecommendRequest::default()
            })?;
            for (stage, us) in answer.timings_us {
                *by_stage.entry(stage).or_default() += us;
            }
            count += 1;
        }
        // The first round fills what is made on first use.
        if !warm {
            (count, start, warm) = (0, Instant::now(), true);
            by_stage.clear();
        }
    }
    println!(
        "{count} slates, {:.3} ms each",
        start.elapsed().as_secs_f64() * 1e3 / count as f64
    );
    for (stage, us) in by_stage {
        println!("{:>8.1} us  {stage}", us as f64 / count as f64);
    }
    Ok(())
}
