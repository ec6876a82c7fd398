/** `npm run demo` as users run it: a child process, with a real Milvus, installed on the first run. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { startMilvus } from '../../scripts/milvus.ts';
import { startReceiver } from '../../scripts/receiver.ts';

const root = path.join(import.meta.dirname, '..', '..');
/** The first run may have Milvus to download. */
const timeout = 300_000;
/** Until the guards of what the demo started have done their work. */
const leftoverDeadlineMs = 5_000;

interface Demo {
  child: ChildProcess;
  output: { stdout: string; stderr: string };
  /** Resolves when the text stands in the output; rejects when the demo ends without it. */
  said(text: string): Promise<void>;
  /** Ctrl-C in a terminal: the whole foreground process group gets it. */
  pressCtrlC(): void;
  ended: Promise<number | null>;
  /** Processes that it has started and that still run. */
  leftovers(): Promise<string[]>;
}

function runDemo(t: TestContext, args: string[], variables: Record<string, string | undefined> = {}): Demo {
  const env = {
    ...process.env,
    MILVUS_ADDRESS: undefined,
    NO_COLOR: undefined,
    FORCE_COLOR: undefined,
    ...variables,
  };
  const child = spawn(process.execPath, [path.join(root, 'scripts', 'run.mjs'), 'demo', ...args], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own, as a terminal gives it.
    detached: true,
  });
  const signalGroup = (signal: NodeJS.Signals) => {
    try {
      process.kill(-(child.pid as number), signal);
    } catch (error) {
      // ESRCH: it has ended.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  };
  t.after(() => signalGroup('SIGKILL'));

  const started = new Map<number, string>();
  const watch = setInterval(() => {
    for (const { pid, command } of descendants(child.pid as number)) started.set(pid, command);
  }, 100);
  const output = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text;
  });
  const ended = once(child, 'close').then(([code]) => {
    clearInterval(watch);
    return code as number | null;
  });

  return {
    child,
    output,
    ended,
    async said(text) {
      while (!output.stdout.includes(text)) {
        assert.equal(child.exitCode, null, `ended without "${text}":\n${output.stdout}\n${output.stderr}`);
        await sleep(20);
      }
    },
    pressCtrlC: () => signalGroup('SIGINT'),
    async leftovers() {
      assert.ok(started.size > 0, 'no process was seen, so none could be missed');
      for (let waitedMs = 0; ; waitedMs += 100) {
        const running = new Map(processes().map(({ pid, command }) => [pid, command]));
        const left = [...started].filter(([pid, command]) => running.get(pid) === command);
        if (left.length === 0 || waitedMs >= leftoverDeadlineMs) return left.map(([, command]) => command);
        await sleep(100);
      }
    },
  };
}

interface Process {
  pid: number;
  parent: number;
  command: string;
}

/** Ended ones that nobody has waited for are not among them. */
function processes(): Process[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,args='], { encoding: 'utf8' })
    .trim()
    .split('\n');
  return lines.flatMap((line) => {
    const [, pid, parent, state, command = ''] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    return state === undefined || state.startsWith('Z')
      ? []
      : [{ pid: Number(pid), parent: Number(parent), command }];
  });
}

function descendants(ancestor: number): Process[] {
  const all = processes();
  const below = (parent: number): Process[] =>
    all.filter((each) => each.parent === parent).flatMap((each) => [each, ...below(each.pid)]);
  return below(ancestor);
}

function lastLine(text: string): string | undefined {
  return text.trimEnd().split('\n').at(-1);
}

test('the demo prints every trace of the sample, joined by the server, and leaves nothing running', {
  timeout,
}, async (t) => {
  const demo = runDemo(t, [], {
    // What the user has set for apps of their own does not reach the sample.
    OTEL_SERVICE_NAME: 'somebody-else',
    OTEL_TRACES_EXPORTER: 'none',
  });
  const code = await demo.ended;
  const { stdout, stderr } = demo.output;
  assert.equal(code, 0, `${stdout}\n${stderr}`);
  assert.match(lastLine(stdout) ?? '', /^(\d+) of \1 client traces joined by standalone$/);

  // milvus-client: <operation> └─ standalone: <RPC>, each with its duration
  const duration = String.raw` +\d+\.\d\d ms`;
  for (const [operation, rpc] of [
    ['hasCollection', 'DescribeCollection'],
    ['dropCollection', 'DropCollection'],
    ['createCollection', 'DescribeCollection'],
    ['getLoadState', 'GetLoadState'],
    ['insert', '(?:DescribeCollection|Insert)'],
    ['search', 'Search'],
    ['query', 'Query'],
  ]) {
    const tree = `^milvus-client: ${operation} quick_setup${duration}\n[├└]─ standalone: MilvusService/${rpc}${duration}$`;
    assert.match(stdout, new RegExp(tree, 'm'));
  }
  assert.match(stdout, /^ {3}└─ Proxy-Search/m);
  assert.match(stdout, /… \d+ more$/m);
  assert.match(stdout, /insert count 10$/m);
  assert.doesNotMatch(stdout, /Heartbeat|generic-pool|tcp\.connect/);
  assert.ok(!stdout.includes('\u001b'), 'no colours into a pipe');
  assert.deepEqual(await demo.leftovers(), []);
});

test('with --keep it leaves the viewer running until Ctrl-C', { timeout }, async (t) => {
  const demo = runDemo(t, ['--keep']);
  await demo.said('Ctrl-C ends it all.');
  const { stdout } = demo.output;
  assert.match(stdout, /^(\d+) of \1 client traces joined by standalone$/m);

  const viewer = /^Left running\. The traces are at (\S+)$/m.exec(stdout)?.[1];
  assert.ok(viewer, stdout);
  const files = (await (await fetch(new URL('/api/traces', viewer))).json()) as string[];
  assert.ok(files.length > 0, 'the viewer lists traces');

  demo.pressCtrlC();
  assert.equal(await demo.ended, 0);
  assert.deepEqual(await demo.leftovers(), []);
  await assert.rejects(fetch(viewer), 'the viewer has ended too');
});

test('Ctrl-C while Milvus starts leaves no process behind', { timeout }, async (t) => {
  const demo = runDemo(t, []);
  await demo.said('Starting Milvus');
  // Into the middle of the start: the server's process is there, its ports may not be.
  await sleep(1_000);
  demo.pressCtrlC();
  assert.equal(await demo.ended, 130, demo.output.stderr);
  assert.deepEqual(await demo.leftovers(), []);
});

test('ports that are taken are worked around, and it says so', { timeout }, async (t) => {
  const squatter = net.createServer();
  // Taken by somebody else is as good.
  await new Promise<void>((resolve) =>
    squatter.once('error', () => resolve()).listen(4317, '127.0.0.1', resolve),
  );
  t.after(() => squatter.close());
  const demo = runDemo(t, []);
  await demo.said('Starting Milvus');
  demo.pressCtrlC();
  await demo.ended;
  assert.match(demo.output.stdout, /port 4317 is taken, OTLP over gRPC gets (port \d+|any free one) instead/);
  assert.match(demo.output.stdout, /takes OTLP on localhost:(?!4317)\d+ \(gRPC\)/);
});

test('an unreachable MILVUS_ADDRESS is named with the cure', { timeout }, async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  await once(server.close(), 'close');

  const demo = runDemo(t, [], { MILVUS_ADDRESS: `127.0.0.1:${port}` });
  assert.equal(await demo.ended, 1);
  assert.equal(
    demo.output.stderr.trimEnd(),
    `demo: MILVUS_ADDRESS "127.0.0.1:${port}": no Milvus is reachable there (ECONNREFUSED). ` +
      'Start it, set MILVUS_ADDRESS to where one is, or unset MILVUS_ADDRESS to let the demo start one.',
  );
});

test("a collection quick_setup in the user's Milvus is left alone", { timeout }, async (t) => {
  const receiver = await startReceiver();
  t.after(() => receiver.stop());
  const milvus = await startMilvus({ otlpEndpoint: `127.0.0.1:${receiver.grpcPort}` });
  t.after(() => milvus.stop());
  const client = new MilvusClient({ address: milvus.address });
  t.after(() => client.closeConnection());
  await client.createCollection({ collection_name: 'quick_setup', dimension: 4 });

  const demo = runDemo(t, [], { MILVUS_ADDRESS: milvus.address });
  assert.equal(await demo.ended, 1);
  assert.match(demo.output.stderr, /it has a collection quick_setup, which the sample would drop\./);
  assert.equal((await client.hasCollection({ collection_name: 'quick_setup' })).value, true);
});

test('an option that it does not know is an error with the usage', { timeout }, async (t) => {
  const demo = runDemo(t, ['--kepp']);
  assert.equal(await demo.ended, 2);
  assert.match(demo.output.stderr, /^demo: Unknown option '--kepp'\n\nnpm run demo \[-- options\]/);
  assert.equal(demo.output.stdout, '');
});

test('--help tells the options and starts nothing', { timeout }, async (t) => {
  const demo = runDemo(t, ['--help']);
  assert.equal(await demo.ended, 0);
  for (const option of ['--keep', '--docker', '--help', 'MILVUS_ADDRESS']) {
    assert.ok(demo.output.stdout.includes(option), option);
  }
  assert.doesNotMatch(demo.output.stdout, /Starting Milvus/);
});

test('--docker without docker says what to install', { timeout }, async (t) => {
  const demo = runDemo(t, ['--docker'], { PATH: '/nonexistent' });
  assert.equal(await demo.ended, 1);
  assert.match(
    demo.output.stderr,
    /^demo: --docker: docker is not installed\. Install it .+, or run `npm run demo` without/,
  );
});
