// An app that makes BENCH_CALLS searches, eight at a time, and reports the peak of its heap and buffers, and
// their size after garbage collection. Needs --expose-gc.
import { newClient, run, search } from './load.mjs';
import { reportAtExit } from './report.mjs';

const mebibytes = (bytes) => bytes / 2 ** 20;
let heapPeakMiB = 0;
let keptMiB = 0;
reportAtExit(() => ({ heapPeakMiB, keptMiB }));

const client = newClient();
await run(1, 1, () => search(client));
await run(Number(process.env.BENCH_CALLS), 8, async (call) => {
  await search(client);
  if (call % 100 !== 0) return;
  const { heapTotal, external } = process.memoryUsage();
  heapPeakMiB = Math.max(heapPeakMiB, mebibytes(heapTotal + external));
});
// Twice: the second collection frees the objects that the first one finalizes.
globalThis.gc();
globalThis.gc();
const { heapUsed, external } = process.memoryUsage();
keptMiB = mebibytes(heapUsed + external);
await client.closeConnection();
