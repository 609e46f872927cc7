//! The machine that a report comes from.

use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

/// Processor, cores, memory, kernel, and what a durable write costs in `directory`.
pub fn describe(directory: &Path) -> String {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .unwrap_or(0)
        >> 20;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let sync = fsync(directory).map_or_else(
        |_| "unknown".into(),
        |cost| format!("{:.2} ms", cost.as_secs_f64() * 1000.0),
    );
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!(
        "{cpu}, {cores} cores, {memory} GiB, Linux {}, fsync {sync}, load {load} at the start",
        kernel.trim()
    )
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn fsync(directory: &Path) -> std::io::Result<Duration> {
    const WRITES: u32 = 50;
    let mut file = fs::File::create(directory.join("fsync"))?;
    let begun = Instant::now();
    for _ in 0..WRITES {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
    }
    Ok(begun.elapsed() / WRITES)
}

/// What a wait of `latency` really takes here, as the stub waits: timers have a granularity.
pub async fn real_latency(latency: Duration) -> Duration {
    const WAITS: u32 = 100;
    let mut sum = Duration::ZERO;
    for wait in 0..WAITS {
        // Begin at all phases of the timer's tick.
        std::thread::sleep(Duration::from_micros(u64::from(wait) * 37 % 1000));
        let begun = Instant::now();
        tokio::time::sleep_until((begun + latency).into()).await;
        sum += begun.elapsed();
    }
    sum / WAITS
}
