// An app that makes BENCH_CALLS searches, BENCH_IN_FLIGHT at a time, in BENCH_SLICES equal parts, each after
// a `go`. BENCH_WARM_UP searches before them fill the SDK's cache and let V8 compile the code. Reports CPU
// time and peak memory of the process at the start of each part, and the CPU time in ms of the first
// BENCH_FIRST searches of all. BENCH_WORKLOAD is a workload of load.mjs. BENCH_SLOWLY=1 is for much slower
// runs: no heartbeats, and minutes for an answer.
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
// Exits when the bench has ended.
process.stdin.once('end', () => process.exit(1));

async function count() {
  const number = made;
  made += 1;
  if (await search(client, number)) answered += 1;
}

// In sequence first: concurrent searches would each request the collection's schema.
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
