/**
 * The dashboard and the alerts of compose/production on a real Collector, Prometheus, Jaeger and Milvus: each
 * query returns the values that a load of known counts implies.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse } from 'yaml';
import { crowded, lossy, type MeasuredLoad, runMeasuredLoad } from '../../tools/dashboard/measured-load.ts';
import { runFixture } from '../../tools/processes/run-fixture.ts';
import { productionFolder } from '../../tools/servers/production-set.ts';
import type { Series } from '../../tools/servers/prometheus.ts';

const loadSeconds = 20;
const log = (line: string) => console.error(line);
const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-otel-dashboard-'));

interface Target {
  expr: string;
  legendFormat: string;
  exemplar: boolean;
}
interface PanelQuery {
  title: string;
  target: Target;
}
const { panels, templating } = JSON.parse(
  readFileSync(path.join(productionFolder, 'grafana', 'dashboards', 'milvus.json'), 'utf8'),
);
const queries: PanelQuery[] = panels.flatMap((panel: any) =>
  (panel.targets ?? []).map((target: Target) => ({ title: panel.title, target })),
);
const rules: { alert: string; expr: string }[] = parse(
  readFileSync(path.join(productionFolder, 'prometheus', 'alerts.yml'), 'utf8'),
).groups.flatMap((group: any) => group.rules);

let load: MeasuredLoad;
/** Window of the load and all queries. */
let windowSeconds: number;

before(
  async () => {
    load = await runMeasuredLoad(scratch, loadSeconds, log);
    windowSeconds = Math.ceil((load.toMs - load.fromMs) / 1_000);
  },
  { timeout: 1_800_000 },
);

after(async () => {
  await load?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

/** Fills in Grafana's variables; All is `.*`. */
function filledIn(expr: string, { service = '.*', collection = '.*' } = {}): string {
  return expr
    .replaceAll(/\$__(rate_interval|range)\b/g, `${windowSeconds}s`)
    .replaceAll('$service', service)
    .replaceAll('$collection', collection);
}

function exprOf(fits: (query: PanelQuery) => boolean): string {
  const found = queries.find(fits);
  assert.ok(found !== undefined);
  return found.target.expr;
}

const ask = (expr: string, selection?: { service?: string; collection?: string }): Promise<Series[]> =>
  load.prometheus.query(filledIn(expr, selection), load.toMs);

/** Values by their labels: `search rag_passages`, in the order of the names of the labels. */
function byLabels(series: Series[]): Record<string, number> {
  return Object.fromEntries(
    series.map(({ metric, value }) => [
      Object.entries(metric)
        .filter(([name]) => name !== '__name__')
        .sort()
        .map(([, text]) => text)
        .join(' '),
      value,
    ]),
  );
}

/** Prometheus extrapolates a rate to the edges of its window. */
function assertAbout(actual: number | undefined, expected: number, what: string, tolerance = 0.1): void {
  assert.ok(
    actual !== undefined && Math.abs(actual - expected) <= Math.abs(expected) * tolerance,
    `${what}: ${actual}, expected about ${expected}`,
  );
}

const isDuration = (seconds: number | undefined) => seconds !== undefined && seconds > 0 && seconds < 10;

/**
 * Calls of the load, by operation and collection. The start of the RAG sample is before the window, except
 * for its edge.
 */
const counts = () => ({
  'rag_passages search': load.searches - 1,
  'nowhere search': load.rounds,
  'rag_passages hasCollection': 3 * load.rounds,
  'retried search': load.crowdedSearches,
  // Of the shop and the crowded app.
  connect: 2,
});
const allCalls = () => Object.values(counts()).reduce((sum, one) => sum + one);
const perSecond = (count: number) => count / windowSeconds;

type Check = (found: Record<string, number>) => void;

function one(check: (value: number) => void): Check {
  return (found) => {
    assert.equal(Object.keys(found).length, 1, JSON.stringify(found));
    check(Object.values(found)[0] as number);
  };
}
const equal = (expected: number) => one((value) => assert.equal(value, expected));
const duration = one((value) => assert.ok(isDuration(value), String(value)));
const durationsOf =
  (...keys: string[]): Check =>
  (found) => {
    for (const key of keys) assert.ok(isDuration(found[key]), `${key}: ${found[key]}`);
  };
const zeroFor =
  (...keys: string[]): Check =>
  (found) => {
    for (const key of keys) assert.equal(found[key], 0, `${key} in ${JSON.stringify(found)}`);
  };
const callTargets = [
  'rag_passages search',
  'nowhere search',
  'rag_passages hasCollection',
  'retried search',
  'connect',
];
const searchesOfAll = () => load.searches - 1 + load.rounds + load.crowdedSearches;

/** The queue is full of the others. */
const lostSpans = lossy.spans - lossy.queueSize;

/** Panel → legend of the query → expected value. */
const expected: Record<string, Record<string, Check>> = {
  'Calls per second': {
    calls: one((value) => assertAbout(value, perSecond(allCalls()), 'calls')),
  },
  'Failed calls': {
    'error ratio': one((value) => assertAbout(value, load.rounds / allCalls(), 'ratio')),
  },
  'p99 duration': { p99: duration },
  'Calls in flight': { 'in flight': equal(crowded.held) },
  'Lost spans': { lost: one((value) => assertAbout(value, lostSpans, 'lost')) },
  Collector: { collector: equal(1) },
  'Calls per second by operation': {
    '{{db_operation_name}}': (found) => {
      assertAbout(found.search, perSecond(searchesOfAll()), 'search');
      assertAbout(found.hasCollection, perSecond(3 * load.rounds), 'hasCollection');
    },
  },
  'Failed calls per second by error': {
    '{{db_operation_name}} {{error_type}}': (found) => {
      assert.deepEqual(Object.keys(found), ['search CollectionNotFound']);
      assertAbout(found['search CollectionNotFound'], perSecond(load.rounds), 'failures');
    },
  },
  'Share of failed calls by operation': {
    '{{db_operation_name}}': (found) => {
      assertAbout(found.search, load.rounds / searchesOfAll(), 'search');
      assert.equal(found.hasCollection, 0);
    },
  },
  Duration: { p50: duration, p95: duration, p99: duration, 'p99 of kept traces': duration },
  'p99 by operation and collection': {
    '{{db_operation_name}} {{db_collection_name}}': durationsOf(...callTargets),
  },
  'Operations and collections': {
    'Calls per second': (found) => {
      for (const [key, count] of Object.entries(counts())) assertAbout(found[key], perSecond(count), key);
    },
    Failed: (found) => {
      assert.equal(found['nowhere search'], 1);
      assert.equal(found['rag_passages search'], 0);
      assert.equal(found['rag_passages hasCollection'], 0);
    },
    p50: durationsOf(...callTargets),
    p95: durationsOf(...callTargets),
    p99: durationsOf(...callTargets),
  },
  'Mean duration of a call': {
    client: duration,
    server: duration,
    'network gap': duration,
  },
  'p99 of the server by RPC': { '{{rpc_method}}': durationsOf('Search', 'DescribeCollection') },
  'Client and server by operation': {
    Client: durationsOf('search'),
    Server: durationsOf('search'),
    Gap: durationsOf('search'),
  },
  'Returned rows per call': {
    '{{db_operation_name}} {{db_collection_name}}': (found) => {
      // The search at the sample's start returns one row, every other four.
      assertAbout(found['rag_passages search'], 4, 'rows', 0.05);
      assert.equal(found['retried search'], 2);
    },
  },
  'Retries per second': {
    '{{db_operation_name}}': (found) => {
      assertAbout(found.search, perSecond(crowded.retriesPerSearch * load.crowdedSearches), 'retries');
      zeroFor('hasCollection', 'connect')(found);
    },
  },
  'Calls in flight by operation': {
    '{{db_operation_name}}': (found) => {
      assert.equal(found.search, crowded.held);
      zeroFor('hasCollection', 'connect')(found);
    },
  },
  Connections: {
    '{{db_client_connection_pool_name}} {{db_client_connection_state}}': (found) => {
      const { address } = load.milvus;
      assert.equal(found[`${address} used`], 0);
      assert.ok((found[`${address} idle`] as number) >= 2, JSON.stringify(found));
      assert.equal(found[`${load.crowdedAddress} used`], crowded.poolSize);
      assert.equal(found[`${load.crowdedAddress} idle`], 0);
    },
    // Ten for each of the three apps on the real Milvus.
    '{{db_client_connection_pool_name}} limit': (found) =>
      assert.deepEqual(found, { [load.milvus.address]: 30, [load.crowdedAddress]: crowded.poolSize }),
  },
  'Calls that wait for a connection': {
    '{{db_client_connection_pool_name}}': (found) =>
      assert.deepEqual(found, {
        [load.milvus.address]: 0,
        [load.crowdedAddress]: crowded.held - crowded.poolSize,
      }),
  },
  'Lost spans per second': {
    '{{service_name}} {{error_type}}': ({ 'queue_full lossy': lost, ...others }) => {
      assertAbout(lost, perSecond(lostSpans), 'lost');
      for (const [key, value] of Object.entries(others)) assert.equal(value, 0, key);
    },
  },
  'Spans waiting in the apps': {
    '{{service_name}}': (found) =>
      assert.deepEqual(found, { crowded: 0, lossy: 1, 'rag-service': 0, shop: 0 }),
  },
  'Share of calls whose trace is kept': {
    // Only failed calls are kept, and the other service has none.
    '{{service_name}}': (found) => {
      assert.deepEqual(Object.keys(found), ['shop']);
      assertAbout(found.shop, 1 / 4, 'kept');
    },
  },
  'Spans through the collector': {
    received: one((value) => assert.ok(value > perSecond(allCalls()), String(value))),
    refused: equal(0),
    stored: one((value) => assert.ok(value >= perSecond(load.rounds), String(value))),
    failed: equal(0),
  },
  'The collector’s queue to Jaeger': { '{{exporter}}': equal(0) },
};

test('the counts of the load arrive exactly, although most traces are not kept', async () => {
  const total =
    'sum by (db_collection_name, db_operation_name) (traces_span_metrics_calls_total{db_collection_name!=""})';
  const found = byLabels(await load.prometheus.query(total));
  assert.equal(found['rag_passages search'], load.searches);
  assert.equal(found['nowhere search'], load.rounds);
  assert.equal(found['rag_passages hasCollection'], 3 * load.rounds + 1);
  assert.equal(found['retried search'], load.crowdedSearches);
});

test('a call with retries counts once, and each of its retries once', async () => {
  const [retries] = await load.prometheus.query(
    'sum(milvus_client_operation_retries_total{service_name="crowded", db_operation_name="search"})',
    load.toMs,
  );
  assert.equal(retries?.value, crowded.retriesPerSearch * load.crowdedSearches);
  const [measured] = await load.prometheus.query(
    'sum(db_client_operation_duration_seconds_count{service_name="crowded", db_operation_name="search"})',
    load.toMs,
  );
  assert.equal(measured?.value, load.crowdedSearches);
});

describe('each query returns the value that the load implies', () => {
  test('and each panel has an expectation', () => {
    const named = Object.entries(expected).flatMap(([title, checks]) =>
      Object.keys(checks).map((legend) => `${title}: ${legend}`),
    );
    assert.deepEqual(
      queries.map(({ title, target }) => `${title}: ${target.legendFormat}`).sort(),
      named.sort(),
    );
  });

  for (const { title, target } of queries) {
    test(`${title}: ${target.legendFormat}`, async () => {
      const check = expected[title]?.[target.legendFormat];
      assert.ok(check !== undefined);
      check(byLabels(await ask(target.expr)));
    });
  }
});

test('the variables offer the services and collections of the load', async () => {
  for (const [index, names] of [
    ['crowded', 'rag-service', 'shop'],
    ['nowhere', 'rag_passages', 'retried'],
  ].entries()) {
    const [, metric, label] = /^label_values\((.*), (\w+)\)$/.exec(templating.list[index].query.query) ?? [];
    const found = await ask(`group by (${label}) (${metric})`);
    const values = found.map(({ metric }) => metric[label as string]).filter((value) => value !== undefined);
    assert.deepEqual(values.sort(), names);
  }
});

test('a selected service and collection show only the calls of that service on that collection', async () => {
  const found = byLabels(
    await ask(
      exprOf(({ title }) => title === 'Calls per second by operation'),
      { service: 'shop', collection: 'nowhere' },
    ),
  );
  assert.deepEqual(Object.keys(found), ['search']);
  assertAbout(found.search, perSecond(load.rounds), 'search');
});

test('for a service without calls, each query on services is empty, so that its panel shows its text', async () => {
  for (const { title, target } of queries.filter(({ target }) => target.expr.includes('$service'))) {
    const found = await ask(target.expr, { service: 'no-such-service' });
    assert.deepEqual(found, [], `${title}: ${target.legendFormat}`);
  }
});

test('the points of the duration lead to traces that Jaeger has, each of a failed call', async () => {
  const expr = exprOf(({ target }) => target.exemplar);
  const exemplars = await load.prometheus.exemplars(filledIn(expr), load.fromMs, load.toMs);
  assert.ok(exemplars.length > 5, `${exemplars.length}`);
  for (const { traceId, metric } of exemplars.slice(0, 5)) {
    assert.equal(metric.service_name, 'shop');
    const response = await fetch(`${load.set.jaegerUrl}/api/traces/${traceId}`);
    const { data } = (await response.json()) as any;
    // search nowhere └─ standalone: MilvusService/DescribeCollection
    const names = data[0].spans.map(({ operationName }: any) => operationName);
    assert.ok(names.includes('search nowhere'), names.join(', '));
  }
});

describe('each alert', () => {
  const ruleOf = (name: string) => rules.find(({ alert }) => alert === name)?.expr as string;
  /** The alerts that Prometheus has raised: all wait for their `for`. */
  const raised = async () =>
    (await load.prometheus.query('ALERTS')).map(({ metric }) =>
      [metric.alertname, metric.service_name].filter(Boolean).join(' '),
    );

  test('is raised for the service that the load implies, and for no other', async () => {
    const services: Record<string, string[]> = { MilvusErrorRatio: ['shop'], MilvusSpansLost: ['lossy'] };
    // On a busy machine, a call of the sample's start may be slow; another test covers slow calls.
    const others = rules.filter(({ alert }) => alert !== 'MilvusSlowCalls');
    for (const { alert, expr } of others) {
      const found = await load.prometheus.query(expr, load.toMs);
      assert.deepEqual(
        found.map(({ metric }) => metric.service_name),
        services[alert] ?? [],
        alert,
      );
    }
    const names = (await raised()).filter((name) => !name.startsWith('MilvusSlowCalls'));
    assert.deepEqual(names.sort(), ['MilvusErrorRatio shop', 'MilvusSpansLost lossy']);
  });

  test('MilvusErrorRatio has the ratio of the load', async () => {
    const [found] = await load.prometheus.query(ruleOf('MilvusErrorRatio'), load.toMs);
    assertAbout(found?.value, 1 / 4, 'ratio', 0.05);
  });

  test('MilvusSlowCalls compares the p99 of each operation of a service', async () => {
    const found = byLabels(
      await load.prometheus.query(ruleOf('MilvusSlowCalls').replace('> 1', '> 0'), load.toMs),
    );
    assert.deepEqual(Object.keys(found).sort(), [
      'insert rag-service',
      'search crowded',
      'search rag-service',
      'search shop',
    ]);
    // With its threshold, only those above remain.
    const raisedFor = byLabels(await load.prometheus.query(ruleOf('MilvusSlowCalls'), load.toMs));
    assert.deepEqual(raisedFor, Object.fromEntries(Object.entries(found).filter(([, p99]) => p99 > 1)));
  });

  async function waitUntil(what: string, isTrue: () => Promise<boolean>): Promise<void> {
    const deadlineMs = performance.now() + 60_000;
    while (!(await isTrue())) {
      assert.ok(performance.now() < deadlineMs, `${what} after 60 s; raised: ${await raised()}`);
      await sleep(500);
    }
  }
  const unreachable = async () => (await raised()).includes('CollectorUnreachable');

  test('CollectorUnreachable is raised when the collector stops, and is resolved when it is back', async () => {
    await load.set.collector.stop({ gently: true });
    await waitUntil('not raised', unreachable);
    load.set.collector = await load.set.startCollector();
    await waitUntil('still raised', async () => !(await unreachable()));
  });

  test('CollectorLosesSpans is raised when the store refuses spans', async () => {
    await load.set.collector.stop({ gently: true });
    // Milvus is a gRPC server that does not implement OTLP.
    load.set.collector = await load.set.startCollector({ JAEGER_ENDPOINT: load.milvus.address });
    await waitUntil('not raised', async () => {
      // Repeated failing calls, which are kept: a rate needs two samples.
      await runFixture({
        file: 'test/fixtures/kept-and-dropped.mjs',
        preload: true,
        env: { ...load.appEnv, OTEL_SERVICE_NAME: 'shop' },
      });
      return (await raised()).includes('CollectorLosesSpans');
    });
  });
});
