// An app whose work grows in the ways of BENCH_SERIES, [[{ operation, clients, collections, inFlight, calls }]], one series of points
// after the other. When it is told to, it gets ready for the next series; then it takes BENCH_TURNS turns, each when it is told
// to, and in each makes the calls of each point. It reports the CPU time of these in ms, by series, point and turn, from the
// first call to the last answer. Before all of them it makes BENCH_WARM_UP calls at the first points.
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { newClient, run, search, withoutHeartbeats } from './load.mjs';
import { cpuMs, reportAtExit } from './report.mjs';

const [warmUp, turns] = ['BENCH_WARM_UP', 'BENCH_TURNS'].map((name) => Number(process.env[name]));
const allSeries = JSON.parse(process.env.BENCH_SERIES);
const clients = [];
const pointCpuMs = allSeries.map((points) => points.map(() => []));
reportAtExit(() => ({ pointCpuMs }));
process.stdin.once('end', () => process.exit(1));

async function told() {
  writeSync(3, 'ready\n');
  await once(process.stdin, 'data');
}

/** Clients that are not needed before a series do not exist before it. */
async function connect(count) {
  while (clients.length < count) {
    // A hundred clients that send their heartbeats at once take longer than all calls of a turn.
    const client = newClient(withoutHeartbeats);
    clients.push(client);
    await search(client);
  }
}

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
async function make(point, total = point.calls) {
  let answered = 0;
  await run(total, point.inFlight, async () => {
    if (await callOnce(point)) answered += 1;
  });
  if (answered !== total) throw new Error(`${answered} of ${total} calls were answered`);
}

await connect(1);
// In turn, so that V8 has seen both operations when it compiles what they share.
const WARM_UP_SLICE = 100;
for (let done = 0, at = 0; done < warmUp; done += WARM_UP_SLICE, at += 1)
  await make(allSeries[at % allSeries.length][0], WARM_UP_SLICE);
for (const [at, points] of allSeries.entries()) {
  await told();
  await connect(Math.max(...points.map((point) => point.clients)));
  for (const point of points) await make(point);
  for (let turn = 0; turn < turns; turn += 1) {
    await told();
    for (let step = 0; step < points.length; step += 1) {
      // Beginning with another one each time: what a turn begins with finds the processor's caches cold.
      const point = (turn + step) % points.length;
      const beforeMs = cpuMs();
      await make(points[point]);
      pointCpuMs[at][point].push(cpuMs() - beforeMs);
    }
  }
}
process.stdin.destroy();
await Promise.all(clients.map((client) => client.closeConnection()));
