import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../tools/processes/free-ports.ts';
import { startJaeger } from '../../tools/servers/jaeger.ts';
import { ensureJaeger } from '../../tools/servers/jaeger-build.ts';
import { answers } from '../support/answers.ts';

let folder: string;
let cacheDir: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'milvus-otel-jaeger-'));
  cacheDir = join(folder, 'cache');
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test('without Go on PATH the message names Go, the version, and the place to get it', async () => {
  await assert.rejects(ensureJaeger({ cacheDir, env: { ...process.env, PATH: folder } }), (error: Error) => {
    assert.match(error.message, /^Go is missing: there is no `go` on PATH\./);
    assert.match(error.message, /needs Go 1\.24\.6 or newer/);
    assert.match(error.message, /https:\/\/go\.dev\/dl\//);
    return true;
  });
});

test('startJaeger reports the same, before it starts anything', async () => {
  await assert.rejects(
    startJaeger({ cacheDir, env: { ...process.env, PATH: folder } }),
    /^Error: Go is missing/,
  );
});

test('a Go that is too old is named with its version', async () => {
  const env = withGo(`echo '{"GOVERSION":"go1.20.14","GOTOOLCHAIN":""}'`);
  await assert.rejects(
    ensureJaeger({ cacheDir, env }),
    /Go is too old: `go` on PATH is go1\.20\.14\. .*Go 1\.24\.6/,
  );
});

test('an older Go that must not fetch a newer one is named with the variable that forbids it', async () => {
  const env = withGo(`echo '{"GOVERSION":"go1.22.0","GOTOOLCHAIN":"local"}'`);
  await assert.rejects(ensureJaeger({ cacheDir, env }), /go1\.22\.0 with GOTOOLCHAIN=local/);
});

test('an unreachable module proxy is named with GOPROXY, its value without the password, and the fix', async () => {
  const port = await freePort();
  const GOPROXY = `https://somebody:secret@127.0.0.1:${port}`;
  // A separate module cache: the machine's may have Jaeger already.
  const env = { ...process.env, GOPROXY, GOMODCACHE: join(folder, 'modules') };
  await assert.rejects(ensureJaeger({ cacheDir, env }), (error: Error) => {
    assert.match(error.message, /Go cannot download it: .*connection refused/);
    assert.match(error.message, new RegExp(`GOPROXY is https://\\*\\*\\*@127\\.0\\.0\\.1:${port}\\.`));
    assert.match(error.message, /Set GOPROXY to a Go module proxy that this machine reaches/);
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

test('a failed build shows the output of Go, and the next one starts from scratch', async () => {
  const broken = withGo(`
    case "$1" in
      env) echo '{"GOVERSION":"go1.26.0","GOTOOLCHAIN":"local"}' ;;
      *) echo 'some package: undefined: something' >&2; exit 3 ;;
    esac`);
  await assert.rejects(
    ensureJaeger({ cacheDir, env: broken }),
    /`go mod download .*` failed with code 3:\n.*undefined: something/s,
  );
  const program = await ensureJaeger({ cacheDir, env: withGo(building(0)) });
  assert.equal(readFileSync(program, 'utf8'), 'the program\n');
});

test('two concurrent requests share one build', async () => {
  const env = withGo(building(1));
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  const [first, second] = await Promise.all([
    ensureJaeger({ cacheDir, env, log }),
    ensureJaeger({ cacheDir, env, log }),
  ]);
  assert.equal(first, second);
  assert.equal(readFileSync(join(folder, 'builds'), 'utf8'), 'build\n');
  assert.ok(
    lines.some((line) => line.includes('another process builds it, waiting')),
    lines.join('\n'),
  );
  // Neither the lock nor the scratch folder stays.
  assert.equal(readdirSync(cacheDir).length, 1);
});

test('the lock of a builder that was killed does not block others', async () => {
  const gone = spawn(process.execPath, ['-e', '']);
  await once(gone, 'exit');
  mkdirSync(cacheDir);
  writeFileSync(join(cacheDir, 'building'), String(gone.pid));
  await ensureJaeger({ cacheDir, env: withGo(building(0)) });
  assert.equal(readFileSync(join(folder, 'builds'), 'utf8'), 'build\n');
});

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT'] as const) {
  test(`Jaeger stops when ${signal} ends the process that started it`, async () => {
    const script = `
      const { startJaeger } = await import(${JSON.stringify(import.meta.resolve('../../tools/servers/jaeger.ts'))});
      const { otlpGrpcPort } = await startJaeger();
      console.log(otlpGrpcPort);
      setInterval(() => {}, 1000);`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [chunk] = await once(parent.stdout, 'data');
    const port = Number(chunk);
    assert.equal(await answers(port), true);
    parent.kill(signal);
    await once(parent, 'exit');
    for (let i = 0; i < 50 && (await answers(port)); i++) await sleep(100);
    assert.equal(await answers(port), false);
  });
}

test('stop() stops Jaeger, and a second stop() does nothing', async () => {
  const jaeger = await startJaeger();
  assert.equal(await answers(jaeger.otlpGrpcPort), true);
  assert.equal(await answers(jaeger.otlpHttpPort), true);
  await jaeger.stop();
  await jaeger.stop();
  assert.equal(await answers(jaeger.otlpGrpcPort), false);
  assert.equal(await answers(jaeger.otlpHttpPort), false);
});

/** An environment whose `go` is this shell script, which acts as a Go that this machine does not have. */
function withGo(script: string): NodeJS.ProcessEnv {
  const bin = mkdtempSync(join(folder, 'bin-'));
  writeFileSync(join(bin, 'go'), `#!/bin/sh\n${script}\n`);
  chmodSync(join(bin, 'go'), 0o755);
  return { ...process.env, PATH: `${bin}:${process.env.PATH}` };
}

/** A `go` that takes `seconds` for a build and notes it in `folder`/builds. */
function building(seconds: number): string {
  return `
    case "$1 $2" in
      'env -json') echo '{"GOVERSION":"go1.26.0","GOTOOLCHAIN":"local"}' ;;
      'mod download') mkdir -p '${folder}/module'; : >'${folder}/module/go.sum'; echo '{"Dir":"${folder}/module"}' ;;
      'mod edit') echo '{"Go":"1.24.6","Replace":null}' ;;
      build*) echo build >>'${folder}/builds'; sleep ${seconds}; echo 'the program' >all-in-one ;;
    esac`;
}
