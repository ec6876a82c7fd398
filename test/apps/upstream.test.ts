/**
 * This preload patches the same functions as upstream's register: module by module, in both module systems,
 * without a server. A program loads a package and prints the fingerprints of all functions that it can reach;
 * those that differ from a run without a preload are patched.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { CATALOG } from '../../src/instrumentations/catalog.ts';
import { ensureBuilt } from '../../tools/build/build-package.ts';
import { installed, type Packages } from '../../tools/processes/installed.ts';
import { runFixture } from '../../tools/processes/run-fixture.ts';
import { placeProgram } from '../support/traced-app.ts';

const runTimeoutMs = 240_000;

/** The newest majors that the instrumentations support. */
const current: Packages = {
  '@aws-sdk/client-sqs': '3.1169.0',
  '@cucumber/cucumber': '12',
  '@hapi/hapi': '21.4.10',
  '@koa/router': '15',
  '@nestjs/common': '11',
  '@nestjs/core': '11',
  '@nestjs/platform-express': '11',
  amqplib: '2.3.1',
  bunyan: '2.0.5',
  'cassandra-driver': '4.10.0',
  connect: '3.7.0',
  dataloader: '2.2.3',
  express: '5.3.0',
  'generic-pool': '3.9.0',
  graphql: '16',
  ioredis: '6.0.0',
  kafkajs: '2.2.4',
  knex: '3.3.0',
  koa: '3.3.0',
  'lru-memoizer': '3.0.0',
  memcached: '2.2.2',
  mongodb: '7.9.0',
  mongoose: '9.12.1',
  mysql: '2.18.1',
  mysql2: '3.24.6',
  openai: '6',
  oracledb: '7',
  pg: '8.23.1',
  pino: '10.4.0',
  redis: '6.3.1',
  'reflect-metadata': '0.2',
  restify: '12.0.0',
  router: '2.3.0',
  rxjs: '7',
  'socket.io': '4.8.4',
  tedious: '20.3.9',
  winston: '3.19.0',
};

/** Older majors with other internals. */
const older: Packages = {
  '@cucumber/cucumber': '9',
  '@hapi/hapi': '20',
  '@nestjs/common': '9',
  '@nestjs/core': '9',
  amqplib: '0.10',
  bunyan: '1',
  connect: '3',
  express: '4',
  'generic-pool': '2.5',
  graphql: '15',
  ioredis: '4',
  knex: '0.95',
  koa: '2',
  'lru-memoizer': '2',
  mongodb: '4',
  mongoose: '6',
  mysql2: '2',
  openai: '4',
  pg: '8.11.0',
  pino: '8',
  redis: '4',
  'reflect-metadata': '0.1',
  restify: '11',
  router: '1',
  rxjs: '7',
  'socket.io': '3',
  tedious: '16',
  winston: '2',
};

/** Dependencies of others. */
const COMPANIONS = [
  '@koa/router',
  '@nestjs/common',
  '@nestjs/platform-express',
  'reflect-metadata',
  'rxjs',
  // Neither runs on a Node that is supported.
  'restify@11',
];

const loadable = (packages: Packages) =>
  Object.entries(packages)
    .filter(([name, version]) => !COMPANIONS.includes(name) && !COMPANIONS.includes(`${name}@${version}`))
    .map(([name]) => name);

/** Off by default here, on upstream (fs is off there too). See docs/settings.md. */
const QUIET = ['dns', 'generic-pool', 'net'];

/**
 * Upstream's run loads all packages, so it has patches that a package alone does not cause: those of QUIET,
 * and those that express 5 makes in its router.
 */
const patchedForOthers = (place: string): boolean =>
  /(^|\/)(generic-pool|dns|net)[./]|dnsLookup$/.test(place) ||
  /^router(\.default|\/index\.js)?\.prototype\.(use|route)$/.test(place);

/** Packages whose import fails under upstream, or is not patched: there is nothing to compare with. */
const UPSTREAM_FAILS = { import: ['memcached', 'openai@4', 'oracledb'], require: [] as string[] };

type Kind = 'require' | 'import';
/** Place → fingerprint. */
type Fingerprints = Record<string, string>;

const upstreamSilent = {
  OTEL_TRACES_EXPORTER: 'none',
  OTEL_METRICS_EXPORTER: 'none',
  OTEL_LOGS_EXPORTER: 'none',
  OTEL_NODE_RESOURCE_DETECTORS: 'none',
};

const preloads = {
  none: () => ({}),
  ours: () => ({ preload: true, env: { OTEL_TRACES_EXPORTER: 'none' } }),
  upstream: (kind: Kind) => ({
    env: {
      ...upstreamSilent,
      // Upstream patches ES modules by this flag only.
      NODE_OPTIONS: `${kind === 'import' ? '--no-warnings --experimental-loader=@opentelemetry/instrumentation/hook.mjs ' : ''}--import=@opentelemetry/auto-instrumentations-node/register`,
    },
  }),
};

interface Run {
  preload: keyof typeof preloads;
  kind: Kind;
  program: string;
  modules: string[];
  env?: Record<string, string>;
}

async function fingerprints({ preload, kind, program, modules, env }: Run): Promise<Fingerprints> {
  const options: { preload?: boolean; env?: Record<string, string> } = preloads[preload](kind);
  const { stdout, stderr, code } = await runFixture({
    file: program,
    args: [kind, ...modules],
    timeoutMs: runTimeoutMs,
    ...options,
    env: { ...options.env, ...env },
  });
  assert.equal(code, 0, `${preload}, ${kind} ${modules.join(' ')}:\n${stderr}`);
  return JSON.parse(stdout);
}

const patchedPlaces = (bare: Fingerprints, under: Fingerprints): string[] =>
  Object.keys(bare).filter((place) => place in under && under[place] !== bare[place]);

/** Functions that both runs have reached, and that only one has patched. */
function differences(bare: Fingerprints, upstream: Fingerprints, ours: Fingerprints) {
  const theirs = new Set(patchedPlaces(bare, upstream));
  const own = new Set(patchedPlaces(bare, ours));
  return {
    both: [...theirs].filter((place) => own.has(place)),
    missing: [...theirs].filter((place) => place in ours && !own.has(place)),
    added: [...own].filter((place) => place in upstream && !theirs.has(place)),
  };
}

const builtIns = ['http', 'https', 'net', 'dns', 'dns/promises', 'fs', 'fs/promises'];

before(() => ensureBuilt());

for (const [age, packages] of Object.entries({ current, older })) {
  for (const kind of ['require', 'import'] as const) {
    describe(`${age} versions by ${kind}`, { concurrency: 2 }, () => {
      const names = [...loadable(packages), ...(age === 'current' ? ['@grpc/grpc-js', ...builtIns] : [])];
      let program: string;
      let bare: Fingerprints;
      let upstream: Fingerprints;
      /** Each package alone, as an app loads it; of older ones, which have the same names, all at once. */
      let alone: (name: string) => Promise<Fingerprints>;

      before(async () => {
        program = await placeProgram('apps/what-is-patched.mjs', await installed(packages));
        const compared = names.filter((name) => !isIn(UPSTREAM_FAILS[kind], name, packages));
        [bare, upstream] = await Promise.all([
          fingerprints({ preload: 'none', kind, program, modules: names }),
          fingerprints({ preload: 'upstream', kind, program, modules: compared }),
        ]);
        const ours = (modules: string[]) => fingerprints({ preload: 'ours', kind, program, modules });
        const together = age === 'older' ? ours(names) : undefined;
        alone = (name) => together ?? ours([name]);
      });

      for (const name of names) {
        test(`${name} is patched as upstream patches it`, async () => {
          const ours = await alone(name);
          const { both, missing, added } = differences(bare, upstream, ours);
          assert.deepEqual(
            missing.filter((place) => !patchedForOthers(place)),
            [],
          );
          if (QUIET.includes(name) || /^(dns|fs)\b/.test(name)) {
            assert.deepEqual(
              both.filter((place) => place.startsWith(name)),
              [],
              'off by default',
            );
          } else if (isIn(UPSTREAM_FAILS[kind], name, packages)) {
            assert.notDeepEqual(
              patchedPlaces(bare, ours).filter((place) => place.startsWith(name)),
              [],
            );
          } else if (name === 'bunyan' && age === 'current') {
            // Upstream names too few of its versions.
            assert.notDeepEqual(added, []);
          } else {
            assert.notDeepEqual(
              both,
              [],
              'upstream patches nothing here either: the comparison proves nothing',
            );
          }
        });
      }
    });
  }
}

function isIn(list: string[], name: string, packages: Packages): boolean {
  return list.includes(name) || list.includes(`${name}@${packages[name]}`);
}

describe('an instrumentation that is off by default', { concurrency: 2 }, () => {
  for (const kind of ['require', 'import'] as const) {
    test(`is patched as upstream patches it by ${kind}, when both enable it`, async () => {
      const program = await placeProgram('apps/what-is-patched.mjs', await installed(current));
      const modules = ['generic-pool', 'net', 'dns', 'dns/promises', 'fs', 'fs/promises'];
      const env = { OTEL_NODE_ENABLED_INSTRUMENTATIONS: 'dns,fs,generic-pool,net' };
      const [bare, upstream, ours] = await Promise.all([
        fingerprints({ preload: 'none', kind, program, modules }),
        fingerprints({ preload: 'upstream', kind, program, modules, env }),
        fingerprints({
          preload: 'ours',
          kind,
          program,
          modules,
          env: { OTEL_NODE_ENABLED_INSTRUMENTATIONS: `milvus,${env.OTEL_NODE_ENABLED_INSTRUMENTATIONS}` },
        }),
      ]);
      const { both, missing, added } = differences(bare, upstream, ours);
      assert.deepEqual(missing, []);
      // Upstream does not patch default imports of built-in modules.
      assert.deepEqual(
        added.filter((place) => !/^(dns|fs|net)(\/promises)?\.default\./.test(place)),
        [],
      );
      for (const name of modules) {
        assert.ok(
          both.some((place) => place.startsWith(`${name}.`)),
          name,
        );
      }
    });
  }
});

test("a CommonJS module's default import has everything that its require has", async () => {
  const program = await placeProgram('apps/what-is-patched.mjs', await installed(current));
  const modules = ['@grpc/grpc-js', 'connect', 'koa', 'memcached', 'mysql', 'oracledb', 'pg', 'pino'];
  const [bare, required, imported, bareImport] = await Promise.all([
    fingerprints({ preload: 'none', kind: 'require', program, modules }),
    fingerprints({ preload: 'ours', kind: 'require', program, modules }),
    fingerprints({ preload: 'ours', kind: 'import', program, modules }),
    fingerprints({ preload: 'none', kind: 'import', program, modules }),
  ]);
  const byImport = new Set(patchedPlaces(bareImport, imported));
  for (const name of modules) {
    const places = patchedPlaces(bare, required).filter(
      (place) => /^[. ]|^$/.test(place.slice(name.length)) && place.startsWith(name),
    );
    assert.notDeepEqual(places, [], name);
    const absent = places.filter((place) => {
      const path = place.slice(name.length);
      const byDefault = path.startsWith(' ') ? place : `${name}.default${path}`;
      return byDefault in bareImport && !byImport.has(byDefault);
    });
    assert.deepEqual(absent, [], name);
  }
});

test('the comparison leaves out only instrumentations that wait for no module', () => {
  const compared = [...loadable(current), '@grpc/grpc-js', ...builtIns];
  const without = CATALOG.filter(({ modules }) => !modules.some((name) => compared.includes(name))).map(
    ({ name }) => name,
  );
  // aws-sdk hooks internal packages of the AWS clients.
  assert.deepEqual(without, ['aws-lambda', 'aws-sdk', 'host-metrics', 'runtime-node', 'undici']);
  assert.ok(compared.includes('@aws-sdk/client-sqs'));
});
