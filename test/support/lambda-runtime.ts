/**
 * A small AWS Lambda: passes events to the real runtime client, which runs the function's code as AWS' images
 * do, and stops the process (SIGSTOP) when it requests the next event, as Lambda freezes it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { installed } from '../../tools/processes/installed.ts';
import { packagesOf } from './tried-app.ts';

/** Long enough for a pending use of a connection. */
const freezeMs = 700;
const deadlineMs = 60_000;

export interface FunctionOptions {
  /** The code, as in /var/task. */
  folder: string;
  /** file.name */
  handler: string;
  events: unknown[];
  env: Record<string, string>;
  nodePath?: string;
  /** For instance to count received spans. */
  onFreeze?: () => unknown;
}

export interface FunctionRun {
  /** Bodies of the function's answers, by event. */
  answers: unknown[];
  /** Results of `onFreeze` at the start and the end of each freeze. */
  freezes: { start: unknown; end: unknown }[];
  stdout: string;
  stderr: string;
}

/**
 * Main file of the runtime client of the newest images, with its native part, whose build needs cmake, make
 * and a C++ compiler.
 */
export async function runtimeClient(): Promise<string> {
  const folder = await installed(packagesOf('AWS Lambda'), { scripts: true, timeoutMs: 900_000 });
  return path.join(folder, 'node_modules/aws-lambda-ric/index.mjs');
}

/** Runs the function until it has answered all events. Rejects with its output when it exits before. */
export async function runFunction(options: FunctionOptions): Promise<FunctionRun> {
  const { folder, handler, events, onFreeze = () => {} } = options;
  const client = await runtimeClient();
  const run: FunctionRun = { answers: [], freezes: [], stdout: '', stderr: '' };
  let given = 0;
  const finished = Promise.withResolvers<void>();

  const server = http.createServer(async (request, response) => {
    const body = await text(request);
    const url = request.url ?? '';
    if (url.endsWith('/invocation/next')) {
      if (given > 0) {
        process.kill(child.pid as number, 'SIGSTOP');
        const start = onFreeze();
        await delay(freezeMs);
        run.freezes.push({ start, end: onFreeze() });
        process.kill(child.pid as number, 'SIGCONT');
      }
      if (given === events.length) finished.resolve();
      else hand(response, events[given++]);
      return;
    }
    if (/\/invocation\/.+\/(response|error)$/.test(url)) run.answers.push(JSON.parse(body));
    else finished.reject(new Error(`${url}: ${body}`));
    response.writeHead(202).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const child = spawn(options.nodePath ?? process.execPath, [client, handler], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x',
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '512',
      AWS_LAMBDA_FUNCTION_NAME: 'ask',
      AWS_LAMBDA_FUNCTION_VERSION: '1',
      AWS_LAMBDA_LOG_GROUP_NAME: 'group',
      AWS_LAMBDA_LOG_STREAM_NAME: 'stream',
      AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      AWS_REGION: 'eu-west-1',
      LAMBDA_TASK_ROOT: folder,
      _HANDLER: handler,
      ...options.env,
    },
  });
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (chunk: string) => {
      run[stream] += chunk;
    });
  }
  child.once('close', (code, signal) =>
    finished.reject(new Error(`the runtime ended (${signal ?? code}):\n${run.stdout}\n${run.stderr}`)),
  );
  const deadline = setTimeout(
    () =>
      finished.reject(
        new Error(`${run.answers.length} answers in ${deadlineMs} ms:\n${run.stdout}\n${run.stderr}`),
      ),
    deadlineMs,
  );
  try {
    await finished.promise;
  } finally {
    clearTimeout(deadline);
    // Like Lambda for a sandbox without extensions.
    child.kill('SIGKILL');
    server.closeAllConnections();
    server.close();
  }
  return run;
}

function hand(response: http.ServerResponse, event: unknown): void {
  response.writeHead(200, {
    'Content-Type': 'application/json',
    'Lambda-Runtime-Aws-Request-Id': crypto.randomUUID(),
    'Lambda-Runtime-Deadline-Ms': String(Date.now() + 10_000),
    'Lambda-Runtime-Invoked-Function-Arn': 'arn:aws:lambda:eu-west-1:123456789012:function:ask',
  });
  response.end(JSON.stringify(event));
}

async function text(request: http.IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk;
  return body;
}
