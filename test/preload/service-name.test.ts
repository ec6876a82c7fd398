import assert from 'node:assert/strict';
import { cp, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { useRuns } from './runs.ts';

const runs = useRuns();
const root = path.join(import.meta.dirname, '../..');
const namedApp = 'test/fixtures/named-app/src/main.js';

/** The resource of the spans of one run, which a separate attribute identifies. */
async function resourceOf(team: string): Promise<Record<string, unknown>> {
  const ofTeam = (spans: ReceivedSpan[]) => spans.find(({ resource }) => resource.team === team);
  const spans = await runs.receiver.waitForSpans((received) => ofTeam(received) !== undefined, 5_000);
  return ofTeam(spans)?.resource ?? {};
}

describe('the name of the service', { concurrency: 2 }, () => {
  const cases: Record<string, { env: Record<string, string>; name: string }> = {
    'is the value of OTEL_SERVICE_NAME': {
      env: { OTEL_SERVICE_NAME: 'by-variable', OTEL_RESOURCE_ATTRIBUTES: 'service.name=by-attribute,team=a' },
      name: 'by-variable',
    },
    'is otherwise service.name in OTEL_RESOURCE_ATTRIBUTES': {
      env: { OTEL_RESOURCE_ATTRIBUTES: 'team=b,service.name=by%20attribute' },
      name: 'by attribute',
    },
    "is otherwise the name in the package.json of the app's main file": {
      env: { OTEL_RESOURCE_ATTRIBUTES: 'team=c' },
      name: '@shop/catalogue',
    },
    'is not an empty OTEL_SERVICE_NAME': {
      env: { OTEL_SERVICE_NAME: '', OTEL_RESOURCE_ATTRIBUTES: 'team=d' },
      name: '@shop/catalogue',
    },
  };
  for (const [title, { env, name }] of Object.entries(cases)) {
    test(title, async () => {
      const { stderr } = await runs.run({ file: namedApp, service: null, env });
      assert.equal(stderr, '');
      const team = /team=(\w)/.exec(env.OTEL_RESOURCE_ATTRIBUTES ?? '')?.[1] ?? '';
      assert.equal((await resourceOf(team))['service.name'], name);
    });
  }

  for (const packageJson of [undefined, '{ "private": true }', '{ "name": "" }']) {
    test(`is milvus-client where the app's package.json is ${packageJson ?? 'missing'}`, async (t) => {
      const app = await mkdtemp(path.join(os.tmpdir(), 'milvus-otel-nameless-'));
      t.after(() => rm(app, { recursive: true, force: true }));
      await cp(path.join(root, 'test/fixtures/searches.cjs'), path.join(app, 'searches.cjs'));
      await symlink(path.join(root, 'node_modules'), path.join(app, 'node_modules'));
      if (packageJson !== undefined) await writeFile(path.join(app, 'package.json'), packageJson);
      const team = packageJson?.replace(/\W/g, '') ?? 'none';
      const { stdout, stderr, code } = await runs.run({
        file: path.join(app, 'searches.cjs'),
        service: null,
        env: { OTEL_RESOURCE_ATTRIBUTES: `team=${team}` },
      });
      assert.deepEqual([stdout.startsWith('has true'), stderr, code], [true, '', 0]);
      assert.equal((await resourceOf(team))['service.name'], 'milvus-client');
    });
  }
});
