/** The compose setup, read as the engine and Milvus read it: every setting that the trace depends on. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { parse } from 'yaml';

const folder = path.join(import.meta.dirname, '..', '..', 'compose');
const readText = (file: string) => readFileSync(path.join(folder, file), 'utf8');

/** docker-compose.yml with each `${NAME:-default}` replaced, as the engine does before it reads the YAML. */
function readCompose(env: Record<string, string> = {}) {
  const text = readText('docker-compose.yml').replace(
    /\$\{(\w+):-([^}]*)\}/g,
    (_, name: string, fallback: string) => env[name] || fallback,
  );
  assert.ok(!text.includes('${'), 'a variable without a default');
  return parse(text);
}

describe('docker-compose.yml', () => {
  const { services, volumes } = readCompose();
  const { standalone, jaeger } = services;

  test('Milvus is 2.5.11 standalone with etcd inside and local storage', () => {
    assert.equal(standalone.image, 'milvusdb/milvus:v2.5.11');
    assert.deepEqual(standalone.command, ['milvus', 'run', 'standalone']);
    const { ETCD_USE_EMBED, ETCD_DATA_DIR, ETCD_CONFIG_PATH, COMMON_STORAGETYPE } = standalone.environment;
    assert.deepEqual(
      { ETCD_USE_EMBED, ETCD_DATA_DIR, ETCD_CONFIG_PATH, COMMON_STORAGETYPE },
      {
        ETCD_USE_EMBED: 'true',
        ETCD_DATA_DIR: '/var/lib/milvus/etcd',
        ETCD_CONFIG_PATH: '/milvus/configs/embedEtcd.yaml',
        COMMON_STORAGETYPE: 'local',
      },
    );
  });

  test('the configuration is merged over the image’s, not put in its place', () => {
    assert.deepEqual(standalone.volumes, [
      'milvus-data:/var/lib/milvus',
      './embedEtcd.yaml:/milvus/configs/embedEtcd.yaml:ro',
      './milvus.yaml:/milvus/configs/user.yaml:ro',
    ]);
    assert.ok('milvus-data' in volumes);
  });

  test('Milvus opens its ports, runs without seccomp, is asked for its health and starts after Jaeger', () => {
    assert.deepEqual(standalone.ports, ['19530:19530', '9091:9091']);
    assert.deepEqual(standalone.security_opt, ['seccomp:unconfined']);
    assert.deepEqual(standalone.healthcheck, {
      test: ['CMD', 'curl', '-f', 'http://localhost:9091/healthz'],
      interval: '30s',
      start_period: '90s',
      timeout: '20s',
      retries: 3,
    });
    assert.deepEqual(standalone.depends_on, ['jaeger']);
  });

  test('Jaeger is 1.46.0 and takes OTLP', () => {
    assert.equal(jaeger.image, 'jaegertracing/all-in-one:1.46.0');
    assert.equal(jaeger.environment.COLLECTOR_OTLP_ENABLED, 'true');
    assert.deepEqual(jaeger.ports, ['16686:16686', '4317:4317', '4318:4318', '5778:5778', '9411:9411']);
  });

  test('images, ports and the fraction can be other ones', () => {
    const { services: other } = readCompose({
      MILVUS_IMAGE: 'milvusdb/milvus:v2.6.25',
      JAEGER_IMAGE: 'jaegertracing/all-in-one:1.76.0',
      MILVUS_PORT: '127.0.0.1:29530',
      MILVUS_SAMPLE_FRACTION: '0',
      JAEGER_UI_PORT: '26686',
    });
    assert.equal(other.standalone.image, 'milvusdb/milvus:v2.6.25');
    assert.equal(other.jaeger.image, 'jaegertracing/all-in-one:1.76.0');
    assert.equal(other.standalone.ports[0], '127.0.0.1:29530:19530');
    assert.equal(other.standalone.environment.TRACE_SAMPLEFRACTION, '0');
    assert.equal(other.jaeger.ports[0], '26686:16686');
  });

  test('the fraction in the environment, which wins, is by default that of milvus.yaml', () => {
    const { trace } = parse(readText('milvus.yaml'));
    assert.equal(Number(standalone.environment.TRACE_SAMPLEFRACTION), trace.sampleFraction);
  });

  test('every value of an environment is a string: the engine refuses a boolean there', () => {
    for (const { environment } of [standalone, jaeger]) {
      for (const [name, value] of Object.entries(environment)) assert.equal(typeof value, 'string', name);
    }
  });
});

test('milvus.yaml sends every trace to Jaeger over OTLP/gRPC without TLS', () => {
  assert.deepEqual(parse(readText('milvus.yaml')), {
    trace: {
      exporter: 'otlp',
      sampleFraction: 1,
      otlp: { endpoint: 'jaeger:4317', method: 'grpc', secure: false },
      initTimeoutSeconds: 10,
    },
  });
});

test('embedEtcd.yaml has the listener, the quota and the compaction', () => {
  assert.deepEqual(parse(readText('embedEtcd.yaml')), {
    'listen-client-urls': 'http://0.0.0.0:2379',
    'advertise-client-urls': 'http://0.0.0.0:2379',
    'quota-backend-bytes': 4294967296,
    'auto-compaction-mode': 'revision',
    'auto-compaction-retention': '1000',
  });
});

test('the Docker sample names the services of the compose setup', () => {
  const text = readFileSync(path.join(folder, '..', 'samples', 'docker', 'env.example'), 'utf8');
  const { name, services } = readCompose();
  const hosts = [
    /^MILVUS_ADDRESS=([^:]+):19530$/m,
    /^OTEL_EXPORTER_OTLP_ENDPOINT=http:\/\/([^:]+):4317$/m,
  ].map((pattern) => pattern.exec(text)?.[1]);
  assert.deepEqual(hosts, ['standalone', 'jaeger']);
  assert.ok(hosts.every((host) => host !== undefined && host in services));
  const readme = readFileSync(path.join(folder, '..', 'samples', 'docker', 'README.md'), 'utf8');
  assert.ok(readme.includes(`--network ${name}_default`));
});

test('env.example of the Docker sample is what --env-file reads: NAME=value, no quotes, no comment behind a value', () => {
  const lines = readFileSync(path.join(folder, '..', 'samples', 'docker', 'env.example'), 'utf8').split('\n');
  for (const line of lines) assert.match(line, /^(#.*|[A-Z][A-Z0-9_]*=[^\s"'#]*)?$/);
});
