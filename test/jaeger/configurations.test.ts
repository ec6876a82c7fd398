/** The configurations that users copy, validated by the programs that read them. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { ensureCollector } from '../../tools/servers/collector-build.ts';
import { ensureComposeLoader } from '../../tools/servers/compose-build.ts';
import { ensureJaeger2, jaeger2Version } from '../../tools/servers/jaeger-build.ts';
import { ensurePromtool, prometheusVersion } from '../../tools/servers/prometheus-build.ts';

const root = path.join(import.meta.dirname, '..', '..');
const compose = path.join(root, 'compose');
const log = (line: string) => console.error(line);
const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-otel-configurations-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

let collector: string;
let jaeger: string;
let promtool: string;
let composeLoader: string;
before(
  async () => {
    collector = await ensureCollector({ log });
    jaeger = await ensureJaeger2({ log });
    promtool = await ensurePromtool({ log });
    composeLoader = await ensureComposeLoader({ log });
    execFileSync('sh', [path.join(compose, 'production', 'certificates.sh'), scratch], { stdio: 'pipe' });
    mkdirSync(path.join(scratch, 'queue'));
  },
  { timeout: 1_800_000 },
);

/** Exit code and output of `PROGRAM validate`. */
function validate(program: string, file: string, env: Record<string, string> = {}) {
  const { status, stderr } = spawnSync(program, ['validate', `--config=${file}`], {
    env: { PATH: process.env.PATH, ...env },
    encoding: 'utf8',
  });
  return { status, stderr };
}

describe('the collector', () => {
  const env = () => ({
    TLS_FOLDER: scratch,
    QUEUE_FOLDER: path.join(scratch, 'queue'),
    JAEGER_ENDPOINT: 'jaeger:4317',
    MY_POD_IP: '127.0.0.1',
  });

  test('accepts the configuration of the production set', () => {
    const { status, stderr } = validate(collector, path.join(compose, 'production', 'collector.yaml'), env());
    assert.equal(status, 0, stderr);
  });

  for (const name of ['gateway', 'sampler']) {
    test(`accepts the configuration in the chart's values of the ${name}, and refuses it with an unknown key`, () => {
      const values = parse(
        readFileSync(path.join(root, 'samples', 'cluster', `${name}-values.yaml`), 'utf8'),
      );
      const file = path.join(scratch, `${name}.yaml`);
      writeFileSync(file, stringify(values.alternateConfig));
      const { status, stderr } = validate(collector, file, env());
      assert.equal(status, 0, stderr);
      values.alternateConfig.receivers.otlp.protocols.grpc.no_such_key = true;
      writeFileSync(file, stringify(values.alternateConfig));
      assert.match(validate(collector, file, env()).stderr, /no_such_key/);
    });
  }
});

test('Jaeger 2 accepts the configuration of the production set', () => {
  const { status, stderr } = validate(jaeger, path.join(compose, 'production', 'jaeger.yaml'), {
    STORAGE_FOLDER: scratch,
  });
  assert.equal(status, 0, stderr);
});

describe('Prometheus', () => {
  const folder = path.join(compose, 'production', 'prometheus');
  const check = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(promtool, args, { encoding: 'utf8' });
    return { status, output: `${stdout}${stderr}` };
  };

  test('accepts the configuration and the alert rules of the production set', () => {
    // In the container, the rules are in another folder.
    const file = path.join(scratch, 'prometheus.yml');
    const text = readFileSync(path.join(folder, 'prometheus.yml'), 'utf8');
    writeFileSync(file, text.replaceAll('/etc/prometheus/', `${folder}/`));
    const { status, output } = check('check', 'config', file);
    assert.equal(status, 0, output);
    assert.match(output, /5 rules found/);
  });

  test('raises each alert for its figures, and for no others', () => {
    const { status, output } = check('test', 'rules', path.join(import.meta.dirname, 'alerts.test.yaml'));
    assert.equal(status, 0, output);
  });

  test('refuses an expression that it cannot read', () => {
    const file = path.join(scratch, 'alerts.yml');
    const text = readFileSync(path.join(folder, 'alerts.yml'), 'utf8');
    writeFileSync(file, text.replace('sum by (service_name)', 'sum by (service_name'));
    assert.notEqual(check('check', 'rules', file).status, 0);
  });
});

describe('the loader of compose files', () => {
  /**
   * The output of `docker compose config` without variables. Fails for files that the engine would refuse.
   */
  function load(files: string[]) {
    const paths = files.map((file) => path.join(compose, file));
    const output = execFileSync(composeLoader, ['-format', 'json', ...paths], {
      cwd: scratch,
      env: { PATH: process.env.PATH, HOME: scratch },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return JSON.parse(output);
  }

  test('refuses an unknown key', () => {
    const file = path.join(scratch, 'wrong.yml');
    writeFileSync(file, 'services:\n  one:\n    image: busybox\n    restarts: always\n');
    assert.throws(() => execFileSync(composeLoader, [file], { stdio: 'pipe' }), /restarts/);
  });

  test('docker-compose.yml is the article’s pair', () => {
    const { name, services } = load(['docker-compose.yml']);
    assert.equal(name, 'milvus-otel');
    assert.equal(services.standalone.image, 'milvusdb/milvus:v2.5.11');
    assert.equal(services.jaeger.image, 'jaegertracing/all-in-one:1.46.0');
  });

  test('current.yml over it is a newer pair, in a project and a separate volume, everything else the same', () => {
    const before = load(['docker-compose.yml']);
    const { name, services, volumes } = load(['docker-compose.yml', 'current.yml']);
    assert.equal(name, 'milvus-otel-current');
    assert.deepEqual(Object.values(volumes), [{ name: 'milvus-otel-current_milvus-data' }]);
    assert.equal(services.standalone.image, 'milvusdb/milvus:v2.6.25');
    assert.equal(services.standalone.environment.DEPLOY_MODE, 'STANDALONE');
    assert.equal(services.jaeger.image, `jaegertracing/jaeger:${jaeger2Version}`);
    assert.equal(services.jaeger.environment, undefined);
    for (const service of ['standalone', 'jaeger']) {
      assert.deepEqual(services[service].ports, before.services[service].ports);
    }
  });

  test('the production set loads, and the authority’s key stays outside of it', () => {
    const { services } = load(['production/docker-compose.yml']);
    const files = services.collector.volumes.map(({ source }: { source: string }) => path.basename(source));
    assert.deepEqual(files, [
      'collector.yaml',
      'ca.crt',
      'collector.crt',
      'collector.key',
      'collector-queue',
    ]);
    assert.equal(services.jaeger.image, `jaegertracing/jaeger:${jaeger2Version}`);
    assert.deepEqual(services.collector.depends_on['volume-owner'], {
      condition: 'service_completed_successfully',
      required: true,
    });
  });

  test('Prometheus and Grafana of the production set are on this machine only, Grafana without a password', () => {
    const { prometheus, grafana } = load(['production/docker-compose.yml']).services;
    const ports = [prometheus, grafana].map(({ ports: [port] }) => `${port.host_ip}:${port.published}`);
    assert.deepEqual(ports, ['127.0.0.1:9090', '127.0.0.1:3000']);
    // Grafana ignores empty variables, and grafana.ini creates no administrator.
    const { environment } = grafana;
    assert.equal(environment.GF_SECURITY_ADMIN_PASSWORD, '');
    assert.equal(environment.GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION, '');
  });

  test('the version of Prometheus in the production set is the one that the tests build', () => {
    const { services } = load(['production/docker-compose.yml']);
    assert.equal(services.prometheus.image, `prom/prometheus:v${prometheusVersion}`);
  });
});
