// An app that makes BENCH_CALLS searches, BENCH_IN_FLIGHT at a time, in BENCH_SLICES equal parts, each when it is told to; before
// them BENCH_WARM_UP that do not count: they fill the SDK's cache and let the code be compiled.
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { reportAtExit } from './report.mjs';

const [calls, inFlight, slices, warmUp] = [
  'BENCH_CALLS',
  'BENCH_IN_FLIGHT',
  'BENCH_SLICES',
  'BENCH_WARM_UP',
].map((name) => Number(process.env[name]));
const client = new MilvusClient({ address: process.env.BENCH_MILVUS });
let answered = 0;
let from = { user: 0, system: 0 };
reportAtExit(
  () => ({ answered }),
  () => from,
);
// The bench is gone: so are we.
process.stdin.once('end', () => process.exit(1));

async function search() {
  const found = await client.search({
    collection_name: 'quick_setup',
    data: [0.1, 0.2, 0.3, 0.4, 0.5],
    limit: 5,
  });
  if (found.results.length === 5) answered += 1;
}

async function run(total, atOnce) {
  let begun = 0;
  const worker = async () => {
    while (begun < total) {
      begun += 1;
      await search();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

// One alone first: searches that start together would each ask for the collection's schema.
await run(1, 1);
await run(warmUp - 1, 8);
answered = 0;
for (let slice = 0; slice < slices; slice += 1) {
  writeSync(3, 'ready\n');
  await once(process.stdin, 'data');
  if (slice === 0) from = process.cpuUsage();
  await run(calls / slices, inFlight);
}
process.stdin.destroy();
await client.closeConnection();
