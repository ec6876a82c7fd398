/** Kubernetes manifests, the operator's resource, chart values, the systemd unit: schemas and consistency. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { SETTINGS } from '../../src/config/settings.ts';
import { envExample } from '../../tools/docs/generate.ts';
import { installed } from '../../tools/processes/installed.ts';

const samples = path.join(import.meta.dirname, '..', '..', 'samples');
const readText = (...names: string[]) => readFileSync(path.join(samples, ...names), 'utf8');
const variables = new Set(Object.values(SETTINGS).map(({ env }) => env as string));

let models: string;
let ajv: { compile(schema: object): ((data: unknown) => boolean) & { errors?: unknown } };

before(async () => {
  // Kubernetes' schemas, with their validator.
  models = path.join(await installed({ 'kubernetes-models': '5.1.0' }), 'node_modules');
  const Ajv = createRequire(path.join(models, 'x.js'))('ajv').default;
  ajv = new Ajv({ strict: false });
});

/** Throws if the manifest does not match Kubernetes' schema. */
async function validate(manifest: any): Promise<void> {
  const { apiVersion, kind } = manifest;
  const model = await import(path.join(models, 'kubernetes-models', apiVersion, `${kind}.js`));
  new model[kind](manifest).validate();
}

describe('kubernetes', () => {
  const manifests = ['app.yaml', 'configmap.yaml'].flatMap((file) =>
    parseAllDocuments(readText('kubernetes', file)).map((document) => document.toJS()),
  );
  const [deployment, service, configMap] = manifests;
  const { spec } = deployment.spec.template;
  const [container] = spec.containers;

  test('every manifest matches Kubernetes’ schema', async () => {
    assert.deepEqual(
      manifests.map(({ kind }) => kind),
      ['Deployment', 'Service', 'ConfigMap'],
    );
    for (const manifest of manifests) await validate(manifest);
  });

  test('the schema refuses a wrong type and a missing field', async () => {
    await assert.rejects(validate({ ...service, spec: { ...service.spec, ports: 'http' } }));
    const { selector: _, ...rest } = deployment.spec;
    await assert.rejects(validate({ ...deployment, spec: rest }), /selector/);
  });

  test('the ConfigMap has each variable of env.example, in its order, and is the one that the app uses', () => {
    const names = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name]) => name);
    assert.deepEqual(
      names(readText('kubernetes', 'configmap.yaml'), /^ {2}#?([A-Z_]+): "/gm),
      names(envExample(), /^#?([A-Z_]+)=/gm),
    );
    assert.deepEqual(container.envFrom, [{ configMapRef: { name: configMap.metadata.name } }]);
    assert.ok(Object.values(configMap.data).every((value) => typeof value === 'string'));
  });

  test('volume, mounts and NODE_OPTIONS name the same folder; labels and ports fit', () => {
    const [init] = spec.initContainers;
    const folder = container.volumeMounts[0].mountPath;
    assert.deepEqual(init.command, ['cp', '-r', '/autoinstrumentation/.', init.volumeMounts[0].mountPath]);
    assert.equal(init.volumeMounts[0].name, spec.volumes[0].name);
    assert.equal(container.volumeMounts[0].name, spec.volumes[0].name);
    const options = container.env.find(({ name }: { name: string }) => name === 'NODE_OPTIONS').value;
    assert.equal(options, `--require ${folder}/autoinstrumentation.js`);
    assert.deepEqual(service.spec.selector, deployment.spec.template.metadata.labels);
    assert.deepEqual(deployment.spec.selector.matchLabels, deployment.spec.template.metadata.labels);
    assert.equal(service.spec.ports[0].targetPort, container.ports[0].name);
  });
});

describe('the patch for an existing Deployment', () => {
  const existing = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'docs-service' },
    spec: {
      selector: { matchLabels: { app: 'docs-service' } },
      template: {
        metadata: { labels: { app: 'docs-service' } },
        spec: {
          volumes: [{ name: 'data', emptyDir: {} }],
          containers: [
            {
              name: 'docs-service',
              image: 'shop/docs-service:1',
              env: [{ name: 'PORT', value: '3000' }],
              envFrom: [{ configMapRef: { name: 'app' } }],
              volumeMounts: [{ name: 'data', mountPath: '/data' }],
            },
          ],
        },
      },
    },
  };
  const patch = parse(readText('kubernetes', 'patch.yaml'));

  /** Kubernetes' strategic merge of these lists: by name, mounts by path; other lists are replaced. */
  function merged(base: any, change: any, key?: string): any {
    if (Array.isArray(change)) {
      const by = {
        containers: 'name',
        initContainers: 'name',
        env: 'name',
        volumes: 'name',
        volumeMounts: 'mountPath',
      }[key ?? ''];
      if (by === undefined) return change;
      const others = (base ?? []).filter((one: any) => !change.some((two) => two[by] === one[by]));
      const changed = change.map((one) =>
        merged(
          (base ?? []).find((two: any) => two[by] === one[by]),
          one,
        ),
      );
      return [...others, ...changed];
    }
    if (typeof change !== 'object' || change === null) return change;
    const entries = Object.entries(change).map(([name, value]) => [name, merged(base?.[name], value, name)]);
    return { ...base, ...Object.fromEntries(entries) };
  }

  test('adds the preload and keeps all existing fields', async () => {
    const result = merged(existing, patch);
    await validate(result);
    const { containers, initContainers, volumes } = result.spec.template.spec;
    const [container] = containers;
    assert.equal(containers.length, 1);
    assert.equal(container.image, 'shop/docs-service:1');
    assert.deepEqual(container.envFrom, [{ configMapRef: { name: 'app' } }]);
    assert.deepEqual(
      container.env.map(({ name }: { name: string }) => name),
      ['PORT', 'NODE_OPTIONS', 'OTEL_SERVICE_NAME', 'OTEL_EXPORTER_OTLP_ENDPOINT'],
    );
    const mount = container.volumeMounts.find(({ name }: { name: string }) => name === 'milvus-otel');
    assert.equal(
      container.env[1].value,
      `--require ${mount.mountPath}/autoinstrumentation.js`,
      'NODE_OPTIONS names the mounted folder',
    );
    assert.equal(initContainers[0].volumeMounts[0].name, 'milvus-otel');
    assert.deepEqual(
      volumes.map(({ name }: { name: string }) => name),
      ['data', 'milvus-otel'],
    );
  });

  test('is the init container of app.yaml', () => {
    const [deployment] = parseAllDocuments(readText('kubernetes', 'app.yaml')).map((one) => one.toJS());
    assert.deepEqual(patch.spec.template.spec.initContainers, deployment.spec.template.spec.initContainers);
  });
});

describe('operator', () => {
  const text = (extra: object = {}) => ({ type: 'string', ...extra });
  const closed = (properties: object, required: string[] = []) => ({
    type: 'object',
    additionalProperties: false,
    properties,
    required,
  });
  const env = {
    type: 'array',
    items: closed({ name: text(), value: text(), valueFrom: { type: 'object' } }, ['name']),
  };
  // The part of the CRD opentelemetry.io/v1alpha1 Instrumentation that a Node app needs, written from its
  // list of fields (operator 0.158); the CRD itself comes in no package.
  const instrumentationSchema = closed(
    {
      apiVersion: { const: 'opentelemetry.io/v1alpha1' },
      kind: { const: 'Instrumentation' },
      metadata: closed({ name: text(), namespace: text(), labels: { type: 'object' } }, ['name']),
      spec: closed({
        exporter: closed({
          endpoint: text(),
          tls: closed({
            secretName: text(),
            configMapName: text(),
            ca_file: text(),
            cert_file: text(),
            key_file: text(),
          }),
        }),
        propagators: {
          type: 'array',
          items: { enum: ['tracecontext', 'baggage', 'b3', 'b3multi', 'jaeger', 'xray', 'ottrace', 'none'] },
        },
        sampler: closed({
          type: {
            enum: [
              'always_on',
              'always_off',
              'traceidratio',
              'parentbased_always_on',
              'parentbased_always_off',
              'parentbased_traceidratio',
              'jaeger_remote',
              'xray',
            ],
          },
          argument: text(),
        }),
        resource: closed({
          addK8sUIDAttributes: { type: 'boolean' },
          resourceAttributes: { type: 'object' },
        }),
        defaults: closed({ useLabelsForResourceAttributes: { type: 'boolean' } }),
        env,
        imagePullPolicy: { enum: ['Always', 'Never', 'IfNotPresent'] },
        initContainerSecurityContext: { type: 'object' },
        nodejs: closed({
          env,
          image: text(),
          resourceRequirements: closed({ requests: { type: 'object' }, limits: { type: 'object' } }),
          volumeClaimTemplate: { type: 'object' },
          volumeLimitSize: {},
        }),
      }),
    },
    ['apiVersion', 'kind', 'metadata', 'spec'],
  );
  const instrumentation = parse(readText('operator', 'instrumentation.yaml'));

  test('the Instrumentation has the fields that the operator’s CRD knows, and no other', () => {
    const fits = ajv.compile(instrumentationSchema);
    assert.ok(fits(instrumentation), JSON.stringify(fits.errors));
    assert.ok(!fits({ ...instrumentation, spec: { ...instrumentation.spec, node: {} } }));
  });

  test('the preload accepts the samplers, propagators and variables in it', () => {
    const { sampler, propagators, nodejs } = instrumentation.spec;
    assert.ok(SETTINGS.sampler.expected.includes(sampler.type));
    for (const name of propagators) assert.ok(SETTINGS.propagators.expected.includes(name), name);
    for (const { name } of nodejs.env) assert.ok(variables.has(name), name);
  });

  test('metrics are off: the operator would enable them by default', () => {
    assert.deepEqual(instrumentation.spec.nodejs.env, [{ name: 'OTEL_METRICS_EXPORTER', value: 'none' }]);
  });

  test('the patch puts the annotation on the pods of a Deployment', async () => {
    const patch = parse(readText('operator', 'annotation.yaml'));
    assert.deepEqual(patch.spec.template.metadata.annotations, {
      'instrumentation.opentelemetry.io/inject-nodejs': 'true',
    });
  });
});

describe('systemd', () => {
  const unit = readText('systemd', 'docs-service.service');
  const values = (key: string) =>
    [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value]) => value as string);

  test('the unit starts node itself under the preload, and gives it time to send the last spans', () => {
    assert.deepEqual(values('ExecStart'), ['/usr/bin/node --import milvus-otel/register server.js']);
    assert.deepEqual(values('KillSignal'), ['SIGTERM']);
    assert.ok(Number(values('TimeoutStopSec')[0]) * 1000 > (SETTINGS.flushTimeoutMs.fallback as number));
  });

  test('its files of variables are next to it, in the syntax of systemd, and name known variables', () => {
    const files = values('EnvironmentFile').map((file) => path.basename(file));
    assert.deepEqual(files, ['app.env', 'otel.env']);
    for (const file of files) {
      for (const line of readText('systemd', file).split('\n')) {
        assert.match(line, /^([#;].*|[A-Z][A-Z0-9_]*=[^\s"'#\\]*)?$/);
        const name = /^(OTEL_\w+)=/.exec(line)?.[1];
        if (name !== undefined) assert.ok(variables.has(name), name);
      }
    }
  });

  test('systemd accepts the unit', (context) => {
    if (spawnSync('systemd-analyze', ['--version']).error !== undefined) {
      // Only systems with systemd have it; the tests above check the rest everywhere.
      context.diagnostic('there is no systemd-analyze on this system');
      return;
    }
    const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-otel-systemd-'));
    try {
      const file = path.join(scratch, 'docs-service.service');
      // It checks that the program exists: this Node does, /usr/bin/node may not.
      const verify = (content: string) => {
        writeFileSync(file, content.replace('/usr/bin/node', process.execPath));
        const { stderr } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' });
        return stderr.split('\n').filter((line) => line.includes('docs-service'));
      };
      assert.deepEqual(verify(unit), []);
      assert.notDeepEqual(verify(unit.replace('Restart=on-failure', 'Restart=sometimes')), []);
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });
});

describe('cluster', () => {
  const milvus = parse(readText('cluster', 'milvus-values.yaml'));
  const gateway = parse(readText('cluster', 'gateway-values.yaml'));
  const sampler = parse(readText('cluster', 'sampler-values.yaml'));

  test('Milvus’ trace block is YAML inside YAML, at fraction 0, and points at the gateway without a scheme', () => {
    const { trace } = parse(milvus.extraConfigFiles['user.yaml']);
    assert.deepEqual(trace, {
      exporter: 'otlp',
      sampleFraction: 0,
      otlp: { endpoint: `${gateway.fullnameOverride}.observability.svc:4317`, method: 'grpc', secure: false },
      initTimeoutSeconds: 10,
    });
  });

  test('the gateway spreads traces over the pods of the sampler’s service, which has no cluster IP', () => {
    const { load_balancing } = gateway.alternateConfig.exporters;
    assert.equal(load_balancing.routing_key, 'traceID');
    assert.equal(
      load_balancing.resolver.dns.hostname,
      `${sampler.fullnameOverride}.observability.svc.cluster.local`,
    );
    assert.equal(sampler.service.clusterIP, 'None');
  });

  test('the samplers decide as the production set of one machine does', () => {
    const production = readFileSync(
      path.join(samples, '..', 'compose', 'production', 'collector.yaml'),
      'utf8',
    );
    const { tail_sampling } = parse(production.replace(/\$\{env:\w+:-([^}]*)\}/g, '$1')).processors;
    assert.deepEqual(sampler.alternateConfig.processors.tail_sampling.policies, tail_sampling.policies);
    assert.equal(sampler.alternateConfig.processors.tail_sampling.decision_wait, tail_sampling.decision_wait);
  });

  test('both are the version of the production set', () => {
    const compose = parse(
      readFileSync(path.join(samples, '..', 'compose', 'production', 'docker-compose.yml'), 'utf8'),
    );
    const image = compose.services.collector.image.replace(/\$\{\w+:-([^}]*)\}/, '$1');
    for (const values of [gateway, sampler])
      assert.equal(`${values.image.repository}:${values.image.tag}`, image);
  });
});

describe('the calculator', () => {
  const program = path.join(samples, 'cluster', 'calculator.mjs');
  const run = (...args: string[]) => execFileSync(process.execPath, [program, ...args], { encoding: 'utf8' });

  test('follows the formula of docs/production.md', () => {
    const result = JSON.parse(
      run(
        '--json',
        '--requests',
        '50',
        '--operations',
        '2',
        '--app-spans',
        '6',
        '--server-spans',
        '7',
      ).concat(),
    );
    // 50 requests/s × (6 + 2 × 7) spans; 336 bytes each; 2 % + 98 % × 10 % are kept; 20 s wait; 7 days.
    assert.equal(result.spansPerTrace, 20);
    assert.equal(result.spansPerSecond, 1000);
    assert.equal(result.bytesPerSecond, 336_000);
    assert.equal(result.waitingTraces, 1000);
    assert.equal(Math.round(result.waitingBytes), 336_000 * 20 * 5);
    assert.equal(result.keptShare.toFixed(3), '0.118');
    assert.equal(Math.round(result.storedBytes), Math.round(336_000 * 0.118 * 86_400 * 7));
  });

  test('half of the requests sampled is half of everything', () => {
    const whole = JSON.parse(run('--json'));
    const half = JSON.parse(run('--json', '--sampled', '50'));
    for (const key of ['spansPerSecond', 'bytesPerSecond', 'waitingBytes', 'storedBytes']) {
      assert.equal(half[key] * 2, whole[key], key);
    }
  });

  test('an invalid value is named', () => {
    for (const args of [
      ['--keep', '101'],
      ['--requests', 'many'],
      ['--days', ''],
    ]) {
      const { status, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' });
      assert.equal(status, 2);
      assert.ok(stderr.startsWith(args.join(' ').trim()), stderr);
    }
    assert.equal(spawnSync(process.execPath, [program, '--no-such']).status, 2);
  });
});
