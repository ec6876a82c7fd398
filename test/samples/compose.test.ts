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

  test('the configuration is merged over the image’s, and does not replace it', () => {
    assert.deepEqual(standalone.volumes, [
      'milvus-data:/var/lib/milvus',
      './embedEtcd.yaml:/milvus/configs/embedEtcd.yaml:ro',
      './milvus.yaml:/milvus/configs/user.yaml:ro',
    ]);
    assert.ok('milvus-data' in volumes);
  });

  test('Milvus opens its ports, runs without seccomp, has a health check and starts after Jaeger', () => {
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

  test('Jaeger is 1.46.0 and accepts OTLP', () => {
    assert.equal(jaeger.image, 'jaegertracing/all-in-one:1.46.0');
    assert.equal(jaeger.environment.COLLECTOR_OTLP_ENABLED, 'true');
    assert.deepEqual(jaeger.ports, ['16686:16686', '4317:4317', '4318:4318', '5778:5778', '9411:9411']);
  });

  test('images, ports and the fraction can be changed', () => {
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

  test('the fraction in the environment, which takes precedence, is by default that of milvus.yaml', () => {
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

test('env.example of the Docker sample fits --env-file: NAME=value, no quotes, no comment after a value', () => {
  const lines = readFileSync(path.join(folder, '..', 'samples', 'docker', 'env.example'), 'utf8').split('\n');
  for (const line of lines) assert.match(line, /^(#.*|[A-Z][A-Z0-9_]*=[^\s"'#]*)?$/);
});

describe('production/docker-compose.yml', () => {
  /** A file of the set; compose's variables at their defaults, like the collector's with their own form. */
  const read = (file: string) =>
    parse(readText(`production/${file}`).replace(/\$\{(?:env:)?\w+:-([^}]*)\}/g, '$1'));
  const { services } = read('docker-compose.yml');
  const collector = read('collector.yaml');
  const jaeger = read('jaeger.yaml');
  const milvus = read('milvus.yaml');

  test('the published ports need a client’s certificate, and no others are published', () => {
    assert.deepEqual(services.collector.ports, ['4317:4317', '4318:4318']);
    const { grpc, http } = collector.receivers.otlp.protocols;
    assert.deepEqual([grpc.endpoint, http.endpoint], ['0.0.0.0:4317', '0.0.0.0:4318']);
    for (const { tls } of [grpc, http]) {
      assert.equal(tls.client_ca_file, `\${env:TLS_FOLDER}/ca.crt`);
      assert.equal(tls.min_version, '1.2');
    }
  });

  test('Milvus follows the clients’ sampling, on a port that is not published', () => {
    assert.equal(milvus.trace.sampleFraction, 0);
    const [host, port] = milvus.trace.otlp.endpoint.split(':');
    assert.ok(host in services);
    assert.equal(collector.receivers['otlp/milvus'].protocols.grpc.endpoint, `0.0.0.0:${port}`);
    assert.ok(services.collector.ports.every((ports: string) => !ports.includes(port)));
    assert.equal(services.standalone.environment.DEPLOY_MODE, 'STANDALONE');
    assert.equal(
      services.standalone.environment.TRACE_SAMPLEFRACTION,
      undefined,
      'would override milvus.yaml',
    );
  });

  test('Milvus and Jaeger’s page, which have no login, are published on the machine only', () => {
    for (const { ports } of [services.standalone, services.jaeger]) {
      for (const port of ports) assert.match(port, /^127\.0\.0\.1:/);
    }
  });

  test('the collector’s variables are set, its files are mounted at their paths, and it sends to Jaeger', () => {
    const { environment, volumes } = services.collector;
    const named = [...readText('production/collector.yaml').matchAll(/\$\{env:(\w+)\}/g)].map(
      ([, name]) => name,
    );
    for (const name of named) assert.ok((name as string) in environment, name);
    for (const file of ['ca.crt', 'collector.crt', 'collector.key']) {
      assert.ok(volumes.includes(`./certificates/${file}:${environment.TLS_FOLDER}/${file}:ro`), file);
    }
    assert.ok(volumes.includes(`collector-queue:${environment.QUEUE_FOLDER}`));
    assert.ok(services.jaeger.volumes.includes(`jaeger-data:${services.jaeger.environment.STORAGE_FOLDER}`));
    assert.equal(environment.JAEGER_ENDPOINT, 'jaeger:4317');
    assert.equal(jaeger.receivers.otlp.protocols.grpc.endpoint, '0.0.0.0:4317');
  });

  test('the variables of the set have the defaults of the files that read them', () => {
    const text = readText('production/docker-compose.yml') as string;
    const inCompose = (name: string) => new RegExp(`\\$\\{${name}:-([^}]*)\\}`).exec(text)?.[1];
    for (const [file, names] of [
      ['collector.yaml', ['SLOW_MS', 'KEEP_PERCENT', 'DECISION_WAIT']],
      ['jaeger.yaml', ['SPANS_KEPT_FOR']],
    ] as const) {
      for (const name of names) {
        assert.equal(
          new RegExp(`\\$\\{env:${name}:-([^}]*)\\}`).exec(readText(`production/${file}`))?.[1],
          inCompose(name),
        );
      }
    }
  });

  test('spans are stored on disk, and each memory limit of the collector is below the next', () => {
    assert.equal(jaeger.extensions.jaeger_storage.backends.on_disk.badger.ephemeral, false);
    assert.equal(services.collector.mem_limit, '1g');
    assert.equal(services.collector.environment.GOMEMLIMIT, '800MiB');
    assert.ok(collector.processors.memory_limiter.limit_mib < 800);
  });
});
