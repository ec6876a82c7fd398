import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { startMilvus } from '../../tools/servers/milvus.ts';
import { type Receiver, startReceiver } from '../../tools/servers/receiver.ts';

let receiver: Receiver;
let otlpEndpoint: string;
before(async () => {
  receiver = await startReceiver();
  otlpEndpoint = `127.0.0.1:${receiver.grpcPort}`;
});
after(() => receiver.stop());

function runFolders(parentPid: number): string[] {
  const cache = path.join(import.meta.dirname, '..', '..', '.cache', 'milvus');
  return readdirSync(cache).filter((name) => name.startsWith(`run-${parentPid}-`));
}

async function accepts(address: string): Promise<boolean> {
  const [host, port] = address.split(':');
  const socket = net.connect(Number(port), host);
  return await new Promise((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  }).then((accepted) => {
    socket.destroy();
    return accepted as boolean;
  });
}

/** Occupies the port, unless another process already does. */
async function occupy(port: number): Promise<net.Server> {
  const server = net.createServer();
  await new Promise<void>((resolve) => {
    server.once('error', () => resolve());
    server.listen(port, '127.0.0.1', () => resolve());
  });
  return server;
}

test('two servers run at the same time while the default ports are taken, and stop completely', async () => {
  const occupied = await Promise.all([19530, 2379, 2380, 9091].map(occupy));
  const servers = await Promise.all([startMilvus({ otlpEndpoint }), startMilvus({ otlpEndpoint })]);
  assert.notEqual(servers[0].address, servers[1].address);

  for (const { address, version } of servers) {
    assert.match(version, /^v2\.3\.5/);
    const client = new MilvusClient({ address });
    await client.connectPromise;
    assert.deepEqual((await client.showCollections()).data, []);
    await client.closeConnection();
  }

  await Promise.all(servers.map((server) => server.stop()));
  for (const { address } of servers)
    assert.ok(!(await accepts(address)), `${address} still accepts connections`);
  assert.deepEqual(runFolders(process.pid), []);
  for (const server of occupied) server.close();
});

test('the server stops when the process that started it is killed', async () => {
  const parent = spawn(
    process.execPath,
    [
      '--input-type=module-typescript',
      '--eval',
      `import { startMilvus } from ${JSON.stringify(import.meta.resolve('../../tools/servers/milvus.ts'))};
       const milvus = await startMilvus({ otlpEndpoint: '${otlpEndpoint}' });
       console.log(milvus.address);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const address = String((await once(parent.stdout, 'data'))[0]).trim();
  assert.ok(await accepts(address));

  parent.kill('SIGKILL');
  await once(parent, 'exit');
  const deadlineMs = performance.now() + 10_000;
  while ((await accepts(address)) || runFolders(parent.pid as number).length > 0) {
    assert.ok(performance.now() < deadlineMs, `after 10 s ${address} or its folder is still there`);
    await sleep(50);
  }
});

test('an endpoint with a scheme is refused by its name and value', async () => {
  await assert.rejects(
    startMilvus({ otlpEndpoint: 'http://127.0.0.1:4317' }),
    /otlpEndpoint "http:\/\/127\.0\.0\.1:4317": needs host:port without a scheme/,
  );
});

test('without python3 the error names the package to install', async () => {
  const { stderr, code } = await new Promise<{ stderr: string; code: number }>((resolve) => {
    const child = spawn(
      process.execPath,
      [
        '--input-type=module-typescript',
        '--eval',
        `import { requirePip } from ${JSON.stringify(import.meta.resolve('../../tools/servers/milvus.ts'))};
         await requirePip();`,
      ],
      { env: { PATH: '/nowhere' }, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let text = '';
    child.stderr.on('data', (chunk) => {
      text += chunk;
    });
    child.once('close', (exitCode) => resolve({ stderr: text, code: exitCode ?? -1 }));
  });
  assert.equal(code, 1);
  assert.match(stderr, /python3 is missing: install Python 3 with pip, or .*--docker/);
});
