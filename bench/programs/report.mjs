import { readFileSync, writeSync } from 'node:fs';

/** User and system time of all threads of this process so far. */
export function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

export const costSoFar = () => ({ cpuMs: cpuMs(), peakMiB: peakKiB() / 1024 });

/**
 * At the end of the process writes { cpuMs, peakMiB, ...more() } as JSON to file descriptor 3, which the
 * bench reads. To be called from the app, so that the handler runs after those of a preload: their last work
 * counts too.
 */
export function reportAtExit(more = () => ({})) {
  process.on('exit', () => {
    writeSync(3, JSON.stringify({ ...costSoFar(), ...more() }));
  });
}

function peakKiB() {
  try {
    // The kernel's ru_maxrss also counts the moment between fork and exec, when this process still was the
    // bench.
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (peak) return Number(peak[1]);
  } catch {
    // No /proc on this system.
  }
  return process.resourceUsage().maxRSS;
}
