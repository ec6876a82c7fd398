/**
 * Every command of the pages about deployments runs here, or is listed with its requirement and the test that
 * replaces it. And the figures of docs/production.md.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { useRuns } from '../preload/runs.ts';
import { deploymentPages as pages } from './documented-commands.ts';

const root = path.join(import.meta.dirname, '..', '..');
const readText = (file: string) => readFileSync(path.join(root, file), 'utf8');
const runs = useRuns();
const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-otel-deployments-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** Commands that cannot run here → requirement, and the test that replaces it. */
const standIns: [beginning: RegExp, what: string, file: string][] = [
  [/^docker compose .*production/, 'a Docker engine', 'test/jaeger/production.test.ts'],
  [/^docker (build|run|push) /, 'a Docker engine', 'test/samples/images.test.ts'],
  [/^kubectl /, 'a cluster', 'test/samples/manifests.test.ts'],
  [/^helm /, 'a cluster', 'test/samples/manifests.test.ts'],
  [/^(sudo|journalctl|\(cd \/srv)\b/, 'systemd as process 1', 'test/samples/manifests.test.ts'],
  [/^pm2 /, 'a permanent installation of pm2', 'test/samples/pm2.test.ts'],
  [/^curl /, 'the service that the command above it starts', 'test/samples/samples.test.ts'],
  [/^npm ci && npm pack$/, 'a separate checkout', 'test/package/package.test.ts'],
  [/^CERTIFICATES=/, 'the path of the reader’s certificates', 'test/jaeger/production.test.ts'],
  [/^OTEL_EXPORTER_OTLP_ENDPOINT=https:/, 'the production set', 'test/jaeger/production.test.ts'],
  [
    /^NODE_OPTIONS="--require .*" \.\/app$/,
    'a single executable application',
    'test/preload/sending-thread.test.ts',
  ],
];

/** The commands of a page's shell fences, continuation lines joined, without comments. */
function commandsOf(page: string): string[] {
  const fences = [...readText(page).matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, text]) => text as string);
  return fences.flatMap((text) =>
    text
      .replace(/\\\n\s*/g, '')
      .split('\n')
      .map((line) => line.replace(/\s+#.*$|^#.*$/, '').trim())
      .filter((line) => line !== ''),
  );
}

const commands = pages.flatMap((page) => commandsOf(page).map((text) => ({ page, text })));

/** In a shell, with the Node of this process first on PATH. */
async function run(text: string, cwd: string, env: Record<string, string> = {}) {
  return promisify(execFile)('sh', ['-c', text], {
    cwd,
    env: { PATH: `${path.dirname(process.execPath)}:${process.env.PATH}`, HOME: process.env.HOME, ...env },
    timeout: 240_000,
  });
}

/** A folder with an app.js under which `milvus-otel/register` is found. */
function appFolder(): string {
  const folder = path.join(scratch, 'app');
  if (existsSync(folder)) return folder;
  mkdirSync(path.join(folder, 'node_modules'), { recursive: true });
  symlinkSync(root, path.join(folder, 'node_modules', 'milvus-otel'));
  symlinkSync(path.join(root, 'node_modules', '@zilliz'), path.join(folder, 'node_modules', '@zilliz'));
  cpSync(path.join(root, 'test', 'fixtures', 'searches.cjs'), path.join(folder, 'app.js'));
  cpSync(path.join(root, 'env.example'), path.join(folder, 'env.example'));
  return folder;
}

/** A copy of compose/, so that the files of the script stay out of this checkout. */
function checkout(): string {
  const folder = path.join(scratch, 'checkout');
  cpSync(path.join(root, 'compose'), path.join(folder, 'compose'), { recursive: true });
  return folder;
}

let serviceCount = 0;

/** Commands that run here, each with a check. */
const runnable: [fits: RegExp, check: (text: string) => Promise<void>][] = [
  [
    /\bnode .*app\.js$/,
    async (text) => {
      // Some of these commands name their service; the others get one, to distinguish their spans.
      const named = /OTEL_SERVICE_NAME=(\S+)/.exec(text)?.[1];
      const service = named ?? `deployed-${++serviceCount}`;
      const endpoint = `http://127.0.0.1:${runs.receiver.grpcPort}`;
      await run(
        text.replace('http://localhost:4317', endpoint).replace('SAMPLER_ARG=0.1', 'SAMPLER_ARG=1'),
        appFolder(),
        {
          MILVUS_ADDRESS: runs.milvus.address,
          OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
          ...(named === undefined ? { OTEL_SERVICE_NAME: service } : {}),
        },
      );
      const spans = await runs.spans(service, 5);
      assert.ok(spans.some(({ name }) => name === 'search quick_setup'));
    },
  ],
  [
    /^(\w+=\S+ )*sh compose\/production\/certificates\.sh/,
    async (text) => {
      const folder = checkout();
      await run(text, folder);
      const made = globSync('**/*.crt', { cwd: folder }).map((file) => path.basename(file));
      assert.deepEqual(
        made.sort(),
        text.includes('shop')
          ? ['ca.crt', 'collector.crt', 'search-api.crt', 'shop.crt']
          : ['app.crt', 'ca.crt', 'collector.crt'],
      );
      rmSync(folder, { recursive: true });
    },
  ],
  [
    /^node samples\/cluster\/calculator\.mjs/,
    async (text) => {
      const { stdout } = await run(text, root);
      assert.match(stdout, text.includes('--help') ? /--requests/ : /^stored /m);
    },
  ],
  [
    /^node scripts\/span-sizes\.ts$/,
    async (text) => {
      const { stdout } = await run(`${text} --requests 50 --json`, root);
      const { services } = JSON.parse(stdout);
      // The page's table, with room for other versions and other batches.
      const rows = [
        ...readText('docs/production.md').matchAll(/^\| (app|standalone|segcore) \| ([\d.]+) \| (\d+) \|$/gm),
      ];
      assert.equal(rows.length, Object.keys(services).length);
      for (const [, name, spans, bytes] of rows) {
        const { spansPerRequest, bytesPerSpan } = services[name as string];
        assert.ok(
          Math.abs(spansPerRequest - Number(spans)) <= 1,
          `${name}: ${spansPerRequest} spans, not ${spans}`,
        );
        assert.ok(
          Math.abs(bytesPerSpan / Number(bytes) - 1) < 0.2,
          `${name}: ${bytesPerSpan} bytes, not ${bytes}`,
        );
      }
    },
  ],
];

describe('commands', () => {
  test('each is run here, or listed with its requirement', () => {
    assert.notEqual(commands.length, 0);
    for (const { page, text } of commands) {
      const ways = [...standIns.map(([fits]) => fits), ...runnable.map(([fits]) => fits)];
      assert.equal(ways.filter((fits) => fits.test(text)).length > 0, true, `${page}: ${text}`);
    }
  });

  test('every listed command is on a page, and every replacement test exists', () => {
    for (const [fits, , file] of standIns) {
      assert.ok(
        commands.some(({ text }) => fits.test(text)),
        String(fits),
      );
      assert.ok(existsSync(path.join(root, file)), file);
    }
    for (const [fits] of runnable)
      assert.ok(
        commands.some(({ text }) => fits.test(text)),
        String(fits),
      );
  });

  const seen = new Set<string>();
  for (const { page, text } of commands) {
    if (standIns.some(([fits]) => fits.test(text)) || seen.has(text)) continue;
    seen.add(text);
    test(`${page}: ${text}`, async () => {
      const [, check] = runnable.find(([fits]) => fits.test(text)) ?? [];
      await check?.(text);
    });
  }
});

test('the files that the pages name exist', () => {
  for (const page of pages) {
    for (const [, target = ''] of readText(page).matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      assert.ok(existsSync(path.join(root, path.dirname(page), target)), `${page}: ${target}`);
    }
    for (const [file] of readText(page).matchAll(
      /\b(samples|compose|scripts)\/[\w./-]+\.(ya?ml|sh|ts|mjs|cjs|env)\b/g,
    )) {
      assert.ok(existsSync(path.join(root, file)), `${page}: ${file}`);
    }
  }
});

test('docs/production.md has the calculator’s real output, with the measured figures as its defaults', async () => {
  const { stdout } = await run('node samples/cluster/calculator.mjs --requests 200', root);
  assert.ok(
    readText('docs/production.md').includes(`<!-- calculator:start -->\n\`\`\`\n${stdout}\`\`\``),
    stdout,
  );
});

describe('certificates.sh', () => {
  const script = path.join(root, 'compose', 'production', 'certificates.sh');
  const folder = path.join(scratch, 'certificates');
  const certificate = (name: string) => new X509Certificate(readFileSync(path.join(folder, `${name}.crt`)));

  test('the collector’s certificate is for a server of the names given, an app’s is for a client', async () => {
    await run(`sh '${script}' '${folder}' shop`, scratch, {
      COLLECTOR_HOSTS: 'collector.internal,10.0.0.7',
      DAYS: '90',
    });
    const [ca, collector, shop] = ['ca', 'collector', 'shop'].map(certificate) as [
      X509Certificate,
      X509Certificate,
      X509Certificate,
    ];
    assert.ok(ca.ca && !collector.ca && !shop.ca);
    for (const signed of [collector, shop]) assert.ok(signed.verify(ca.publicKey));
    assert.equal(collector.checkHost('collector.internal'), 'collector.internal');
    assert.equal(collector.checkIP('10.0.0.7'), '10.0.0.7');
    assert.equal(collector.checkHost('localhost'), undefined);
    const [server, client] = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'];
    assert.deepEqual(collector.keyUsage, [server]);
    assert.deepEqual(shop.keyUsage, [client]);
    const days = (Date.parse(shop.validTo) - Date.parse(shop.validFrom)) / 86_400_000;
    assert.equal(Math.round(days), 90);
  });

  test('run again, it renews the certificates inside of the files, and keeps the authority', async () => {
    // Compose mounts file by file, and a container sees no other file that takes the name.
    const inodes = () => readdirSync(folder).map((name) => statSync(path.join(folder, name)).ino);
    const inodesBefore = inodes();
    const before = ['ca', 'collector', 'shop'].map((name) => certificate(name).fingerprint256);
    await run(`sh '${script}' '${folder}' shop`, scratch);
    const now = ['ca', 'collector', 'shop'].map((name) => certificate(name).fingerprint256);
    assert.deepEqual(
      now.map((fingerprint, index) => fingerprint === before[index]),
      [true, false, false],
    );
    assert.deepEqual(inodes(), inodesBefore);
  });

  test('the folder is closed to others, and has no temporary files', async () => {
    const { stdout } = await run(`ls -lA '${folder}' && ls -ld '${folder}'`, scratch);
    assert.match(stdout, /^drwx------/m);
    assert.match(stdout, /^-rw------- .* ca\.key$/m);
    assert.match(stdout, /^-rw------- .* shop\.key$/m);
    assert.doesNotMatch(stdout, /making/);
  });

  test('invalid arguments are reported with the fix, before any file is made', async () => {
    const none = path.join(scratch, 'none');
    for (const [args, env, expected] of [
      ['', { DAYS: 'many' }, /DAYS=many is no number of days/],
      ['ca', {}, /"ca" cannot be the name of an app/],
      ["'../x'", {}, /cannot be the name of an app/],
    ] as [string, Record<string, string>, RegExp][]) {
      await assert.rejects(run(`sh '${script}' '${none}' ${args}`, scratch, env), {
        code: 64,
        stderr: expected,
      });
    }
    assert.ok(!existsSync(none));
    await assert.rejects(run(`PATH=/nowhere /bin/sh '${script}' '${none}'`, scratch), {
      code: 69,
      stderr: /no openssl/,
    });
  });
});
