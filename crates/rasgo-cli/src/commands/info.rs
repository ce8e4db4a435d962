use clap::Args;
use rasgo::{Isa, Result, settings};
use serde_json::json;

use crate::machine::processor;
use crate::terminal::print;

/// What this machine offers and what is used of it.
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Info {
    pub(crate) fn run(self) -> Result<()> {
        let peak = rasgo::peak::f32_peak(0.3);
        let version = env!("CARGO_PKG_VERSION");
        let (cpu, threads) = (processor(), settings::threads());
        let (found, used) = (Isa::detected().name(), Isa::current().name());
        if self.json {
            let text = json!({
                "version": version, "cpu": cpu, "isa_found": found, "isa": used, "threads": threads, "peak_gflops": peak
            });
            print(&text.to_string())?;
        } else {
            print(&format!("rasgo {version}\nprocessor: {cpu}\ninstruction set: {used} (found {found})"))?;
            print(&format!("threads: {threads}\nmeasured f32 peak: {peak:.0} GFLOP/s"))?;
        }
        Ok(())
    }
}
