// An app whose work grows by BENCH_SERIES, [[{ operation, clients, collections, inFlight, calls, pairs }]],
// one series of points after the other. Each series has BENCH_TURNS turns; a turn makes the calls of each
// point in pairs, with and without spans. Reports the CPU time of both in ms, by series, point and pair, from
// the first call to the last answer, and the number of calls with a span. BENCH_WARM_UP calls at the first
// points come before. Needs --expose-gc.
import { createRequire } from 'node:module';
import { context, createContextKey } from '@opentelemetry/api';
import { newClient, run, search, withoutHeartbeats } from './load.mjs';
import { cpuMs, reportAtExit } from './report.mjs';

const [warmUp, turns] = ['BENCH_WARM_UP', 'BENCH_TURNS'].map((name) => Number(process.env[name]));
const allSeries = JSON.parse(process.env.BENCH_SERIES);
// Like suppressTracing of @opentelemetry/core, which apps do not have installed.
const withoutTracing = context
  .active()
  .setValue(createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING'), true);
const clients = [];
const sliceCpuMs = allSeries.map((points) => points.map(() => []));
let traced = 0;
reportAtExit(() => ({ sliceCpuMs, traced }));
// Exits when the bench has ended.
process.stdin.resume().once('end', () => process.exit(1));

/** Caches the results of `owner.name`, a function, by first argument. */
function remember(owner, name) {
  const make = owner[name];
  const made = new Map();
  owner[name] = function (first, ...others) {
    if (!made.has(first)) made.set(first, make.call(this, first, ...others));
    return made.get(first);
  };
}

// The SDK parses Milvus' protocol for each client. For a hundred, that takes longer than all calls, and its
// heap hides the cost of a span.
const requireOfSdk = createRequire(createRequire(import.meta.url).resolve('@zilliz/milvus2-sdk-node'));
remember(requireOfSdk('@grpc/proto-loader'), 'fromJSON');
remember(requireOfSdk('protobufjs').Root, 'fromJSON');

/** Clients exist only from the series that needs them. */
async function connect(count) {
  while (clients.length < count) {
    // A hundred clients that send heartbeats at once take longer than all calls of a turn.
    const client = newClient(withoutHeartbeats);
    clients.push(client);
    await context.with(withoutTracing, search, undefined, client);
  }
}

let made = 0;
async function callOnce({ operation, clients: among, collections }) {
  made += 1;
  const client = clients[made % among];
  if (operation === 'search') return search(client);
  // A query needs no schema, which the SDK caches for 256 collections only.
  const { data } = await client.query({
    collection_name: `collection_${made % collections}`,
    filter: 'id > 0',
    output_fields: ['id'],
    limit: 5,
  });
  return data.length === 5;
}

async function make(point, total) {
  let answered = 0;
  await run(total, point.inFlight, async () => {
    if (await callOnce(point)) answered += 1;
  });
  if (answered !== total) throw new Error(`${answered} of ${total} calls were answered`);
}

const ways = {
  traced: make,
  untraced: (point, total) => context.with(withoutTracing, make, undefined, point, total),
};

/** CPU time in ms of calls made in one way. Earlier garbage is collected first, and does not count. */
async function cost(way, point, total = point.calls) {
  globalThis.gc({ type: 'minor' });
  if (way === 'traced') traced += total;
  const beforeMs = cpuMs();
  await ways[way](point, total);
  return cpuMs() - beforeMs;
}

await connect(1);
// Alternates, so that V8 has seen both operations, with and without spans, when it compiles shared code.
const WARM_UP_SLICE = 100;
const SETTLING_CALLS = 16;
for (let done = 0, at = 0; done < warmUp; done += WARM_UP_SLICE, at += 1) {
  const [point] = allSeries[(at >> 1) % allSeries.length];
  await cost(at % 2 === 0 ? 'traced' : 'untraced', point, WARM_UP_SLICE);
}
for (const [at, points] of allSeries.entries()) {
  await connect(Math.max(...points.map((point) => point.clients)));
  // Fills the caches of each client and collection before the measurement.
  for (const point of points)
    await cost('traced', point, Math.max(point.calls, point.clients, point.collections));
  for (let turn = 0; turn < turns; turn += 1)
    for (let step = 0; step < points.length; step += 1) {
      // Rotated and in both directions, so that each point follows each other one equally often.
      const place = (turn + (turn % 2 === 0 ? step : points.length - 1 - step)) % points.length;
      const point = points[place];
      // Refills the processor's caches after another point.
      await ways.untraced(point, SETTLING_CALLS);
      for (let pair = 0; pair < point.pairs; pair += 1) {
        const slice = {};
        for (const way of (turn + pair) % 2 === 0 ? ['traced', 'untraced'] : ['untraced', 'traced'])
          slice[way] = await cost(way, point);
        sliceCpuMs[at][place].push(slice);
      }
    }
}
process.stdin.destroy();
await Promise.all(clients.map((client) => client.closeConnection()));
