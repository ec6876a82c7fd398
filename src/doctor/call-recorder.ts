/**
 * Call recorder, loaded before the preload in an app that the doctor runs. It records every outgoing Milvus
 * call, from any module and however it was loaded, and when preload and SDK were loaded. Each is one line of
 * JSON (RecordedEvent), appended synchronously so that no exit loses it. It changes nothing and fails
 * silently.
 */
import { appendFileSync } from 'node:fs';
import module from 'node:module';
import { FILE_VARIABLE, type RecordedEvent } from './app-findings.ts';

const file = process.env[FILE_VARIABLE];
const LOADED = Symbol.for('milvus-otel.loaded');
const SDK = '@zilliz/milvus2-sdk-node';

/** The preload needs it: src/register.cjs. */
const hasHooks = typeof module.registerHooks === 'function';

const isPreloaded = (): boolean => (globalThis as Record<symbol, unknown>)[LOADED] !== undefined;

function record(event: Omit<RecordedEvent, 'pid'>): void {
  try {
    appendFileSync(file as string, `${JSON.stringify({ pid: process.pid, ...event })}\n`);
  } catch {
    // The folder is gone: the doctor has exited.
  }
}

function watchLoading(): void {
  if (!hasHooks) return;
  let isSdkRecorded = false;
  module.registerHooks({
    resolve(specifier, context, next) {
      const resolution = next(specifier, context);
      // Compare the name too: a linked package is elsewhere.
      if (!isSdkRecorded && (specifier === SDK || resolution.url.includes(`/${SDK}/`))) {
        isSdkRecorded = true;
        record({ kind: 'sdk', preloaded: isPreloaded() });
      }
      return resolution;
    },
  });
}

const SERVICE = '/milvus.proto.milvus.MilvusService/';

/** Every copy of grpc-js, also a bundled one, connects through node:http2. */
function watchGrpc(): void {
  const http2 = process.getBuiltinModule('node:http2');
  const connect = http2.connect;
  http2.connect = function (this: unknown, ...args: unknown[]) {
    const session = Reflect.apply(connect, this, args);
    try {
      const request = session.request;
      session.request = function (this: unknown, ...requestArgs: unknown[]) {
        try {
          const headers = (requestArgs[0] ?? {}) as Record<string, unknown>;
          const path = String(headers[':path'] ?? '');
          if (path.startsWith(SERVICE))
            record({
              kind: 'call',
              method: path.slice(SERVICE.length),
              traceparent: headers.traceparent === undefined ? null : String(headers.traceparent),
              preloaded: isPreloaded(),
            });
        } catch {
          // The call goes on, unrecorded.
        }
        return Reflect.apply(request, this, requestArgs);
      };
    } catch {
      // The connection goes on, unrecorded.
    }
    return session;
  } as typeof connect;
  module.syncBuiltinESMExports();
}

/** The REST client of the SDK uses fetch. */
function watchRest(): void {
  const channel = process.getBuiltinModule('node:diagnostics_channel');
  channel.subscribe('undici:request:create', (message) => {
    const { request } = message as { request?: { path?: unknown; headers?: unknown } };
    const [, method] = /^\/v2\/vectordb\/([\w/]+)/.exec(String(request?.path ?? '')) ?? [];
    if (method === undefined) return;
    const headers = [request?.headers ?? []].flat().map(String);
    const at = headers.findIndex((header) => /^traceparent/i.test(header));
    const traceparent = /00-[0-9a-f]{32}-[0-9a-f]{16}-0\d/.exec(
      headers.slice(Math.max(at, 0)).join(' '),
    )?.[0];
    record({
      kind: 'call',
      method: `REST ${method}`,
      traceparent: traceparent ?? null,
      preloaded: isPreloaded(),
    });
  });
}

if (file !== undefined) {
  try {
    record({ kind: 'start', node: process.versions.node, supported: hasHooks, preloaded: isPreloaded() });
    watchLoading();
    watchGrpc();
    watchRest();
  } catch {
    // The report has fewer findings then.
  }
}
