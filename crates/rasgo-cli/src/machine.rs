//! What the system says of the machine and of this process.

use rasgo::{Error, ErrorKind, Result};

/// The processor's name, where the system tells it.
pub(crate) fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or("unknown".to_string(), |(_, name)| name.trim().to_string())
}

/// Watches how far this process's resident memory grows.
#[derive(Debug)]
pub(crate) struct ResidentMemory {
    before: u64,
}

impl ResidentMemory {
    /// Begins to watch, now.
    ///
    /// # Errors
    /// If the system does not tell a process its peak.
    pub(crate) fn watch() -> Result<ResidentMemory> {
        // 5 sets the peak back to what is resident now. Where that is not allowed the peak still begins at the
        // process's own start, which touched next to nothing.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Ok(ResidentMemory { before: status_bytes("VmRSS:")? })
    }

    /// The bytes by which the peak since then lies above what was resident then.
    pub(crate) fn growth(&self) -> Result<u64> {
        Ok(status_bytes("VmHWM:")?.saturating_sub(self.before))
    }
}

/// A size of `/proc/self/status`, in bytes.
fn status_bytes(key: &str) -> Result<u64> {
    let file = "/proc/self/status";
    let text = std::fs::read_to_string(file).unwrap_or_default();
    size_of_line(&text, key).ok_or_else(|| {
        Error::new(ErrorKind::State, format!("this system has no {} in {file}", key.trim_end_matches(':')))
            .hint("memory can be measured on Linux")
    })
}

fn size_of_line(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::size_of_line;

    #[test]
    fn a_size_is_read_from_its_own_line_and_nothing_else() {
        let text = "Name:\trasgo\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(size_of_line(text, "VmHWM:"), Some(2048 * 1024));
        assert_eq!(size_of_line(text, "VmRSS:"), Some(1024 * 1024));
        assert_eq!(size_of_line(text, "VmSwap:"), None);
        assert_eq!(size_of_line("VmHWM:\tmuch\n", "VmHWM:"), None);
    }
}
