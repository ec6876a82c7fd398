// An app that makes BENCH_CALLS searches, BENCH_IN_FLIGHT at a time, in BENCH_SLICES equal parts, each when
// it is told to; before them BENCH_WARM_UP others, which fill the SDK's cache and let the code be compiled.
// It reports the CPU time and the peak memory of the process when each part began, and the CPU time in ms of
// the first BENCH_FIRST searches of all. BENCH_WORKLOAD names one of the workloads of load.mjs.
// BENCH_SLOWLY=1: it runs so much more slowly than usual that there are no heartbeats, and that an answer may
// take minutes.
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { newClient, run, WORKLOADS, withoutHeartbeats } from './load.mjs';
import { costSoFar, cpuMs, reportAtExit } from './report.mjs';

const [calls, inFlight, slices, warmUp, first] = [
  'BENCH_CALLS',
  'BENCH_IN_FLIGHT',
  'BENCH_SLICES',
  'BENCH_WARM_UP',
  'BENCH_FIRST',
].map((name) => Number(process.env[name]));
const client = newClient(process.env.BENCH_SLOWLY === '1' ? { ...withoutHeartbeats, timeout: 600_000 } : {});
const { prepared, search } = WORKLOADS[process.env.BENCH_WORKLOAD];
let answered = 0;
let made = 0;
let firstCpuMs = 0;
const slicesBegan = [];
reportAtExit(() => ({ answered, firstCpuMs, slicesBegan }));
// The bench is gone: so are we.
process.stdin.once('end', () => process.exit(1));

async function count() {
  const number = made;
  made += 1;
  if (await search(client, number)) answered += 1;
}

// One after the other first: searches that start together would each ask for the collection's schema.
await run(prepared, 1, count);
const beganMs = cpuMs();
await run(first, 8, count);
firstCpuMs = cpuMs() - beganMs;
await run(Math.max(0, warmUp - first - prepared), 8, count);
answered = 0;
for (let slice = 0; slice < slices; slice += 1) {
  writeSync(3, 'ready\n');
  await once(process.stdin, 'data');
  slicesBegan.push(costSoFar());
  await run(calls / slices, inFlight, count);
}
process.stdin.destroy();
await client.closeConnection();
