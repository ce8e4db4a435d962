//! How all benchmarks are timed and reported.

use std::time::Instant;

use rasgo::{Error, Isa, Result, settings};
use serde_json::{Value, json};

use crate::machine::processor;
use crate::terminal::{print, table};

/// The median time of `body` in seconds, after two runs that warm it up and one that tells how often to repeat it.
pub(super) fn median_time(seconds: f64, mut body: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut time = || {
        let start = Instant::now();
        body()?;
        Ok(start.elapsed().as_secs_f64())
    };
    time()?;
    time()?;
    let repeats = ((seconds / time()?.max(1e-6)) as usize).clamp(5, 200);
    let mut times = (0..repeats).map(|_| time()).collect::<Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    Ok((times[(repeats - 1) / 2] + times[repeats / 2]) / 2.0)
}

pub(super) fn measured_peak() -> f64 {
    rasgo::peak::f32_peak(0.3)
}

/// Where and how the rows were measured, and the rows.
pub(super) fn report(peak: f64, rows: &[Value]) -> String {
    let (threads, cpu, isa) = (settings::threads(), processor(), Isa::current().name());
    json!({ "threads": threads, "cpu": cpu, "isa": isa, "peak": peak, "rows": rows }).to_string()
}

pub(super) fn print_machine(peak: f64) -> Result<()> {
    let (threads, isa) = (settings::threads(), Isa::current().name());
    let unit = if threads == 1 { "thread" } else { "threads" };
    print(&format!("{}, {isa}, {threads} {unit}, measured f32 peak {peak:.0} GFLOP/s", processor()))
}

/// The rows, as one object or as a table under the machine's name.
pub(super) fn print_rows(
    json: bool,
    peak: f64,
    rows: &[Value],
    head: &[&str],
    lines: Vec<Vec<String>>,
) -> Result<()> {
    if json {
        return print(&report(peak, rows));
    }
    print_machine(peak)?;
    let head = head.iter().map(ToString::to_string).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(lines).collect();
    print(&format!("\n{}", table(&lines)))
}

pub(super) fn share(gflops: f64, peak: f64) -> String {
    format!("{:.0} %", 100.0 * gflops / peak)
}

/// The benchmarks to run: all, or those whose name, or its first words, is `only`; `short` is another name of one.
pub(super) fn chosen<T>(
    all: Vec<T>,
    only: Option<&str>,
    name: fn(&T) -> &str,
    short: fn(&T) -> &str,
) -> Result<Vec<T>> {
    let Some(only) = only else { return Ok(all) };
    let begins =
        |name: &str| name.strip_prefix(only).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    let (found, others): (Vec<T>, Vec<T>) =
        all.into_iter().partition(|one| begins(name(one)) || short(one) == only);
    if !found.is_empty() {
        return Ok(found);
    }
    let error = Error::argument(format!("--only {only:?} is no benchmark"));
    let list: Vec<&str> = others.iter().map(name).collect();
    let names = list.iter().flat_map(|name| [*name, name.split(' ').next().unwrap_or(name)]);
    let list = format!("he benchmarks are {}", list.join(", "));
    Err(match rasgo::nearest(only, names.chain(others.iter().map(short))) {
        Some(near) => error.hint(format!("is {near:?} meant? T{list}")),
        None => error.hint(format!("t{list}")),
    })
}
