// An app that makes BENCH_CALLS searches, eight at a time, and says how large its heap and its buffers were
// at most, and what is left of them when everything that is no longer used is gone. Needs --expose-gc.
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
// Twice: what a first collection finds to be finalized, the second one takes away.
globalThis.gc();
globalThis.gc();
const { heapUsed, external } = process.memoryUsage();
keptMiB = mebibytes(heapUsed + external);
await client.closeConnection();
