/** A restricted process: flags that remove features, no writable file, HOME or network, closed streams. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import { useRuns } from './runs.ts';

const runs = useRuns();
const root = path.join(import.meta.dirname, '../..');
const entryPoint = path.join(root, 'dist/register.cjs');
let count = 0;

interface Ran {
  stdout: string;
  stderr: string;
  code: number;
}

/**
 * Runs `script` in a shell that has $NODE with its flags, and $APP, the fixture with its arguments; with and
 * without the preload among the flags. Gives both, the number in Node's own warnings taken out.
 */
async function both(script: string, app: string, flags: string[] = [], node = process.execPath) {
  const service = `surroundings-${++count}`;
  const run = async (preload: string[]): Promise<Ran> => {
    const [file = '', ...args] = app.split(' ');
    const words = [path.join(root, 'test/fixtures', file), ...args];
    const result = await promisify(execFile)(
      'sh',
      ['-c', script, 'sh', node, ...preload, ...flags, ...words],
      {
        cwd: root,
        env: {
          PATH: process.env.PATH,
          HOME: process.env.HOME,
          MILVUS_ADDRESS: runs.milvus.address,
          OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${runs.receiver.grpcPort}`,
          OTEL_SERVICE_NAME: service,
        },
        timeout: 60_000,
      },
    ).then(
      (done) => ({ ...done, code: 0 }),
      (error) => {
        if (typeof error.code !== 'number') throw error;
        return error as Ran;
      },
    );
    return {
      stdout: result.stdout,
      stderr: result.stderr.replaceAll(/node:\d+/g, 'node'),
      code: result.code,
    };
  };
  return { service, untraced: await run([]), traced: await run(['--import', entryPoint]) };
}

const SEARCHES = 'has true, inserted 1, found 5, queried 5\n';
const plainly = '"$@"';

describe('with flags', { concurrency: 2 }, () => {
  const reading = '--permission --allow-fs-read=*';
  for (const flags of [
    reading,
    `--permission --allow-fs-read=${root}/*`,
    `${reading} --allow-child-process --allow-worker --allow-fs-write=*`,
    '--frozen-intrinsics',
    '--disable-proto=delete',
    '--max-old-space-size=64',
    '--no-addons',
    '--preserve-symlinks --preserve-symlinks-main',
    '--enable-source-maps --trace-warnings',
    '--throw-deprecation --pending-deprecation',
  ]) {
    for (const file of ['searches.mjs', 'searches.cjs']) {
      test(`${flags.replace(root, '…')}, ${file} runs as without the preload, and is traced`, async () => {
        const { service, untraced, traced } = await both(plainly, file, flags.split(' '));
        assert.deepEqual(traced, untraced);
        assert.equal(traced.stdout, SEARCHES);
        await runs.spans(service, 5);
      });
    }
  }

  // The SDK itself does not run with these.
  for (const flags of ['--disable-proto=throw', '--disallow-code-generation-from-strings', '--jitless']) {
    test(`${flags}, an app without Milvus runs as without the preload`, async () => {
      for (const file of ['exit-code.mjs', 'exit-code.cjs']) {
        const { untraced, traced } = await both(plainly, file, [flags]);
        assert.deepEqual(traced, untraced);
        assert.equal(traced.code, 4);
      }
    });
  }

  test('--permission, process.exit() where no helper process is allowed: same code, and one line reports it', async () => {
    const { untraced, traced } = await both(plainly, 'search-then-exit.mjs exit', reading.split(' '));
    assert.deepEqual({ ...traced, stderr: '' }, { ...untraced, stderr: '' });
    assert.equal(traced.code, 9);
    assert.match(traced.stderr, /^milvus-otel: 2 spans were lost [^\n]*\n$/);
    assert.match(traced.stderr, /--allow-child-process/);
  });

  // This Node patches ES modules in a thread.
  for (const file of ['searches.mjs', 'searches.cjs']) {
    test(`--permission on Node 22.15 without --allow-worker, ${file} is traced, and one line names the flag`, async () => {
      const node = await nodeBinary('22.15.0');
      const { service, untraced, traced } = await both(plainly, file, reading.split(' '), node);
      assert.deepEqual({ ...traced, stderr: '' }, untraced);
      assert.equal(traced.stdout, SEARCHES);
      assert.match(
        traced.stderr,
        /^milvus-otel: Packages that are imported as ES modules are not traced: [^\n]* Add --allow-worker\.\n$/,
      );
      await runs.spans(service, 5);
    });
  }

  test('--permission on a Node that guards the network too, the network is not used before there are spans', async () => {
    const { untraced, traced } = await both(
      plainly,
      'exit-code.mjs',
      reading.split(' '),
      await nodeBinary('26'),
    );
    assert.deepEqual(traced, untraced);
    assert.equal(traced.code, 4);
  });
});

describe('with streams', { concurrency: 2 }, () => {
  for (const [what, redirection] of Object.entries({
    'stdout and stderr that are closed': '>&- 2>&-',
    'all three that are closed': '<&- >&- 2>&-',
    'stderr that is full': '2>/dev/full',
  })) {
    test(`${what}, an app is traced, though there are lines to log`, async () => {
      const script = `OTEL_TRACES_SAMPLER=nonsense "$@" ${redirection}`;
      const { service, untraced, traced } = await both(script, 'searches.mjs');
      assert.deepEqual(traced, untraced);
      assert.equal(traced.code, 0);
      await runs.spans(service, 5);
    });
  }

  test('stderr whose reader is gone, an app is traced, though there are lines to log', async () => {
    const script = 'exec 3>&1; { OTEL_TRACES_SAMPLER=nonsense "$@" 2>&1 1>&3 3>&-; echo "$?" >&3; } | true';
    const { service, untraced, traced } = await both(script, 'searches.mjs');
    assert.deepEqual(traced, untraced);
    assert.equal(traced.stdout, `${SEARCHES}0\n`);
    await runs.spans(service, 5);
  });
});

describe('without', { concurrency: 2 }, () => {
  test('HOME, TMPDIR and PATH, an app is traced', async () => {
    const { service, untraced, traced } = await both('unset HOME TMPDIR PATH; "$@"', 'searches.mjs');
    assert.deepEqual(traced, untraced);
    await runs.spans(service, 5);
  });

  test('a working directory, an app exits as without the preload', async () => {
    const script = 'folder=$(mktemp -d); cd "$folder"; rmdir "$folder"; "$@"';
    const { untraced, traced } = await both(script, 'exit-code.cjs');
    assert.deepEqual(traced, untraced);
  });

  // Only Linux can remove these from a process.
  if (process.platform === 'linux') {
    let unshare: string;
    before(async () => {
      const ways = ['unshare', 'unshare --map-root-user'];
      for (const way of ways) {
        const works = await promisify(execFile)('sh', ['-c', `${way} --net --mount true`]).then(
          () => true,
          () => false,
        );
        if (works) {
          unshare = way;
          return;
        }
      }
      throw new Error(
        'unshare is needed, with the right to make namespaces (root, or unprivileged user namespaces)',
      );
    });

    test('any network interface that is up, an app without spans keeps its exit code, and nothing is logged', async () => {
      const { untraced, traced } = await both(`${unshare} --net "$@"`, 'exit-code.mjs');
      assert.deepEqual(traced, untraced);
      assert.equal(traced.code, 4);
    });

    test('any network interface that is up, one line reports at the exit that spans are lost', async () => {
      const { untraced, traced } = await both(`${unshare} --net "$@"`, 'own-span.mjs');
      assert.deepEqual({ ...traced, stderr: '' }, untraced);
      assert.match(traced.stderr, /^milvus-otel: 1 span was lost [^\n]*\n$/);
    });

    test('a file system that can be written, an app is traced, also at process.exit()', async () => {
      const script = `${unshare} --mount sh -c 'mount -o bind,remount,ro / && ! touch /tmp/x 2>/dev/null && "$@"' sh "$@"`;
      const { service, untraced, traced } = await both(script, 'search-then-exit.mjs exit');
      assert.deepEqual(traced, untraced);
      assert.equal(traced.code, 9);
      await runs.spans(service, 2);
    });
  }
});
