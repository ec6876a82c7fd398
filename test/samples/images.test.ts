/** The samples' Dockerfiles, replayed without an engine, and their apps against a stub Milvus. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { packInto } from '../../tools/processes/published.ts';
import { useRuns } from '../preload/runs.ts';
import { emptyImage, type Image, replayDockerfile } from '../support/replayed-image.ts';

const root = path.join(import.meta.dirname, '..', '..');
const samples = path.join(root, 'samples');
const runs = useRuns();

const scratch = realpathSync(mkdtempSync(path.join(tmpdir(), 'milvus-otel-images-')));
const context = path.join(scratch, 'context');
after(() => rmSync(scratch, { recursive: true, force: true }));

let app: Image;

/** The build context: the packed package, and the files that .dockerignore does not exclude. */
before(async () => {
  mkdirSync(context);
  await packInto(context);
  cpSync(samples, path.join(context, 'samples'), {
    recursive: true,
    filter: (name) => !name.includes('node_modules'),
  });
  app = appImage();
});

const replay = (
  sample: string,
  options: { args?: Record<string, string>; images?: Record<string, Image> } = {},
) =>
  replayDockerfile(path.join(samples, sample, 'Dockerfile'), {
    context,
    scratch: path.join(scratch, sample),
    ...options,
  });

/** The part of node:24-slim that the samples need: its entrypoint script. */
function nodeImage(): Image {
  const image = emptyImage(path.join(scratch, 'node-image'));
  const script = path.join(image.root, 'usr', 'local', 'bin', 'docker-entrypoint.sh');
  mkdirSync(path.dirname(script), { recursive: true });
  writeFileSync(script, '#!/bin/sh\ncase $1 in *.js | -*) exec node "$@" ;; esac\nexec "$@"\n');
  chmodSync(script, 0o755);
  return { ...image, entrypoint: ['docker-entrypoint.sh'], cmd: ['node'] };
}

/** A user's app without any tracing, which makes five calls to Milvus. */
function appImage(): Image {
  const base = nodeImage();
  const image = { ...base, root: path.join(scratch, 'app-image') };
  cpSync(base.root, image.root, { recursive: true });
  const app = path.join(image.root, 'app');
  mkdirSync(path.join(app, 'node_modules', '@zilliz'), { recursive: true });
  cpSync(path.join(root, 'test', 'fixtures', 'searches.mjs'), path.join(app, 'server.js'));
  writeFileSync(path.join(app, 'package.json'), '{ "name": "shop", "type": "module" }');
  execFileSync('ln', ['-s', path.join(root, 'node_modules'), path.join(image.root, 'node_modules')]);
  return {
    ...image,
    workdir: '/app',
    cmd: ['server.js'],
    user: 'shop',
    env: { NODE_OPTIONS: '--no-warnings' },
  };
}

interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Like `docker run IMAGE`; absolute paths in the image's environment are inside its folder. */
async function start(image: Image, service: string, env: Record<string, string> = {}): Promise<Ran> {
  const [command = '', ...args] = [...image.entrypoint, ...image.cmd];
  const ofImage = Object.entries(image.env).map(([name, value]) => [
    name,
    value.replace(/ \/(?=opt\/)/g, ` ${image.root}/`),
  ]);
  const child = spawn(command, args, {
    cwd: path.join(image.root, image.workdir),
    env: {
      PATH: `${image.root}/usr/local/bin:${path.dirname(process.execPath)}:${process.env.PATH}`,
      ...Object.fromEntries(ofImage),
      MILVUS_ADDRESS: runs.milvus.address,
      OTEL_SERVICE_NAME: service,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${runs.receiver.grpcPort}`,
      ...env,
    },
    timeout: 60_000,
  });
  const ran: Ran = { code: null, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    ran.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    ran.stderr += chunk;
  });
  ran.code = await new Promise((resolve) => child.once('close', resolve));
  return ran;
}

const fiveCalls = [
  'connect default',
  'hasCollection quick_setup',
  'insert quick_setup',
  'search quick_setup',
  'query quick_setup',
];
const output = { stderr: '', code: 0 };

describe('image-layer', () => {
  let image: Image;
  before(() => {
    image = replay('image-layer', { args: { APP_IMAGE: 'shop:1.2.3' }, images: { 'shop:1.2.3': app } });
  });

  test('user, folder, entrypoint and command of the app’s image stay', () => {
    const { workdir, entrypoint, cmd, user } = image;
    assert.deepEqual(
      { workdir, entrypoint, cmd, user },
      { workdir: '/app', entrypoint: ['docker-entrypoint.sh'], cmd: ['server.js'], user: 'shop' },
    );
  });

  test('NODE_OPTIONS of the app’s image stays, the preload comes after it', () => {
    assert.equal(
      image.env.NODE_OPTIONS,
      '--no-warnings --require /opt/milvus-otel/node_modules/milvus-otel/dist/register.cjs',
    );
  });

  test('the app is traced', async () => {
    const { stdout, ...ran } = await start(image, 'layer');
    assert.deepEqual(ran, output);
    assert.match(stdout, /found 5/);
    const spans = await runs.spans('layer', fiveCalls.length);
    assert.deepEqual(
      spans.map(({ name }) => name),
      fiveCalls,
    );
  });

  test('OTEL_SDK_DISABLED=true runs it as before', async () => {
    const { stdout, ...ran } = await start(image, 'layer-off', { OTEL_SDK_DISABLED: 'true' });
    assert.deepEqual(ran, output);
    assert.match(stdout, /found 5/);
    assert.ok(runs.receiver.spans().every(({ service }) => service !== 'layer-off'));
  });
});

describe('docker', () => {
  test('the entrypoint adds the preload from /opt/milvus-otel to the command, which starts as in the base image', async () => {
    const image = replay('docker', { images: { 'node:24-slim': nodeImage() } });
    assert.deepEqual(image.entrypoint, ['milvus-otel-entrypoint', 'docker-entrypoint.sh']);
    assert.deepEqual(image.cmd, ['node', 'server.js']);
    assert.equal(image.user, 'node');
    const manifest = JSON.parse(readFileSync(path.join(image.root, 'app', 'package.json'), 'utf8'));
    assert.equal(manifest.dependencies['milvus-otel'], undefined, 'the app does not depend on the package');

    // Replaces the service, which would not exit by itself.
    cpSync(path.join(root, 'test', 'fixtures', 'searches.mjs'), path.join(image.root, 'app', 'server.js'));
    const { stdout, ...ran } = await start(image, 'docker', {
      OTEL_NODE_PRELOAD_DIR: path.join(image.root, 'opt', 'milvus-otel'),
    });
    assert.deepEqual(ran, output);
    assert.match(stdout, /found 5/);
    const spans = await runs.spans('docker', fiveCalls.length);
    assert.deepEqual(
      spans.map(({ name }) => name),
      fiveCalls,
    );
  });
});

describe('operator', () => {
  let image: Image;
  before(() => {
    image = replay('operator', { images: { 'node:24-slim': nodeImage() } });
  });
  const instrumentation = parse(readFileSync(path.join(samples, 'operator', 'instrumentation.yaml'), 'utf8'));

  /** Changes a pod like the operator: copies the folder, extends NODE_OPTIONS, sets unset variables. */
  test('an app in a pod that the operator injected is traced, with the settings of the Instrumentation', async () => {
    const volume = path.join(scratch, 'otel-auto-instrumentation-nodejs');
    mkdirSync(volume);
    execFileSync('cp', ['-r', `${image.root}/autoinstrumentation/.`, volume]);
    const { exporter, sampler, propagators, nodejs } = instrumentation.spec;
    assert.equal(new URL(exporter.endpoint).port, '4317');
    const env = {
      ...Object.fromEntries(
        nodejs.env.map(({ name, value }: { name: string; value: string }) => [name, value]),
      ),
      OTEL_TRACES_SAMPLER: sampler.type,
      OTEL_PROPAGATORS: propagators.join(','),
      NODE_OPTIONS: ` --require ${volume}/autoinstrumentation.js`,
    };
    const { stdout, ...ran } = await start({ ...app, env: {} }, 'operator', env);
    assert.deepEqual(ran, output);
    assert.match(stdout, /found 5/);
    const spans = await runs.spans('operator', fiveCalls.length);
    assert.deepEqual(
      spans.map(({ name }) => name),
      fiveCalls,
    );
  });

  test('every user of a pod may read the copied files', () => {
    const closed = execFileSync('find', [`${image.root}/autoinstrumentation`, '!', '-perm', '-a=r'], {
      encoding: 'utf8',
    });
    assert.equal(closed, '');
  });

  test('the image’s last stage has the folder and no npm', () => {
    const entries = execFileSync('ls', ['-A', image.root], { encoding: 'utf8' });
    assert.equal(entries, 'autoinstrumentation\n');
  });
});

describe('kubernetes', () => {
  test('the init container’s command and NODE_OPTIONS of the manifest load the preload', async () => {
    const image = replay('operator', { images: { 'node:24-slim': nodeImage() } });
    const [deployment] = readFileSync(path.join(samples, 'kubernetes', 'app.yaml'), 'utf8').split(/^---$/m);
    const { initContainers, containers } = parse(deployment as string).spec.template.spec;
    const volume = path.join(scratch, 'kubernetes-volume');
    mkdirSync(volume);
    const inPod = (text: string) =>
      text
        .replace('/autoinstrumentation/.', `${image.root}/autoinstrumentation/.`)
        .replace(/\/milvus-otel(?=\/|$)/, volume);
    const [command, ...args] = initContainers[0].command.map(inPod);
    execFileSync(command, args);
    const value = containers[0].env.find(({ name }: { name: string }) => name === 'NODE_OPTIONS').value;
    const { stdout, ...ran } = await start({ ...app, env: {} }, 'kubernetes', {
      NODE_OPTIONS: inPod(value),
    });
    assert.deepEqual(ran, output);
    assert.match(stdout, /found 5/);
    assert.equal((await runs.spans('kubernetes', fiveCalls.length)).length, fiveCalls.length);
  });
});

test('each .dockerignore includes the files that its Dockerfile copies', () => {
  for (const sample of ['docker', 'image-layer', 'operator']) {
    const ignored = readFileSync(path.join(samples, sample, 'Dockerfile.dockerignore'), 'utf8').split('\n');
    const copied = readFileSync(path.join(samples, sample, 'Dockerfile'), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
      .flatMap((line) =>
        line
          .split(' ')
          .filter((word) => !word.startsWith('--'))
          .slice(1, -1),
      );
    assert.notEqual(copied.length, 0);
    for (const file of copied)
      assert.ok(ignored.includes(`!${file.replace(/\/$/, '')}`), `${sample}: ${file}`);
  }
});
