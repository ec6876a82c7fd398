/**
 * Notices Milvus calls of an SDK that no module hook has seen, because a bundler put it into the app's own files. It is found
 * where its calls leave the process: at the first HTTP/2 request to Milvus' service, however many files the bundle has.
 */
import type { ClientHttp2Session, OutgoingHttpHeaders } from 'node:http2';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getCallSites } from 'node:util';
import { context, createContextKey, diag, type Span, trace } from '@opentelemetry/api';
import { isTracingSuppressed } from '@opentelemetry/core';
import type { BundledCall, BundledCalls } from './bundled-milvus.ts';
import { GRPC, howToKeepOutside } from './external-sdk.ts';

declare const __filename: string;

const HTTP2 = 'http2';
/** Heartbeats are no part of it: they are another service. */
export const SERVICE_PATH = '/milvus.proto.milvus.MilvusService/';

/** A connection over HTTP/2, of whatever protocol. */
export interface Connection {
  session: ClientHttp2Session;
  /** The file that made it; undefined when it cannot be told. */
  file: string | undefined;
  /** Whether an installed gRPC made it, whose own instrumentation sees its calls. */
  isOfInstalledGrpc: boolean;
  /** Milvus calls made so far. */
  calls: number;
}

/** In the context of all that comes of making a connection: the connection. */
export const OPENING = createContextKey('milvus-otel connection');

/** Whether it is a module whose loading BundledApps is to be told of. */
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
   * @param warn given one line, at the first call.
   * @param load loads what makes the spans, at the first call.
   */
  constructor(warn: (line: string) => void, load: () => BundledCalls) {
    this.warn = warn;
    this.load = load;
  }

  /** Told of each loading, before it. Never throws. */
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

  /** Connections that are there already stay unwatched. */
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
          const call = apps.start(headers as OutgoingHttpHeaders | undefined, connection);
          if (call === undefined) return Reflect.apply(request, this, [headers, ...rest]);
          return call.send((sent) => Reflect.apply(request, this, [sent, ...rest]));
        };
        return session;
      },
    }.connect as typeof connect;
    // With what hangs on it: util.promisify asks for that.
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
        // Without one, it is an installed SDK of an unknown version, which is logged as such.
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

/** The span that instrumentation-grpc has made for a call, when the call is made in its context. */
function activeSpanOf(traceparent: unknown): Span | undefined {
  const span = trace.getActiveSpan();
  const [, traceId, spanId] = String(traceparent).split('-');
  const { traceId: activeTrace, spanId: activeSpan } = span?.spanContext() ?? {};
  return traceId === activeTrace && spanId === activeSpan ? span : undefined;
}

const isOwnFile = (file: string | undefined): boolean =>
  file !== undefined && dirname(pathOf(file)) === dirname(__filename);

/** Frames between http2.connect and a file that is neither ours nor Node's: another tool's wrapper may be among them. */
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

/** What is logged about it, with the fix that the app's framework has. */
const bundledLine = (file: string | undefined): string =>
  `Milvus is bundled into ${file === undefined ? 'the app' : basename(pathOf(file))}, so its spans are read off its gRPC calls, ` +
  `one for each; other packages in the bundle have none. To trace the SDK itself: ${howToKeepOutside(isNext())}.`;

/** By what is loaded: the folder of its output can be named otherwise. */
const isNext = (): boolean =>
  Object.keys(createRequire(__filename).cache).some((file) =>
    /[\\/]node_modules[\\/]next[\\/]dist[\\/]/.test(file),
  );

const pathOf = (file: string): string => (file.startsWith('file:') ? fileURLToPath(file) : file);
