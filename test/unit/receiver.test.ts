import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { type ReceivedSpan, type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { connectReceiver, filterSpans, serveReceiver } from '../../tools/servers/shared-receiver.ts';

let receiver: Receiver;
const opened: { stop(): Promise<void> }[] = [];

async function open(options?: Parameters<typeof startReceiver>[0]): Promise<Receiver> {
  const started = await startReceiver(options);
  opened.push(started);
  return started;
}

// Each starts threads, so the tests share one.
before(async () => {
  receiver = await startReceiver();
});
after(() => receiver.stop());
afterEach(async () => {
  for (const each of opened.splice(0)) await each.stop();
  receiver.clear();
});

type Protocol = 'grpc' | 'http/protobuf' | 'http/json';

/** Sends one trace with the real SDK: `ask` └─ `search docs`. */
async function sendTrace(to: Receiver, protocol: Protocol, service = 'sender'): Promise<void> {
  const port = protocol === 'grpc' ? to.grpcPort : to.httpPort;
  process.env.OTEL_TRACES_EXPORTER = 'otlp';
  process.env.OTEL_EXPORTER_OTLP_PROTOCOL = protocol;
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = `http://127.0.0.1:${port}`;
  process.env.OTEL_EXPORTER_OTLP_HEADERS = 'api-key=secret';
  process.env.OTEL_METRICS_EXPORTER = 'none';
  process.env.OTEL_LOGS_EXPORTER = 'none';
  const sdk = new NodeSDK({
    autoDetectResources: false,
    resource: resourceFromAttributes({ 'service.name': service, 'process.pid': 4711 }),
  });
  sdk.start();
  const tracer = trace.getTracer('a-scope', '1.2.3');
  const parent = tracer.startSpan('ask', { kind: SpanKind.SERVER, startTime: 1_700_000_000_000.25 });
  const child = tracer.startSpan(
    'search docs',
    {
      kind: SpanKind.CLIENT,
      startTime: 1_700_000_000_001,
      attributes: {
        text: 'a',
        yes: true,
        whole: 9_007_199_254_740_991,
        negative: -7,
        broken: 0.5,
        list: ['x', 'y'],
        numbers: [1, 2.5],
        none: [],
      },
    },
    trace.setSpan(context.active(), parent),
  );
  child.addEvent('retry', { attempt: 2 });
  child.setStatus({ code: SpanStatusCode.ERROR, message: 'collection not found' });
  child.end(1_700_000_000_003.5);
  parent.end(1_700_000_000_010.25);
  await sdk.shutdown();
  trace.disable();
  context.disable();
}

for (const protocol of ['grpc', 'http/protobuf', 'http/json'] as const) {
  test(`spans sent over ${protocol} arrive as plain values`, async () => {
    await sendTrace(receiver, protocol);
    const spans = await receiver.waitForSpans((received) => received.length === 2, 5_000);

    // ask └─ search docs
    const child = spans.find((span) => span.name === 'search docs');
    const parent = spans.find((span) => span.name === 'ask');
    assert.ok(child && parent);
    assert.match(child.traceId, /^[0-9a-f]{32}$/);
    assert.match(child.spanId, /^[0-9a-f]{16}$/);
    assert.equal(child.parentSpanId, parent.spanId);
    assert.equal(child.traceId, parent.traceId);
    const { traceId: _, spanId: __, parentSpanId: ___, ...rest } = child;
    const resource = { 'service.name': 'sender', 'process.pid': 4711 };
    assert.deepEqual(rest, {
      name: 'search docs',
      kind: 'CLIENT',
      service: 'sender',
      scope: 'a-scope',
      scopeVersion: '1.2.3',
      startMs: 1_700_000_000_001,
      durationMs: 2.5,
      attributes: {
        text: 'a',
        yes: true,
        whole: 9_007_199_254_740_991,
        negative: -7,
        broken: 0.5,
        list: ['x', 'y'],
        numbers: [1, 2.5],
        none: [],
      },
      status: { code: 'ERROR', message: 'collection not found' },
      resource,
      events: [{ name: 'retry', attributes: { attempt: 2 } }],
    });
    assert.equal(parent.kind, 'SERVER');
    assert.equal(parent.parentSpanId, undefined);
    assert.equal(parent.startMs, 1_700_000_000_000.25);
    assert.deepEqual(parent.status, { code: 'UNSET', message: '' });
  });

  test(`requests over ${protocol} are counted and show their headers`, async () => {
    await sendTrace(receiver, protocol);
    await receiver.waitForSpans((received) => received.length === 2, 5_000);

    const requests = receiver.requests();
    assert.equal(requests.length, 1);
    assert.equal(requests[0]?.transport, protocol === 'grpc' ? 'grpc' : 'http');
    assert.match(requests[0]?.path ?? '', protocol === 'grpc' ? /TraceService\/Export$/ : /^\/v1\/traces$/);
    assert.equal(requests[0]?.headers['api-key'], 'secret');
  });
}

test('two receivers in one process each get only their own spans', async () => {
  const other = await open();
  await sendTrace(receiver, 'grpc', 'one');
  await sendTrace(other, 'grpc', 'two');
  await receiver.waitForSpans((spans) => spans.length > 0, 5_000);
  await other.waitForSpans((spans) => spans.length > 0, 5_000);

  assert.deepEqual(new Set(receiver.spans().map((span) => span.service)), new Set(['one']));
  assert.deepEqual(new Set(other.spans().map((span) => span.service)), new Set(['two']));
});

test('a wait that times out names the spans that have arrived', async () => {
  await assert.rejects(
    receiver.waitForSpans((spans) => spans.length > 0, 20),
    /Not there after 20 ms\. Received no span at all\./,
  );
  await sendTrace(receiver, 'grpc');
  await receiver.waitForSpans((spans) => spans.length > 0, 5_000);
  await assert.rejects(
    receiver.waitForSpans(() => false, 20),
    /Received 2:\n(.*\n)*.*CLIENT sender: search docs \(trace [0-9a-f]{32}/,
  );
});

test('a condition that throws rejects with its own error', async () => {
  await assert.rejects(
    receiver.waitForSpans(() => {
      throw new RangeError('of the condition');
    }, 5_000),
    new RangeError('of the condition'),
  );
});

test('clear forgets spans and requests', async () => {
  await sendTrace(receiver, 'grpc');
  await receiver.waitForSpans((spans) => spans.length > 0, 5_000);
  receiver.clear();
  assert.deepEqual([receiver.spans(), receiver.requests()], [[], []]);
});

test('a port in use is named', async () => {
  await assert.rejects(
    startReceiver({ grpcPort: receiver.grpcPort }),
    new RegExp(`gRPC port ${receiver.grpcPort}, HTTP port any: .*EADDRINUSE`),
  );
});

test('a stopped receiver releases its ports', async () => {
  const first = await startReceiver();
  const { grpcPort, httpPort } = first;
  await sendTrace(first, 'grpc');
  await first.stop();
  const next = await open({ grpcPort, httpPort });
  assert.deepEqual([next.grpcPort, next.httpPort], [grpcPort, httpPort]);
});

test('the web page lists a trace while the receiver runs', async () => {
  const withUi = await open({ ui: true });
  await sendTrace(withUi, 'grpc');
  const [span] = await withUi.waitForSpans((spans) => spans.length > 0, 5_000);

  assert.match(await (await fetch(`${withUi.uiUrl}`)).text(), /<html/i);
  const files = (await (await fetch(`${withUi.uiUrl}api/traces`)).json()) as string[];
  assert.ok(files.includes(`trace-${span?.traceId}.ndjson`), `${files}`);
  await withUi.stop();
  const next = await open({ ui: true });
  assert.deepEqual(await (await fetch(`${next.uiUrl}api/traces`)).json(), []);
});

describe('a receiver that several processes share', () => {
  test('answers with the spans that pass the filter', async () => {
    const served = await serveReceiver(receiver);
    opened.push({ stop: served.close });
    const shared = await connectReceiver(served.url);
    assert.deepEqual([shared.grpcPort, shared.httpPort], [receiver.grpcPort, receiver.httpPort]);
    await sendTrace(receiver, 'grpc', 'one');
    await sendTrace(receiver, 'grpc', 'two');

    const spans = await shared.waitForSpans((received) => received.length === 2, 5_000, { service: 'two' });
    assert.deepEqual(new Set(spans.map((span) => span.service)), new Set(['two']));
    assert.equal((await shared.spans()).length, 4);
    assert.equal((await shared.spans({ traceIds: [spans[0]?.traceId ?? ''] })).length, 2);
  });

  test('rejects when the spans do not come, and when no receiver runs', async () => {
    const served = await serveReceiver(receiver);
    const shared = await connectReceiver(served.url);
    await assert.rejects(
      shared.waitForSpans(() => false, 20),
      /Not there after 20 ms\. Received no span/,
    );
    await served.close();
    await assert.rejects(connectReceiver(served.url), /receiver does not answer at http/);
  });

  test('includes spans of other services in the traces of a service', () => {
    const span = (traceId: string, service: string) => ({ traceId, service }) as ReceivedSpan;
    // app └─ standalone, and a separate trace of the server
    const spans = [span('1', 'app'), span('1', 'standalone'), span('2', 'standalone')];
    assert.deepEqual(filterSpans(spans, { service: 'app' }), spans.slice(0, 2));
    assert.deepEqual(filterSpans(spans, { traceIds: ['2'] }), spans.slice(2));
    assert.deepEqual(filterSpans(spans, { service: 'app', traceIds: ['2'] }), []);
    assert.deepEqual(filterSpans(spans, {}), spans);
  });
});
