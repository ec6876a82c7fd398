import { readFileSync, writeSync } from 'node:fs';

/**
 * At the end of the process writes { cpuMs, cpuBeforeMs, peakMiB, ...more() } as JSON to file descriptor 3, which the bench reads.
 * `cpuMs` counts from `since`, by default from the start of the process, `cpuBeforeMs` up to there. To be called from the
 * app, so that the handler runs after those of a preload: their last work counts too.
 */
export function reportAtExit(more = () => ({}), since = () => ({ user: 0, system: 0 })) {
  process.on('exit', () => {
    const ms = ({ user, system }) => (user + system) / 1000;
    const cpuBeforeMs = ms(since());
    const cpuMs = ms(process.cpuUsage()) - cpuBeforeMs;
    writeSync(3, JSON.stringify({ cpuMs, cpuBeforeMs, peakMiB: peakKiB() / 1024, ...more() }));
  });
}

function peakKiB() {
  try {
    // The kernel's ru_maxrss also counts the moment between fork and exec, when this process still was the bench.
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (peak) return Number(peak[1]);
  } catch {
    // No /proc on this system.
  }
  return process.resourceUsage().maxRSS;
}
