/** OTEL_CONFIG_FILE: the same telemetry by a file of OpenTelemetry's declarative configuration. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { installed } from '../../tools/processes/installed.ts';
import { outline, useRuns } from '../preload/runs.ts';
import { placeProgram } from '../support/traced-app.ts';

const runs = useRuns();
let folder: string;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-configuration-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const searches = 'test/fixtures/searches.mjs';
const printed = 'has true, inserted 1, found 5, queried 5\n';
const operations = ['connect', 'hasCollection', 'insert', 'search', 'query'];

const exporter = (signal: string, indent: string) =>
  ['exporter:', '  otlp_http:', `    endpoint: http://127.0.0.1:${runs.receiver.httpPort}/v1/${signal}`].join(
    `\n${indent}`,
  );

/** Sampler: a whole mapping on one line. */
const tracer = (sampler = '{ always_on: }') => `
tracer_provider:
  processors:
    - batch:
        ${exporter('traces', '        ')}
  sampler: ${sampler}
`;

const file = (service: string, rest: string) => `file_format: "1.0"
resource:
  attributes:
    - name: service.name
      value: ${service}
    - name: deployment.environment.name
      value: test
propagator:
  composite:
    - tracecontext:
    - baggage:
${rest}`;

async function written(name: string, text: string): Promise<string> {
  const written = path.join(folder, `${name}.yaml`);
  await writeFile(written, text);
  return written;
}

describe('a configuration file', { concurrency: 2 }, () => {
  test('starts telemetry with the spans of Milvus, whatever its variables are set to', async () => {
    const service = 'configured-all';
    const { service: _, ...result } = await runs.run({
      file: searches,
      service: 'not-this-one',
      env: {
        OTEL_CONFIG_FILE: await written(service, file(service, tracer())),
        OTEL_TRACES_SAMPLER: 'always_off',
        OTEL_TRACES_EXPORTER: 'none',
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
        OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=other',
      },
    });
    assert.deepEqual(result, { stdout: printed, stderr: '', code: 0, signal: null });
    const spans = await runs.spans(service, operations.length);
    assert.deepEqual(
      spans.map(({ attributes }) => attributes['db.operation.name']),
      operations,
    );
    for (const { scope, resource } of spans) {
      assert.deepEqual([scope, resource['deployment.environment.name']], ['milvus-otel', 'test']);
    }
  });

  test('as docs/frameworks.md shows it sends the spans of Milvus, joined', async () => {
    const page = await readFile(path.join(import.meta.dirname, '../../docs/frameworks.md'), 'utf8');
    const [, shown = ''] = /```yaml\n([\s\S]*?)```/.exec(page) ?? [];
    const service = 'configured-as-shown';
    const text = shown
      .replace('search-api', service)
      .replace('http://localhost:4318', `http://127.0.0.1:${runs.receiver.httpPort}`);
    const { stdout, stderr } = await runs.run({
      file: searches,
      env: { OTEL_CONFIG_FILE: await written(service, text) },
    });
    assert.deepEqual([stdout, stderr], [printed, '']);
    const spans = await runs.spans(service, operations.length);
    const parents = new Set(
      runs.milvus.calls().map(({ metadata }) => metadata.traceparent?.[0]?.split('-')[2]),
    );
    for (const { name, spanId } of spans) assert.ok(parents.has(spanId), name);
  });

  test('may contain variables, and its sampler decides for the server too', async () => {
    const service = 'configured-sampler';
    const text = file('${' + 'MY_SERVICE:-unset}', tracer('{ always_off: }'));
    const { stdout, stderr } = await runs.run({
      file: searches,
      env: { OTEL_CONFIG_FILE: await written(service, text), MY_SERVICE: service },
    });
    assert.deepEqual([stdout, stderr], [printed, '']);
    assert.deepEqual(
      runs.receiver.spans().filter((span) => span.service === service),
      [],
    );
  });

  test('does not override the variables for instrumentations', async () => {
    const service = 'configured-instrumentations';
    const { stderr } = await runs.run({
      file: searches,
      env: {
        OTEL_CONFIG_FILE: await written(service, file(service, tracer())),
        OTEL_INSTRUMENTATION_MILVUS_CAPTURE_FILTER: 'true',
        OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'expres',
      },
    });
    assert.match(stderr, /^milvus-otel: OTEL_NODE_DISABLED_INSTRUMENTATIONS has unknown names: expres/);
    const spans = await runs.spans(service, operations.length);
    assert.equal(spans.at(-1)?.attributes['db.query.text'], 'id > 0');
  });

  test('with metrics and logs enables the instrumentations for them', async () => {
    const service = 'configured-signals';
    const text = file(
      service,
      `${tracer()}
meter_provider:
  readers:
    - periodic:
        ${exporter('metrics', '        ')}
logger_provider:
  processors:
    - batch:
        ${exporter('logs', '        ')}
`,
    );
    const program = await placeProgram('apps/span-and-log.mjs', await installed({ pino: '10.4.0' }));
    const { stderr, code } = await runs.run({
      file: program,
      env: { OTEL_CONFIG_FILE: await written(service, text) },
    });
    assert.deepEqual([stderr, code], ['', 0]);
    assert.deepEqual(outline(await runs.spans(service, 2)), ['work', '  connect default']);
    const paths = runs.receiver.requests().map(({ path }) => path);
    for (const sent of ['/v1/traces', '/v1/metrics', '/v1/logs']) assert.ok(paths.includes(sent), sent);
  });

  for (const [what, text, reason] of [
    ['is no YAML', 'file_format: [', /Could not load OpenTelemetry configuration/],
    ['has a format that is not known', 'file_format: "0.1"\n', /Unsupported file_format: "0\.1"/],
  ] as const) {
    test(`that ${what} is reported, and the app runs`, async () => {
      const { stdout, stderr, code } = await runs.run({
        file: searches,
        env: { OTEL_CONFIG_FILE: await written(what.replaceAll(' ', '-'), text) },
      });
      assert.deepEqual([stdout, code], [printed, 0]);
      assert.match(stderr, reason);
    });
  }

  test('that does not exist is named, and the app runs', async () => {
    const { stdout, stderr, code } = await runs.run({
      file: searches,
      env: { OTEL_CONFIG_FILE: path.join(folder, 'none.yaml') },
    });
    assert.deepEqual([stdout, code], [printed, 0]);
    assert.match(
      stderr,
      /^milvus-otel: Start failed: OTEL_CONFIG_FILE=.*none\.yaml cannot be read\. The app runs untraced\.\n$/,
    );
  });
});
