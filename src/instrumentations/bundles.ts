/**
 * Detects Milvus calls of an SDK that no module hook has seen, because a bundler put it into the app's own
 * files. The sign is the first HTTP/2 request to Milvus' service; the number of files in the bundle does not
 * matter.
 */
import type { ClientHttp2Session, OutgoingHttpHeaders } from 'node:http2';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getCallSites } from 'node:util';
import { context, createContextKey, diag, type Span, trace } from '@opentelemetry/api';
import { isTracingSuppressed } from '@opentelemetry/core';
import { operationIn } from '../milvus/operation-span.ts';
import type { BundledCall, BundledCalls } from './bundled-milvus.ts';
import { GRPC, howToKeepOutside } from './external-sdk.ts';

declare const __filename: string;

const HTTP2 = 'http2';
/** Heartbeats use another service. */
export const SERVICE_PATH = '/milvus.proto.milvus.MilvusService/';

/** An HTTP/2 connection, for any protocol. */
export interface Connection {
  session: ClientHttp2Session;
  /** The file that opened it; undefined when it is unknown. */
  file: string | undefined;
  /** Whether an installed gRPC opened it, whose calls its own instrumentation traces. */
  isOfInstalledGrpc: boolean;
  /** Milvus calls made so far. */
  calls: number;
}

/** Context key of the connection, in all work that results from opening it. */
export const OPENING = createContextKey('milvus-otel connection');

/** Whether BundledApps needs to know when this module loads. */
export const isLoadedByBundles = (name: string): boolean => name === HTTP2 || name === GRPC;

export class BundledApps {
  private readonly warn: (line: string) => void;
  private readonly load: () => BundledCalls;
  private calls: BundledCalls | undefined;
  private isWatching = false;
  private hasFailed = false;
  /** A file of the app that loads an installed gRPC, with or without the SDK inside. */
  private grpcUser: string | undefined;

  /**
   * @param warn receives one line, at the first call.
   * @param load loads the code that creates spans, at the first call.
   */
  constructor(warn: (line: string) => void, load: () => BundledCalls) {
    this.warn = warn;
    this.load = load;
  }

  /** Called before each module loads. Never throws. */
  beforeLoading(name: string, parent: string | undefined): void {
    try {
      // The preload's own gRPC calls no Milvus.
      if (isOwnFile(parent)) return;
      if (name === GRPC) {
        if (parent !== undefined && !/[\\/]node_modules[\\/]/.test(parent)) this.grpcUser ??= parent;
      } else if (!this.isWatching) {
        this.isWatching = true;
        this.watchConnections();
      }
    } catch (error) {
      this.giveUp(error);
    }
  }

  /** Connections that are open already stay unwatched. */
  private watchConnections(): void {
    const http2 = process.getBuiltinModule('node:http2');
    const apps = this;
    const { connect } = http2;
    const watched = {
      connect(this: unknown, ...args: Parameters<typeof connect>) {
        const connection = { calls: 0, ...callerOfConnect() } as Connection;
        const opening = context.active().setValue(OPENING, connection);
        const session = context.with(opening, () => Reflect.apply(connect, this, args));
        connection.session = session;
        const { request } = session;
        session.request = function (this: ClientHttp2Session, headers, ...rest) {
          // All calls of this connection come from a patched SDK.
          if (operationIn(context.active()) !== undefined) session.request = request;
          const call = apps.start(headers as OutgoingHttpHeaders | undefined, connection);
          if (call === undefined) return Reflect.apply(request, this, [headers, ...rest]);
          return call.send((sent) => Reflect.apply(request, this, [sent, ...rest]));
        };
        return session;
      },
    }.connect as typeof connect;
    // With its properties: util.promisify needs them.
    Object.defineProperties(watched, Object.getOwnPropertyDescriptors(connect));
    http2.connect = watched;
    syncBuiltinESMExports();
  }

  private start(headers: OutgoingHttpHeaders | undefined, connection: Connection): BundledCall | undefined {
    try {
      const path = headers?.[':path'];
      if (this.hasFailed || typeof path !== 'string' || !path.startsWith(SERVICE_PATH)) return undefined;
      // An operation of an SDK that is patched.
      if (headers === undefined || isTracingSuppressed(context.active())) return undefined;
      const isTraced = connection.isOfInstalledGrpc && headers.traceparent !== undefined;
      const ofGrpc = isTraced ? activeSpanOf(headers.traceparent) : undefined;
      if (isTraced && ofGrpc === undefined) return undefined;
      if (this.calls === undefined) {
        const file = connection.isOfInstalledGrpc ? this.grpcUser : connection.file;
        // Without a file, it is an installed SDK of an unknown version, which has its own line.
        if (!connection.isOfInstalledGrpc || file !== undefined) this.warn(bundledLine(file));
        this.calls = this.load();
      }
      return this.calls.start(headers, connection, ofGrpc);
    } catch (error) {
      this.giveUp(error);
      return undefined;
    }
  }

  private giveUp(error: unknown): void {
    this.hasFailed = true;
    diag.error('Calls of a bundled Milvus SDK cannot be traced', error);
  }
}

/** The span that instrumentation-grpc has created for a call, when it is the active span. */
function activeSpanOf(traceparent: unknown): Span | undefined {
  const span = trace.getActiveSpan();
  const [, traceId, spanId] = String(traceparent).split('-');
  const { traceId: activeTrace, spanId: activeSpan } = span?.spanContext() ?? {};
  return traceId === activeTrace && spanId === activeSpan ? span : undefined;
}

/** A path or file URL. */
export const isOwnFile = (file: string | undefined): boolean =>
  file !== undefined && dirname(pathOf(file)) === dirname(__filename);

/**
 * Stack frames to search for a file that is neither the preload's nor Node's: another tool's wrapper may be
 * among them.
 */
const FRAMES = 8;
const INSTALLED_GRPC = new RegExp(
  `^(file:|[A-Za-z]:)?[\\\\/].*[\\\\/]${GRPC.replace('/', '[\\\\/]')}[\\\\/]`,
);

function callerOfConnect(): Pick<Connection, 'file' | 'isOfInstalledGrpc'> {
  try {
    const files = getCallSites(FRAMES, { sourceMap: false })
      .map(({ scriptName }) => scriptName)
      .filter((file) => file !== '' && !file.startsWith('node:') && !isOwnFile(file));
    return { file: files[0], isOfInstalledGrpc: files.some((file) => INSTALLED_GRPC.test(file)) };
  } catch {
    return { file: undefined, isOfInstalledGrpc: false };
  }
}

/** The line about a bundle, with the fix for the app's framework. */
const bundledLine = (file: string | undefined): string =>
  `Milvus is bundled into ${file === undefined ? 'the app' : basename(pathOf(file))}: each of its gRPC calls gets a span, ` +
  `other packages in the bundle get none. To trace the SDK itself: ${howToKeepOutside(isNext())}.`;

/** By the loaded files: the output folder may have any name. */
const isNext = (): boolean =>
  Object.keys(createRequire(__filename).cache).some((file) =>
    /[\\/]node_modules[\\/]next[\\/]dist[\\/]/.test(file),
  );

const pathOf = (file: string): string => (file.startsWith('file:') ? fileURLToPath(file) : file);
