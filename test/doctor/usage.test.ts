/** The command itself: help, wrong usage, an old Node, an interruption. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { before, describe, test } from 'node:test';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import { runFixture, startFixture } from '../../tools/processes/run-fixture.ts';
import { ensureDist } from '../support/dist.ts';
import { startSilent } from './runs.ts';

before(ensureDist);

const file = 'bin/milvus-otel.cjs';
const run = (...args: string[]) => runFixture({ file, args });

describe('the command', { concurrency: 2 }, () => {
  for (const args of [['--help'], ['doctor', '--help'], ['doctor', '-h', '--', 'node', 'x']]) {
    test(`explains itself: ${args.join(' ')}`, async () => {
      const { stdout, stderr, code } = await run(...args);
      assert.match(stdout, /npx milvus-otel doctor \[options\] \[-- COMMAND …\]/);
      for (const option of [
        '--milvus',
        '--jaeger',
        '--app',
        '--env',
        '--json',
        '--for',
        '--wait',
        'MILVUS_TOKEN',
      ])
        assert.ok(stdout.includes(option), option);
      assert.deepEqual([stderr, code], ['', 0]);
    });
  }

  const wrong: [args: string[], text: RegExp][] = [
    [['doktor'], /unknown command doktor\. The only command is doctor/],
    [['doctor', '--jeager', 'x'], /--jeager/],
    [['doctor', '--jaeger', 'localhost:16686'], /--jaeger needs a URL with http:\/\//],
    [['doctor', '--'], /a command is missing after --/],
    [['doctor', '--for', 'ever', '--', 'node'], /--for ever is not a number of seconds/],
    [['doctor', '--wait', 'no'], /--wait no is not a number of seconds/],
    [['doctor', '--for', '5'], /--for needs a command/],
    [['doctor', '--env', '/no/such.env'], /--env \/no\/such\.env cannot be read: ENOENT/],
  ];
  for (const [args, text] of wrong) {
    test(`names the error in: ${args.join(' ')}`, async () => {
      const { stdout, stderr, code } = await run(...args);
      assert.match(stderr, text);
      assert.match(stderr, /milvus-otel doctor --help/);
      assert.deepEqual([stdout, code], ['', 2]);
    });
  }

  test('reports in one line that a Node is too old', async () => {
    const { stdout, stderr, code } = await runFixture({
      file,
      args: ['doctor'],
      nodePath: await nodeBinary('20'),
    });
    assert.match(
      stderr,
      /^milvus-otel: Node 20\.\d+\.\d+ is not supported \(needs Node \^22\.15\.0 \|\| >=23\.5\.0\)\. [^\n]*\n$/,
    );
    assert.deepEqual([stdout, code], ['', 1]);
  });

  test('exits at once at Ctrl-C, and leaves no process behind', async (t) => {
    // Accepts the probe's HTTP/2 connection and all others, and never answers.
    const { address, server } = await startSilent(t);
    const running = startFixture({
      file,
      args: ['doctor', '--milvus', address, '--jaeger', `http://${address}`],
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://${address}` },
    });
    await once(server, 'connection');
    running.kill('SIGINT');
    assert.equal((await running.ended).code, 130);
    const left = execFileSync('ps', ['-eo', 'ppid,pid,args'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(`${running.pid} `) && line.includes('doctor'));
    assert.deepEqual(left, []);
  });
});
