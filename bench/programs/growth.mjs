// An app that makes BENCH_CALLS calls when it is told to, again and again, BENCH_SLICES times: each time the next way of
// BENCH_POINTS, [{ operation, clients, collections, inFlight }], and after the last the first again. It reports the CPU time of
// each time, in ms, from when it is told to the last answer.
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { newClient, run, search, withoutHeartbeats } from './load.mjs';
import { cpuMs, reportAtExit } from './report.mjs';

const points = JSON.parse(process.env.BENCH_POINTS);
const [calls, slices, warmUp] = ['BENCH_CALLS', 'BENCH_SLICES', 'BENCH_WARM_UP'].map((name) =>
  Number(process.env[name]),
);
// A hundred clients that send their heartbeats at once take longer than all calls of a slice.
const clients = Array.from({ length: Math.max(...points.map((point) => point.clients)) }, () =>
  newClient(withoutHeartbeats),
);
const sliceCpuMs = [];
reportAtExit(() => ({ sliceCpuMs }));
process.stdin.once('end', () => process.exit(1));

let made = 0;
async function callOnce({ operation, clients: among, collections }) {
  made += 1;
  const client = clients[made % among];
  if (operation === 'search') return search(client);
  // A query asks for no schema, which the SDK keeps of 256 collections only.
  const { data } = await client.query({
    collection_name: `collection_${made % collections}`,
    filter: 'id > 0',
    output_fields: ['id'],
    limit: 5,
  });
  return data.length === 5;
}
async function make(total, point) {
  let answered = 0;
  await run(total, point.inFlight, async () => {
    if (await callOnce(point)) answered += 1;
  });
  if (answered !== total) throw new Error(`${answered} of ${total} calls were answered`);
}

for (const client of clients) await search(client);
await make(warmUp, points[0]);
for (const point of points) await make(calls, point);
for (let slice = 0; slice < slices; slice += 1) {
  writeSync(3, 'ready\n');
  await once(process.stdin, 'data');
  const beforeMs = cpuMs();
  await make(calls, points[slice % points.length]);
  sliceCpuMs.push(cpuMs() - beforeMs);
}
process.stdin.destroy();
await Promise.all(clients.map((client) => client.closeConnection()));
