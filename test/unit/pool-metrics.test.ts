/** Connection pools of the SDK's clients: their values, the sums, and no pool is retained by reading. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { createPool, type Pool } from 'generic-pool';
import { PoolMetrics } from '../../src/milvus/pool-metrics.ts';

const factory = { create: async () => ({}), destroy: async () => {} };
const newPool = (options = {}): Pool<object> => createPool(factory, { min: 2, max: 10, ...options });

const HERE = { address: 'db.example', port: undefined };
const THERE = { address: '::1', port: 19531 };

function started() {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const provider = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })],
  });
  const pools = new PoolMetrics(provider.getMeter('test'));
  /** `pool used` and so on → value. */
  const read = async (): Promise<Record<string, number>> => {
    exporter.reset();
    await provider.forceFlush();
    const metrics = exporter
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((s) => s.metrics));
    return Object.fromEntries(
      metrics.flatMap(({ descriptor, dataPoints }) =>
        dataPoints.map(({ attributes, value }) => {
          const kind = attributes['db.client.connection.state'] ?? descriptor.name.split('.').at(-1);
          return [`${attributes['db.client.connection.pool.name']} ${kind}`, value as number];
        }),
      ),
    );
  };
  return { pools, read };
}

test('a pool is read when metrics are collected: used, idle, limit, and calls that wait', async () => {
  const { pools, read } = started();
  const pool = newPool({ max: 3 });
  pools.uses(pool, HERE);
  const borrowed = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
  const waiting = [pool.acquire(), pool.acquire()];
  assert.deepEqual(await read(), {
    'db.example:19530 used': 3,
    'db.example:19530 idle': 0,
    'db.example:19530 limit': 3,
    'db.example:19530 pending_requests': 2,
  });
  for (const client of borrowed) await pool.release(client);
  for (const client of await Promise.all(waiting)) await pool.release(client);
  assert.deepEqual(await read(), {
    'db.example:19530 used': 0,
    'db.example:19530 idle': 3,
    'db.example:19530 limit': 3,
    'db.example:19530 pending_requests': 0,
  });
});

test('pools of one server are added up, and a closed one no longer counts', async () => {
  const { pools, read } = started();
  const [first, second, other] = [newPool(), newPool(), newPool({ max: 1, min: 1 })];
  for (const pool of [first, second, first]) pools.uses(pool, HERE);
  pools.uses(other, THERE);
  await Promise.all([first.acquire(), second.acquire(), second.acquire()]);
  const both = await read();
  assert.equal(both['db.example:19530 used'], 3);
  assert.equal(both['db.example:19530 limit'], 20);
  assert.equal(both['[::1]:19531 limit'], 1);
  await other.drain();
  await other.clear();
  assert.equal((await read())['[::1]:19531 limit'], 0);
});

test('a pool moves with its client to another server, as in a failover of a global cluster', async () => {
  const { pools, read } = started();
  const pool = newPool();
  pools.uses(pool, HERE);
  assert.equal((await read())['db.example:19530 limit'], 10);
  pools.uses(pool, THERE);
  const after = await read();
  assert.deepEqual([after['db.example:19530 limit'], after['[::1]:19531 limit']], [0, 10]);
});

test('other values are ignored: the gRPC client of old SDKs, another pool, undefined', async () => {
  const { pools, read } = started();
  for (const other of [{ Search: () => {} }, { borrowed: 1, max: 2 }, undefined, null, 'pool', () => {}])
    pools.uses(other, HERE);
  pools.uses(newPool(), undefined);
  assert.deepEqual(await read(), {});
});

test('a pool that the app drops is freed, and its series fall to zero', async () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const { pools, read } = started();
  const dropped = ((): WeakRef<object>[] =>
    Array.from({ length: 100 }, () => {
      const pool = newPool();
      pools.uses(pool, HERE);
      return new WeakRef(pool);
    }))();
  assert.equal((await read())['db.example:19530 limit'], 1_000);
  const isFreed = () => dropped.every((reference) => reference.deref() === undefined);
  for (let round = 0; round < 50 && !isFreed(); round++) {
    await sleep(10);
    gc();
  }
  assert.ok(isFreed());
  const after = await read();
  assert.deepEqual([after['db.example:19530 limit'], after['db.example:19530 idle']], [0, 0]);
});
