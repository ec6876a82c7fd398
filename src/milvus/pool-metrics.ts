/**
 * The conventions' metrics of connection pools. A MilvusClient has a pool of gRPC clients from SDK 2.4.2 on,
 * each with its own connection, and sends one call at a time through each. Pools are read when metrics are
 * collected, by weak references: a client that the app has dropped is freed with its pool.
 */
import type { Attributes, BatchObservableResult, Meter } from '@opentelemetry/api';
import { type ServerAddress, serverTarget } from './attributes.ts';

/** In development, so not in the package's stable entry. Before 1.45, `limit` was `max`. */
export const POOL_METRIC = {
  count: 'db.client.connection.count',
  limit: 'db.client.connection.limit',
  pending: 'db.client.connection.pending_requests',
} as const;
export const ATTR_POOL_NAME = 'db.client.connection.pool.name';
export const ATTR_POOL_STATE = 'db.client.connection.state';

/** The part of generic-pool's Pool that is read, all of it public. Source: generic-pool 3.9. */
interface Pool {
  borrowed: number;
  available: number;
  pending: number;
  /** Including those that are being created. */
  size: number;
  min: number;
  max: number;
}

interface KnownPool {
  readonly pool: WeakRef<Pool>;
  server: ServerAddress;
}

/** Sums over all pools of a server. */
interface Totals {
  used: number;
  idle: number;
  pending: number;
  limit: number;
}

export class PoolMetrics {
  readonly #known = new WeakMap<object, KnownPool>();
  readonly #pools = new Set<KnownPool>();
  readonly #freed = new FinalizationRegistry<KnownPool>((known) => this.#pools.delete(known));
  /**
   * By the pool's name. A server stays in it: the SDK repeats the last value of a series that is no longer
   * observed.
   */
  readonly #totals = new Map<string, Totals>();

  constructor(meter: Meter) {
    const count = meter.createObservableUpDownCounter(POOL_METRIC.count, {
      description:
        'The number of connections that are currently in state described by the `state` attribute.',
      unit: '{connection}',
    });
    const limit = meter.createObservableUpDownCounter(POOL_METRIC.limit, {
      description: 'The maximum number of open connections allowed.',
      unit: '{connection}',
    });
    const pending = meter.createObservableUpDownCounter(POOL_METRIC.pending, {
      description: 'The number of current pending requests for an open connection.',
      unit: '{request}',
    });
    const observe = (result: BatchObservableResult) => {
      this.#addUp();
      for (const [name, totals] of this.#totals) {
        const attributes: Attributes = { [ATTR_POOL_NAME]: name };
        result.observe(count, totals.used, { ...attributes, [ATTR_POOL_STATE]: 'used' });
        result.observe(count, totals.idle, { ...attributes, [ATTR_POOL_STATE]: 'idle' });
        result.observe(limit, totals.limit, attributes);
        result.observe(pending, totals.pending, attributes);
      }
    };
    meter.addBatchObservableCallback(observe, [count, limit, pending]);
  }

  uses(pool: unknown, server: ServerAddress | undefined): void {
    if (server === undefined || typeof pool !== 'object' || pool === null) return;
    const known = this.#known.get(pool);
    // A client of a global cluster learns the address of its new primary after it has connected.
    if (known !== undefined) known.server = server;
    else if (isPool(pool)) this.#add(pool, server);
  }

  #add(pool: Pool, server: ServerAddress): void {
    const known = { pool: new WeakRef(pool), server };
    this.#known.set(pool, known);
    this.#pools.add(known);
    this.#freed.register(pool, known);
  }

  #addUp(): void {
    for (const totals of this.#totals.values()) Object.assign(totals, NONE);
    for (const { pool: reference, server } of this.#pools) {
      const pool = reference.deref();
      if (pool === undefined) continue;
      const name = serverTarget(server);
      const totals = this.#totals.get(name) ?? { ...NONE };
      this.#totals.set(name, totals);
      totals.used += pool.borrowed;
      totals.idle += pool.available;
      totals.pending += pool.pending;
      if (!isClosed(pool)) totals.limit += pool.max;
    }
  }
}

const NONE: Totals = { used: 0, idle: 0, pending: 0, limit: 0 };

function isPool(object: object): object is Pool {
  const { borrowed, available, pending, size, min, max } = object as Pool;
  return [borrowed, available, pending, size, min, max].every((value) => typeof value === 'number');
}

/** An open pool creates connections up to its minimum at once. */
const isClosed = ({ size, min }: Pool): boolean => size === 0 && min > 0;
