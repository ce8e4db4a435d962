//! What a parallel region of two threads costs: `rasgo_kernels::threads::parallel` beside rayon, chili and
//! scoped threads.
//!
//! A region is two tasks. Its time is taken by the thread that begins it, from before the call to after the
//! return. The candidates take turns within a round; for each the round with the lowest median is printed, the
//! quietest one.
//!
//! `cargo run --release -- [rounds] [regions of a round]`

use std::hint::{black_box, spin_loop};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rasgo_kernels::settings::with_threads;
use rasgo_kernels::threads::parallel;
use rayon::prelude::*;

const THREADS: usize = 2;
const TASK: Duration = Duration::from_micros(20);

/// What the tasks do, and what lies between two regions.
struct Setting {
    title: &'static str,
    task: Box<dyn Fn() + Sync>,
    pause: Duration,
    /// Whether the tasks end only if two threads run them at once.
    needs_both: bool,
}

fn settings() -> Vec<Setting> {
    let steps = calibrated();
    let working = |title, pause| Setting {
        title,
        task: Box::new(move || work(steps)),
        pause: Duration::from_micros(pause),
        needs_both: false,
    };
    let arrived = AtomicUsize::new(0);
    let meet = move || {
        let all = (arrived.fetch_add(1, Ordering::AcqRel) / THREADS + 1) * THREADS;
        while arrived.load(Ordering::Acquire) < all {
            spin_loop();
        }
    };
    vec![
        Setting {
            title: "empty tasks, back to back",
            task: Box::new(|| ()),
            pause: Duration::ZERO,
            needs_both: false,
        },
        Setting {
            title: "tasks that wait for each other, back to back",
            task: Box::new(meet),
            pause: Duration::ZERO,
            needs_both: true,
        },
        working("tasks of 20 µs, back to back", 0),
        working("tasks of 20 µs, pauses of 20 µs", 20),
        working("tasks of 20 µs, pauses of 200 µs", 200),
    ]
}

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
        let from = Instant::now();
        while from.elapsed() < pause {
            spin_loop();
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

fn candidates(regions: usize, setting: &Setting, rayon: &rayon::ThreadPool) -> Vec<(&'static str, Times)> {
    let (task, pause) = (&*setting.task, setting.pause);
    let mut rows = vec![
        (
            "rasgo, parallel",
            with_threads(THREADS, || measure(regions, pause, || parallel(THREADS, |_| task()))),
        ),
        (
            "rayon, join, begun outside its pool",
            measure(regions, pause, || {
                rayon.install(|| rayon::join(task, task));
            }),
        ),
        (
            "rayon, par_iter, begun outside its pool",
            measure(regions, pause, || {
                rayon.install(|| (0..THREADS).into_par_iter().with_max_len(1).for_each(|_| task()))
            }),
        ),
        (
            "rayon, join, begun on a thread of its pool",
            rayon.install(|| {
                measure(regions, pause, || {
                    rayon::join(task, task);
                })
            }),
        ),
        (
            "rayon, par_iter, begun on a thread of its pool",
            rayon.install(|| {
                measure(regions, pause, || (0..THREADS).into_par_iter().with_max_len(1).for_each(|_| task()))
            }),
        ),
        (
            "std::thread::scope",
            measure(regions, pause, || {
                std::thread::scope(|threads| {
                    threads.spawn(task);
                    task();
                })
            }),
        ),
    ];
    if !setting.needs_both {
        rows.insert(
            0,
            ("both tasks on one thread", measure(regions, pause, || (0..THREADS).for_each(|_| task()))),
        );
        rows.push(("chili, join, heartbeat 100 µs (its default)", chili_join(regions, setting, 100)));
        rows.push(("chili, join, heartbeat 5 µs", chili_join(regions, setting, 5)));
    }
    rows
}

/// Chili shares work at heartbeats only. Its pool lives here alone: the heart beats beside whatever else runs.
fn chili_join(regions: usize, setting: &Setting, heartbeat: u64) -> Times {
    let pool = chili::ThreadPool::with_config(chili::Config {
        thread_count: NonZero::new(THREADS),
        heartbeat_interval: Duration::from_micros(heartbeat),
    });
    let mut scope = pool.scope();
    measure(regions, setting.pause, || {
        scope.join(|_| (setting.task)(), |_| (setting.task)());
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let rounds = arguments.next().unwrap_or(5);
    let regions = arguments.next().unwrap_or(4000);
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().expect("two threads");
    println!("{rounds} rounds of {regions} regions; the lowest median of the rounds and its p99, µs");
    for setting in settings() {
        let mut best: Vec<(&'static str, Times)> = Vec::new();
        for _ in 0..rounds {
            let rows = candidates(regions, &setting, &rayon);
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
        println!("\n| {} | median | p99 |\n|---|---|---|", setting.title);
        for (name, times) in best {
            println!("| {name} | {:.2} | {:.2} |", times.median, times.p99);
        }
    }
}
