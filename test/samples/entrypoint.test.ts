/** samples/docker/entrypoint.sh, run like an image's ENTRYPOINT by each installed shell. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';

const root = path.join(import.meta.dirname, '..', '..');
const script = path.join(root, 'samples', 'docker', 'entrypoint.sh');
const node = process.execPath;
const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-otel-entrypoint-'));
after(() => rmSync(scratch, { recursive: true }));

/** A folder with a package that prints one line on stderr for each load. */
function folderWithPackage(name: string): string {
  const folder = path.join(scratch, name);
  const dist = path.join(folder, 'node_modules', 'milvus-otel', 'dist');
  mkdirSync(dist, { recursive: true });
  writeFileSync(path.join(dist, 'register.cjs'), "process.stderr.write('preload is loaded\\n');\n");
  return folder;
}
const app = folderWithPackage('app');
const empty = path.join(scratch, 'empty');
mkdirSync(empty);

const onPath = (shell: string) => spawnSync('which', [shell]).status === 0;
// sh is required. The others are the shells that images install as sh.
const shells = ['sh', ...['dash', 'bash'].filter(onPath)];

interface Run {
  cwd?: string;
  env?: Record<string, string>;
}

for (const shell of shells) {
  describe(`the entrypoint under ${shell}`, () => {
    const run = (command: string[], { cwd = app, env = {} }: Run = {}) => {
      const { status, signal, stdout, stderr } = spawnSync(shell, [script, ...command], {
        cwd,
        env: { PATH: process.env.PATH, ...env },
        encoding: 'utf8',
        timeout: 30_000,
      });
      return { status, signal, stdout, stderr };
    };
    const printOptions = [node, '-p', 'process.env.NODE_OPTIONS'];

    test('the preload is loaded once, before the app, from the node_modules of the working directory', () => {
      const { status, stdout, stderr } = run([node, '-p', '1 + 1']);
      assert.deepEqual(
        { status, stdout, stderr },
        { status: 0, stdout: '2\n', stderr: 'preload is loaded\n' },
      );
    });

    test('arguments reach the app unchanged, whatever is in them', () => {
      const args = [
        'two words',
        '"double"',
        "sing'le",
        '$HOME',
        '`date`',
        '*',
        '',
        'back\\slash',
        'line\nbreak',
      ];
      const { stdout } = run([node, '-e', 'console.log(JSON.stringify(process.argv.slice(1)))', ...args]);
      assert.deepEqual(JSON.parse(stdout), args);
    });

    test('the exit code is the app’s', () => {
      assert.equal(run([node, '-e', 'process.exit(42)']).status, 42);
    });

    test('a command that does not exist exits with 127, as without the entrypoint', () => {
      const { status, stderr } = run(['no-such-command']);
      assert.equal(status, 127);
      assert.match(stderr, /no-such-command/);
    });

    test('the app has the entrypoint’s process id, and SIGTERM reaches its own handler', async () => {
      const program = `
        process.on('SIGTERM', () => { console.log('handled'); process.exit(3); });
        setInterval(() => {}, 1000);
        console.log(process.pid);`;
      const child = spawn(shell, [script, node, '-e', program], {
        cwd: app,
        env: { PATH: process.env.PATH },
        timeout: 30_000,
      });
      let stdout = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        if (stdout === '') child.kill('SIGTERM');
        stdout += text;
      });
      const code = await new Promise((resolve) => child.once('close', resolve));
      assert.deepEqual({ code, stdout }, { code: 3, stdout: `${child.pid}\nhandled\n` });
    });

    test('an app without a handler dies by the signal', async () => {
      const program = 'setInterval(() => {}, 1000); console.log("up")';
      const child = spawn(shell, [script, node, '-e', program], {
        cwd: app,
        env: { PATH: process.env.PATH },
        timeout: 30_000,
        killSignal: 'SIGKILL',
      });
      child.stdout.once('data', () => child.kill('SIGTERM'));
      const ending = await new Promise((resolve) =>
        child.once('close', (code, signal) => resolve({ code, signal })),
      );
      assert.deepEqual(ending, { code: null, signal: 'SIGTERM' });
    });

    test('existing NODE_OPTIONS stay, and the preload comes after them', () => {
      const { stdout } = run(printOptions, { env: { NODE_OPTIONS: '--no-warnings --title="two words"' } });
      const entryPoint = `${app}/node_modules/milvus-otel/dist/register.cjs`;
      assert.equal(stdout, `--no-warnings --title="two words" --require "${entryPoint}"\n`);
    });

    test('a folder with spaces, quotes and backslashes in its name works', () => {
      const cwd = folderWithPackage('my "own" \\app');
      assert.equal(run([node, '-e', ''], { cwd }).stderr, 'preload is loaded\n');
    });

    test('an entrypoint inside an entrypoint adds the preload once', () => {
      const { stdout, stderr } = run([shell, script, ...printOptions]);
      assert.equal(stdout.match(/--require/g)?.length, 1);
      assert.equal(stderr, 'preload is loaded\n');
    });

    for (const NODE_OPTIONS of ['--import milvus-otel/register', '-r milvus-otel/register']) {
      test(`NODE_OPTIONS="${NODE_OPTIONS}" of the image is left alone`, () => {
        assert.equal(
          run(['printenv', 'NODE_OPTIONS'], { env: { NODE_OPTIONS } }).stdout,
          `${NODE_OPTIONS}\n`,
        );
      });
    }

    test('a command that loads the preload itself is left alone', () => {
      const command = ['sh', '-c', 'echo "[$NODE_OPTIONS]"', '--import', 'milvus-otel/register'];
      assert.equal(run(command).stdout, '[]\n');
    });

    for (const value of ['true', 'True', 'TRUE']) {
      test(`OTEL_SDK_DISABLED=${value} starts the command unchanged`, () => {
        const { stdout, stderr } = run(printOptions, { env: { OTEL_SDK_DISABLED: value } });
        assert.deepEqual({ stdout, stderr }, { stdout: 'undefined\n', stderr: '' });
      });
    }

    test('OTEL_SDK_DISABLED=false traces', () => {
      const { stderr } = run([node, '-e', ''], { env: { OTEL_SDK_DISABLED: 'false' } });
      assert.equal(stderr, 'preload is loaded\n');
    });

    for (const value of [app, path.relative(scratch, app), `${app}/`]) {
      const form = value === app ? 'absolute' : value.endsWith('/') ? 'with a slash at its end' : 'relative';
      test(`OTEL_NODE_PRELOAD_DIR, ${form}, is the folder of the package`, () => {
        const { stderr } = run([node, '-e', ''], { cwd: scratch, env: { OTEL_NODE_PRELOAD_DIR: value } });
        assert.equal(stderr, 'preload is loaded\n');
      });
    }

    test('OTEL_NODE_PRELOAD_DIR without the package is named, even where another folder has it', () => {
      const { status, stdout, stderr } = run([node, '-p', '1 + 1'], {
        env: { OTEL_NODE_PRELOAD_DIR: empty },
      });
      assert.deepEqual({ status, stdout }, { status: 0, stdout: '2\n' });
      assert.ok(stderr.includes(`OTEL_NODE_PRELOAD_DIR=${empty}`), stderr);
    });

    test('without the package the app runs, and one line has the searched folder and the fix', () => {
      const { status, stdout, stderr } = run([node, '-e', 'console.log("up"); process.exitCode = 5'], {
        cwd: empty,
      });
      assert.deepEqual({ status, stdout }, { status: 5, stdout: 'up\n' });
      assert.match(
        stderr,
        /^milvus-otel: [^\n]*\/opt\/milvus-otel[^\n]*untraced[^\n]*npm install milvus-otel[^\n]*\n$/,
      );
      assert.ok(stderr.includes(empty), stderr);
    });

    test('a missing command is reported', () => {
      const { status, stderr } = run([]);
      assert.equal(status, 64);
      assert.match(stderr, /no command to start/);
    });
  });
}

test('the script is executable by itself, as ENTRYPOINT runs it', () => {
  const { stderr } = spawnSync(script, [node, '-e', ''], {
    cwd: app,
    env: { PATH: process.env.PATH },
    encoding: 'utf8',
  });
  assert.equal(stderr, 'preload is loaded\n');
});

test('the file that it loads is the one that the package exports as ./register', () => {
  const { exports } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  assert.ok(
    readFileSync(script, 'utf8').includes(
      `node_modules/milvus-otel/${path.normalize(exports['./register'])}`,
    ),
  );
});
