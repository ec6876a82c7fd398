import { readFileSync, writeSync } from 'node:fs';

/** User and system time of all threads of this process so far. */
export function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

export const costSoFar = () => ({ cpuMs: cpuMs(), peakMiB: peakKiB() / 1024 });

/**
 * At exit, writes { cpuMs, peakMiB, ...more() } as JSON to file descriptor 3, which the bench reads. Call it
 * from the app, so that its handler runs after the preload's, whose last work counts too.
 */
export function reportAtExit(more = () => ({})) {
  process.on('exit', () => {
    writeSync(3, JSON.stringify({ ...costSoFar(), ...more() }));
  });
}

function peakKiB() {
  try {
    // The kernel's ru_maxrss includes the moment between fork and exec, when this process still was the
    // bench.
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (peak) return Number(peak[1]);
  } catch {
    // This system has no /proc.
  }
  return process.resourceUsage().maxRSS;
}
