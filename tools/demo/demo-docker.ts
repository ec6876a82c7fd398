/**
 * The demo on the compose setup: Milvus and Jaeger in containers, spans read back through Jaeger's query API.
 */
import path from 'node:path';
import { type GuardedOptions, spawnGuarded } from '../processes/guarded-child.ts';
import type { Teardown } from '../processes/teardown.ts';
import type { ReceivedSpan } from '../servers/receiver.ts';
import { checkMilvus, clientService, type Say, type Stack, withSigns } from './demo-stack.ts';

const composeFile = path.join(import.meta.dirname, '..', '..', 'compose', 'docker-compose.yml');
const queryDeadlineMs = 5_000;
/** More traces than a run of a sample creates. */
const traceLimit = 500;

/**
 * Starts the compose setup. Containers that ran before stay up at the end; others are removed, but not their
 * volumes.
 */
export async function startDockerStack(say: Say, teardown: Teardown): Promise<Stack> {
  const docker = async (args: string[], onStderr: GuardedOptions['stderr'] = 'pipe') => {
    const child = spawnGuarded('docker', args, { stdout: 'pipe', stderr: onStderr });
    const forget = teardown.add(() => child.stop());
    let stdout = '';
    let stderr = '';
    child.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const closed = new Promise((resolve) => child.process.once('close', resolve));
    const code = await child.ended;
    await closed;
    forget();
    return { code, stdout: stdout.trim(), stderr: stderr.trim() };
  };
  const compose = (...args: string[]) => docker(['compose', '-f', composeFile, ...args], 'inherit');
  /** The host's address of a container port; variables of the compose file can change it. */
  const published = async (service: string, port: number) => {
    const { code, stdout } = await compose('port', service, String(port));
    const ofHost = /:(\d+)$/m.exec(stdout)?.[1];
    if (code !== 0 || ofHost === undefined) {
      throw new Error(`--docker: port ${port} of the container ${service} is not published on this machine.`);
    }
    return `localhost:${ofHost}`;
  };

  const withoutDocker = 'or run `npm run demo` without --docker, which needs Python 3 with pip instead';
  const engine = await docker(['info', '--format', '{{.ServerVersion}}']);
  // 127: the shell did not find the command.
  if (engine.code === 127) {
    throw new Error(
      `--docker: docker is not installed. Install it (https://docs.docker.com/get-docker/), ${withoutDocker}`,
    );
  }
  if (engine.code !== 0) {
    throw new Error(
      `--docker: docker is installed, but its engine does not answer: ${engine.stderr}\nStart the engine, ${withoutDocker}.`,
    );
  }
  if ((await docker(['compose', 'version'])).code !== 0) {
    throw new Error(
      `--docker: docker has no compose plugin. Install docker-compose-plugin, ${withoutDocker}`,
    );
  }

  const running = await compose('ps', '--quiet');
  if (running.code !== 0)
    throw new Error(`--docker: \`docker compose ps\` failed with code ${running.code}.`);
  const wasUp = running.stdout !== '';
  if (!wasUp) {
    teardown.add(async () => {
      say('docker', 'removing the containers');
      const { code } = await compose('down');
      if (code !== 0)
        throw new Error(`docker compose -f ${composeFile} down failed with code ${code}: run it again.`);
    });
  } else {
    say('docker', 'the containers ran before and stay up at the end');
  }
  const up = await withSigns(
    (line) => say('docker', line),
    (log) => {
      log('docker compose up: Milvus and Jaeger (the first time, their images are downloaded)');
      return compose('up', '--detach', '--wait');
    },
  );
  if (up.code !== 0) {
    throw new Error(
      `--docker: \`docker compose up\` failed with code ${up.code}; its own message is above. ` +
        'Free the port that it names, or change the image that it cannot get, and run this again.',
    );
  }
  const milvusAddress = await published('standalone', 19530);
  const jaegerUrl = `http://${await published('jaeger', 16686)}`;
  const otlpEndpoint = `http://${await published('jaeger', 4317)}`;
  // A Milvus that ran before may hold data of the user.
  if (wasUp) await checkMilvus(milvusAddress, `--docker: Milvus at ${milvusAddress}`, withoutDocker);
  say('docker', `Milvus is ready at ${milvusAddress}, Jaeger at ${jaegerUrl}`);

  const startedMs = Date.now();
  return {
    milvusAddress,
    otlpEndpoint,
    viewerUrl: jaegerUrl,
    traceUrl: (traceId) => `${jaegerUrl}/trace/${traceId}`,
    staysUp: wasUp,
    spans: () => jaegerSpans(jaegerUrl, startedMs),
  };
}

/** The part of Jaeger's response that is read here; times in µs. */
interface JaegerAnswer {
  data: {
    spans: {
      traceID: string;
      spanID: string;
      operationName: string;
      references: { refType: string; spanID: string }[];
      startTime: number;
      duration: number;
      tags: JaegerTag[];
      processID: string;
    }[];
    processes: Record<string, { serviceName: string; tags?: JaegerTag[] }>;
  }[];
}
type JaegerTag = { key: string; value: unknown };

/** All spans of the traces that the client has started since then, of any service. */
async function jaegerSpans(jaegerUrl: string, sinceMs: number): Promise<ReceivedSpan[]> {
  const query = new URLSearchParams({
    service: clientService,
    start: String(sinceMs * 1000),
    end: String(Date.now() * 1000),
    limit: String(traceLimit),
  });
  const response = await fetch(`${jaegerUrl}/api/traces?${query}`, {
    signal: AbortSignal.timeout(queryDeadlineMs),
  });
  // Some versions answer 404 for a service without spans.
  if (response.status === 404) return [];
  if (!response.ok)
    throw new Error(
      `Jaeger's query API at ${jaegerUrl} answers ${response.status}: ${await response.text()}`,
    );
  return spansFromJaeger((await response.json()) as JaegerAnswer);
}

export function spansFromJaeger({ data }: JaegerAnswer): ReceivedSpan[] {
  return data.flatMap(({ spans, processes }) =>
    spans.map((span): ReceivedSpan => {
      const { serviceName = '', tags: resourceTags = [] } = processes[span.processID] ?? {};
      const attributes = Object.fromEntries(span.tags.map(({ key, value }) => [key, value]));
      const statusCode = attributes['otel.status_code'];
      return {
        traceId: span.traceID,
        spanId: span.spanID,
        parentSpanId: span.references.find(({ refType }) => refType === 'CHILD_OF')?.spanID,
        name: span.operationName,
        kind: String(attributes['span.kind'] ?? 'internal').toUpperCase() as ReceivedSpan['kind'],
        service: serviceName,
        scope: String(attributes['otel.library.name'] ?? attributes['otel.scope.name'] ?? ''),
        scopeVersion: String(attributes['otel.library.version'] ?? attributes['otel.scope.version'] ?? ''),
        startMs: span.startTime / 1000,
        durationMs: span.duration / 1000,
        attributes,
        status: {
          code: statusCode === 'OK' || statusCode === 'ERROR' ? statusCode : 'UNSET',
          message: String(attributes['otel.status_description'] ?? ''),
        },
        resource: Object.fromEntries(resourceTags.map(({ key, value }) => [key, value])),
        events: [],
      };
    }),
  );
}
