//! What a parallel region of two threads costs: `rasgo_kernels::threads::parallel` beside rayon, chili and
//! scoped threads.
//!
//! A region is two tasks. Its time is taken by the thread that begins it, from before the call to after the
//! return. Three settings: empty tasks back to back; tasks of about 20 µs back to back; tasks of about 20 µs
//! after a pause of 200 µs, in which idle workers go to sleep. The candidates take turns within a round, and
//! for each the round with the lowest median is printed: the quietest one. `one thread` runs both tasks in
//! turn; half of it is the least that two threads can take.
//!
//! `cargo run --release -- [rounds] [regions of a round]`

use std::hint::black_box;
use std::num::NonZero;
use std::time::{Duration, Instant};

use rasgo_kernels::settings::with_threads;
use rasgo_kernels::threads::parallel;
use rayon::prelude::*;

const THREADS: usize = 2;
const TASK: Duration = Duration::from_micros(20);
const PAUSE: Duration = Duration::from_micros(200);

/// A chain of dependent additions: takes the same time on any thread and touches no memory.
fn work(steps: u64) {
    let mut x = 1.0f32;
    for _ in 0..steps {
        x = black_box(x) + 1.0;
    }
    black_box(x);
}

/// The number of steps that take [`TASK`].
fn calibrated() -> u64 {
    let steps = 1_000_000;
    let seconds = (0..20).map(|_| {
        let start = Instant::now();
        work(steps);
        start.elapsed().as_secs_f64()
    });
    let fastest = seconds.fold(f64::INFINITY, f64::min);
    (TASK.as_secs_f64() / fastest * steps as f64) as u64
}

/// Median and 99th percentile of the regions, in µs.
#[derive(Clone, Copy)]
struct Times {
    median: f64,
    p99: f64,
}

fn measure(regions: usize, pause: Duration, mut region: impl FnMut()) -> Times {
    let mut times = Vec::with_capacity(regions);
    for i in 0..regions + regions / 10 {
        if !pause.is_zero() {
            let from = Instant::now();
            while from.elapsed() < pause {
                std::hint::spin_loop();
            }
        }
        let start = Instant::now();
        region();
        let time = start.elapsed();
        // The first tenth starts the threads and warms the caches.
        if i >= regions / 10 {
            times.push(time.as_secs_f64() * 1e6);
        }
    }
    times.sort_by(f64::total_cmp);
    Times { median: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
}

fn candidates(
    regions: usize,
    pause: Duration,
    steps: u64,
    rayon: &rayon::ThreadPool,
) -> Vec<(&'static str, Times)> {
    vec![
        ("one thread", measure(regions, pause, || (0..THREADS).for_each(|_| work(steps)))),
        (
            "rasgo, parallel",
            with_threads(THREADS, || measure(regions, pause, || parallel(THREADS, |_| work(steps)))),
        ),
        (
            "rayon, join, from outside the pool",
            measure(regions, pause, || {
                rayon.install(|| rayon::join(|| work(steps), || work(steps)));
            }),
        ),
        (
            "rayon, par_iter, from outside the pool",
            measure(regions, pause, || {
                rayon.install(|| (0..THREADS).into_par_iter().with_max_len(1).for_each(|_| work(steps)))
            }),
        ),
        (
            "rayon, join, inside the pool",
            rayon.install(|| {
                measure(regions, pause, || {
                    rayon::join(|| work(steps), || work(steps));
                })
            }),
        ),
        (
            "rayon, par_iter, inside the pool",
            rayon.install(|| {
                measure(regions, pause, || {
                    (0..THREADS).into_par_iter().with_max_len(1).for_each(|_| work(steps))
                })
            }),
        ),
        ("chili, join, heartbeat 100 µs (its default)", chili_join(regions, pause, steps, 100)),
        ("chili, join, heartbeat 5 µs", chili_join(regions, pause, steps, 5)),
        (
            "std::thread::scope",
            measure(regions, pause, || {
                std::thread::scope(|threads| {
                    threads.spawn(|| work(steps));
                    work(steps);
                })
            }),
        ),
    ]
}

/// Chili shares work at heartbeats only. Its pool lives here alone: the heart beats beside whatever else runs.
fn chili_join(regions: usize, pause: Duration, steps: u64, heartbeat: u64) -> Times {
    let pool = chili::ThreadPool::with_config(chili::Config {
        thread_count: NonZero::new(THREADS),
        heartbeat_interval: Duration::from_micros(heartbeat),
    });
    let mut scope = pool.scope();
    measure(regions, pause, || {
        scope.join(|_| work(steps), |_| work(steps));
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let rounds = arguments.next().unwrap_or(5);
    let regions = arguments.next().unwrap_or(4000);
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().expect("two threads");
    let steps = calibrated();
    println!("{rounds} rounds of {regions} regions; the lowest median of the rounds and its p99, µs");
    for (title, steps, pause) in [
        ("empty tasks, back to back", 0, Duration::ZERO),
        ("tasks of 20 µs, back to back", steps, Duration::ZERO),
        ("tasks of 20 µs, after pauses of 200 µs", steps, PAUSE),
    ] {
        let mut best: Vec<(&'static str, Times)> = Vec::new();
        for _ in 0..rounds {
            let rows = candidates(regions, pause, steps, &rayon);
            if best.is_empty() {
                best = rows;
            } else {
                for (best, row) in best.iter_mut().zip(rows) {
                    if row.1.median < best.1.median {
                        *best = row;
                    }
                }
            }
        }
        println!("\n| {title} | median | p99 |\n|---|---|---|");
        for (name, times) in best {
            println!("| {name} | {:.2} | {:.2} |", times.median, times.p99);
        }
    }
}
