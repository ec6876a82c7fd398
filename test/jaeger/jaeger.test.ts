import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Jaeger, startJaeger } from '../../tools/servers/jaeger.ts';
import { type Milvus, startMilvus } from '../../tools/servers/milvus.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const startWithinMs = 600_000;
const tracesWithinMs = 60_000;

type JaegerSpan = {
  traceID: string;
  spanID: string;
  operationName: string;
  processID: string;
  references: { refType: string; traceID: string; spanID: string }[];
  /** Since the epoch, in µs. */
  startTime: number;
  tags: { key: string; value: unknown }[];
};
type JaegerTrace = {
  traceID: string;
  spans: JaegerSpan[];
  processes: Record<string, { serviceName: string }>;
};

let jaeger: Jaeger;
let milvus: Milvus;
let traces: JaegerTrace[];

before(
  async () => {
    const log = (line: string) => console.error(line);
    // Jaeger first: Milvus' core can stop when its exporter finds no collector.
    jaeger = await startJaeger({ log });
    milvus = await startMilvus({ otlpEndpoint: `127.0.0.1:${jaeger.otlpGrpcPort}`, log });
    await runQuickstart({
      OTEL_SERVICE_NAME: 'milvus-client',
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${jaeger.otlpGrpcPort}`,
    });
    traces = await joinedTraces('milvus-client');
  },
  { timeout: startWithinMs },
);

after(async () => {
  await milvus?.stop();
  await jaeger?.stop();
});

test('Jaeger lists the client and the Milvus server as its two services', async () => {
  const services = await ask<string[]>('/api/services');
  assert.deepEqual(services.toSorted(), ['milvus-client', 'standalone']);
});

/** Of the quickstart, on its collection. */
const OPERATIONS = [
  'hasCollection quick_setup',
  'dropCollection quick_setup',
  'createCollection quick_setup',
  'getLoadState quick_setup',
  'insert quick_setup',
  'search quick_setup',
  'query quick_setup',
  'dropCollection quick_setup',
];

test('each operation of the quickstart is a client span in Jaeger', () => {
  assert.deepEqual(operationsIn(traces, 'milvus-client'), OPERATIONS);
});

test('each client span has a span of the Milvus server as its child', () => {
  // <any operation>            milvus-client, client
  // └─ MilvusService/<its RPC>  standalone, server, CHILD_OF the client span
  const spans = traces.flatMap((trace) => clientSpans(trace).map((span) => ({ trace, span })));
  assert.notEqual(spans.length, 0);
  for (const { trace, span } of spans) {
    const children = serverChildren(trace, span);
    assert.notEqual(children.length, 0, `no standalone span under ${span.operationName}:\n${outline(trace)}`);
    for (const child of children) {
      assert.equal(tag(child, 'span.kind'), 'server', outline(trace));
      assert.match(child.operationName, /\.MilvusService\//, outline(trace));
    }
  }
});

test('the trace of the search is found by its operation name, with the work of the server in it', async () => {
  // search quick_setup           milvus-client, client
  // └─ MilvusService/Search      standalone, server
  //    └─ Proxy-Search           standalone
  const found = await tracesOf({ service: 'milvus-client', operation: 'search quick_setup' });
  assert.equal(found.length, 1);
  const trace = found[0] as JaegerTrace;

  const search = clientSpans(trace).find((span) => span.operationName === 'search quick_setup');
  assert.ok(search, outline(trace));
  assert.equal(tag(search, 'db.system.name'), 'milvus');
  assert.equal(tag(search, 'db.collection.name'), 'quick_setup');

  const rpc = serverChildren(trace, search).find((span) =>
    span.operationName.endsWith('MilvusService/Search'),
  );
  assert.ok(rpc, outline(trace));
  assert.ok(
    serverChildren(trace, rpc).some((span) => span.operationName === 'Proxy-Search'),
    outline(trace),
  );
});

test('the same trace is found by the Milvus server’s service', async () => {
  const fromClient = await tracesOf({ service: 'milvus-client', operation: 'insert quick_setup' });
  const fromServer = await tracesOf({
    service: 'standalone',
    operation: 'milvus.proto.milvus.MilvusService/Insert',
  });
  assert.deepEqual(
    fromServer.map((trace) => trace.traceID),
    fromClient.map((trace) => trace.traceID),
  );
  assert.equal(fromClient.length, 1);
});

// The last one: a second client is in Jaeger from here on.
test('the same spans arrive in the format of Zipkin, joined with those of the server', async () => {
  await runQuickstart({
    OTEL_SERVICE_NAME: 'zipkin-client',
    OTEL_TRACES_EXPORTER: 'zipkin',
    OTEL_EXPORTER_ZIPKIN_ENDPOINT: jaeger.zipkinUrl,
  });
  const found = await joinedTraces('zipkin-client');
  assert.deepEqual(operationsIn(found, 'zipkin-client'), OPERATIONS);
  for (const trace of found)
    for (const span of clientSpans(trace, 'zipkin-client')) {
      assert.notEqual(serverChildren(trace, span).length, 0, outline(trace));
      assert.equal(tag(span, 'db.system.name'), 'milvus');
    }
});

/** Runs the program, which has no tracing code, to its exit under the preload. Rejects with its output. */
async function runQuickstart(telemetry: Record<string, string>): Promise<void> {
  const args = ['--import', 'milvus-otel/register', 'samples/quickstart/quickstart.mjs'];
  // Only these: an OTEL_ variable of the caller would change the spans.
  const env = { PATH: process.env.PATH, MILVUS_ADDRESS: milvus.address, ...telemetry };
  try {
    await promisify(execFile)(process.execPath, args, { cwd: root, env, timeout: 120_000 });
  } catch (error) {
    const { message, stdout } = error as Error & { stdout: string };
    // The message has the command and its stderr.
    throw new Error(`the quickstart failed: ${message}\n${stdout}`);
  }
}

/**
 * A client's traces once the server's part is in all of them: the server exports every few seconds. After
 * `tracesWithinMs` those that are there, so that the tests name the missing ones.
 */
async function joinedTraces(service: string): Promise<JaegerTrace[]> {
  const deadline = Date.now() + tracesWithinMs;
  for (;;) {
    const found = await tracesOf({ service });
    const joined = found.every((trace) =>
      clientSpans(trace, service).every((span) => serverChildren(trace, span).length > 0),
    );
    if ((found.length > 0 && joined) || Date.now() > deadline) return found;
    await sleep(250);
  }
}

async function tracesOf(query: Record<string, string>): Promise<JaegerTrace[]> {
  return ask<JaegerTrace[]>(`/api/traces?${new URLSearchParams({ ...query, limit: '1000' })}`);
}

/** `data` of an answer of Jaeger's query API, where none is null. */
async function ask<T extends unknown[]>(path: string): Promise<T> {
  const response = await fetch(jaeger.queryUrl + path);
  const body = await response.text();
  assert.equal(response.status, 200, `${path}: ${body}`);
  return JSON.parse(body).data ?? [];
}

function clientSpans(trace: JaegerTrace, service = 'milvus-client'): JaegerSpan[] {
  return trace.spans.filter(
    (span) => serviceOf(trace, span) === service && tag(span, 'span.kind') === 'client',
  );
}

/** Operations on the collection of the quickstart, in the order of their start. */
function operationsIn(traces: JaegerTrace[], service: string): string[] {
  return traces
    .flatMap((trace) => clientSpans(trace, service))
    .toSorted((a, b) => a.startTime - b.startTime)
    .map((span) => span.operationName)
    .filter((name) => name.endsWith(' quick_setup'));
}

function serverChildren(trace: JaegerTrace, parent: JaegerSpan): JaegerSpan[] {
  return trace.spans.filter(
    (span) =>
      serviceOf(trace, span) === 'standalone' &&
      span.references.some(
        (to) => to.refType === 'CHILD_OF' && to.traceID === parent.traceID && to.spanID === parent.spanID,
      ),
  );
}

function serviceOf(trace: JaegerTrace, span: JaegerSpan): string | undefined {
  return trace.processes[span.processID]?.serviceName;
}

function tag(span: JaegerSpan, key: string): unknown {
  return span.tags.find((each) => each.key === key)?.value;
}

/** The text of a trace in a failed assert: one line per span. */
function outline(trace: JaegerTrace): string {
  const lines = trace.spans.map((span) => {
    const parents = span.references.map((to) => `${to.refType} ${to.spanID}`).join(', ') || 'root';
    return `  ${span.spanID} ${serviceOf(trace, span)} ${span.operationName} (${tag(span, 'span.kind')}, ${parents})`;
  });
  return `trace ${trace.traceID}\n${lines.join('\n')}`;
}
