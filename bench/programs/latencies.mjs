// An app that makes BENCH_CALLS searches in sequence, in BENCH_SLICES equal parts, each after a `go`, with
// BENCH_WARM_UP searches before, and reports the time of each.
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { ConsistencyLevelEnum } from '@zilliz/milvus2-sdk-node';
import { newClient, search } from './load.mjs';
import { reportAtExit } from './report.mjs';

const [calls, slices, warmUp] = ['BENCH_CALLS', 'BENCH_SLICES', 'BENCH_WARM_UP'].map((name) =>
  Number(process.env[name]),
);
const client = newClient();
// Milvus waits up to 200 ms for its clock at the level Strong, and when it reads vectors for the output.
const atOnce = { consistency_level: ConsistencyLevelEnum.Eventually, output_fields: ['id'] };
const latenciesMs = [];
reportAtExit(() => ({ latenciesMs }));
// Exits when the bench has ended.
process.stdin.once('end', () => process.exit(1));

for (let call = 0; call < warmUp; call += 1) await search(client, atOnce);
for (let slice = 0; slice < slices; slice += 1) {
  writeSync(3, 'ready\n');
  await once(process.stdin, 'data');
  for (let call = 0; call < calls / slices; call += 1) {
    const began = performance.now();
    const found = await search(client, atOnce);
    latenciesMs.push(performance.now() - began);
    if (!found) throw new Error('a search did not find its five rows');
  }
}
process.stdin.destroy();
await client.closeConnection();
