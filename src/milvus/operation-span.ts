/**
 * The life of one operation's span: started before the SDK's method runs, ended with what it gave. Nothing in
 * here throws into the app: an attribute that cannot be read is left out.
 */
import {
  type Attributes,
  type Context,
  context,
  createContextKey,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapSetter,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { suppressTracing } from '@opentelemetry/core';
import {
  ATTR,
  collectionName,
  databaseName,
  filterText,
  isHybridSearch,
  parseServerAddress,
  readCost,
  readRequest,
  type ServerAddress,
} from './attributes.ts';
import type { Operation } from './operations.ts';
import { type Failure, failureOfGrpc, failureOfResponse, failureOfThrown, UNIMPLEMENTED } from './status.ts';

/** The parts of a MilvusClient that spans need. Source: BaseClient, SDK 2.2.24 to 3.0.6. */
export interface ClientParts {
  config?: { address?: unknown };
  metadata?: Map<string, unknown>;
}

/** gRPC's Metadata as far as trace context goes. */
export interface GrpcMetadata {
  set(key: string, value: string): void;
}

const OPERATION = createContextKey('milvus-otel operation');

const UNIMPLEMENTED_FAILURE = failureOfGrpc(UNIMPLEMENTED, 'This Milvus server does not implement the call.');

const metadataSetter: TextMapSetter<GrpcMetadata> = {
  // set, not add: whatever else wrote a traceparent before, exactly one goes out.
  set: (metadata, key, value) => metadata.set(key, value),
};

/** The operation whose code is running, if any. */
export function activeOperation(): OperationSpan | undefined {
  return context.active().getValue(OPERATION) as OperationSpan | undefined;
}

export class OperationSpan {
  readonly span: Span;
  /** What goes onto the wire: the caller's context with this span, tracing not suppressed. */
  readonly wireContext: Context;
  readonly #operation: Operation;
  readonly #filter: string | undefined;
  #rpcs = 0;
  #rpcFailure: Failure | undefined;
  #retries = 0;

  constructor(
    tracer: Tracer,
    method: string,
    operation: Operation,
    client: ClientParts | undefined,
    request: unknown,
    captureFilter: boolean,
  ) {
    const parent = context.active();
    const attributes: Attributes = { [ATTR.system]: 'milvus' };
    const name =
      method === 'search' && attempt(isHybridSearch, request) ? 'hybridSearch' : (operation.name ?? method);
    const collection = attempt(collectionName, request);
    const namespace = attempt(databaseName, request) ?? attempt(clientDatabase, client);
    const server = attempt(serverAddress, client);
    attributes[ATTR.operation] = name;
    if (collection !== undefined) attributes[ATTR.collection] = collection;
    if (namespace !== undefined) attributes[ATTR.namespace] = namespace;
    if (server !== undefined) attributes[ATTR.serverAddress] = server.address;
    if (server?.port !== undefined) attributes[ATTR.serverPort] = server.port;
    const target = collection ?? namespace ?? server?.address;
    this.span = tracer.startSpan(
      target === undefined ? name : `${name} ${target}`,
      { kind: SpanKind.CLIENT, attributes },
      parent,
    );
    this.wireContext = trace.setSpan(parent, this.span);
    this.#operation = operation;
    if (!this.span.isRecording()) return;
    this.#filter = attempt(filterText, request);
    const details: Attributes = {};
    fill(readRequest, request, details);
    if (operation.reads !== undefined) fill(operation.reads, request, details);
    if (captureFilter && this.#filter !== undefined) {
      details[ATTR.queryText] = this.#filter;
      this.#filter = undefined;
    }
    this.span.setAttributes(details);
  }

  /**
   * The context that the SDK's method runs in. Tracing is suppressed in it, so that what other instrumentations
   * see of this operation (gRPC, pools, sockets) makes no spans beside it.
   */
  innerContext(): Context {
    return suppressTracing(this.wireContext).setValue(OPERATION, this);
  }

  inject(metadata: GrpcMetadata): void {
    propagation.inject(this.wireContext, metadata, metadataSetter);
  }

  /** Keeps what one of the operation's RPCs answered: a later throw of the SDK may hide it. */
  rpcAnswered(response: unknown): void {
    this.#rpcs++;
    this.#rpcFailure = isEmptyAnswer(response) ? UNIMPLEMENTED_FAILURE : attempt(failureOfResponse, response);
  }

  rpcRetried(): void {
    this.#retries++;
  }

  end(response: unknown): void {
    if (this.span.isRecording()) {
      const failure = attempt(failureOfResponse, response) ?? this.#unimplemented();
      if (failure === undefined) {
        const details: Attributes = {};
        if (this.#operation.answers !== undefined) fill(this.#operation.answers, response, details);
        fill(readCost, response, details);
        this.span.setAttributes(details);
      } else {
        this.#fail(failure);
      }
    }
    this.#finish();
  }

  endThrown(thrown: unknown): void {
    if (this.span.isRecording()) this.#fail(failureOfThrownSafely(thrown, this.#rpcFailure));
    this.#finish();
  }

  /** An operation of one RPC, which the server does not have: the SDK hides that behind an empty answer. */
  #unimplemented(): Failure | undefined {
    return this.#rpcs === 1 && this.#rpcFailure === UNIMPLEMENTED_FAILURE ? UNIMPLEMENTED_FAILURE : undefined;
  }

  #fail(failure: Failure): void {
    if (failure.statusCode !== undefined) this.span.setAttribute(ATTR.statusCode, failure.statusCode);
    this.span.setAttribute(ATTR.errorType, failure.errorType);
    this.span.setStatus({ code: SpanStatusCode.ERROR, message: this.#withoutFilter(failure.reason) });
  }

  /** Milvus quotes a filter that it cannot parse; the filter is user data, so it leaves the description. */
  #withoutFilter(reason: string): string {
    return this.#filter === undefined ? reason : reason.replaceAll(this.#filter, '<filter>');
  }

  #finish(): void {
    if (this.#retries > 0) this.span.setAttribute(ATTR.retries, this.#retries);
    this.span.end();
  }
}

/** Reads one value out of anything; what throws (a getter, a proxy) reads as not there. */
function attempt<T, R>(read: (source: T) => R, source: T): R | undefined {
  try {
    return read(source);
  } catch {
    return undefined;
  }
}

function fill(
  read: (source: unknown, attributes: Attributes) => void,
  source: unknown,
  attributes: Attributes,
): void {
  try {
    read(source, attributes);
  } catch {
    // A getter or proxy of the app's refused: what was read until then stays.
  }
}

function failureOfThrownSafely(thrown: unknown, rpcFailure: Failure | undefined): Failure {
  try {
    return failureOfThrown(thrown, rpcFailure);
  } catch {
    return rpcFailure ?? { statusCode: undefined, errorType: '_OTHER', reason: '' };
  }
}

/** UNIMPLEMENTED reaches the SDK's callers as `{}`; every real answer of Milvus has fields. Source: SDK 3.0.6. */
function isEmptyAnswer(response: unknown): boolean {
  if (typeof response !== 'object' || response === null) return false;
  for (const _ in response) return false;
  return true;
}

function clientDatabase(client: ClientParts | undefined): string | undefined {
  const name = client?.metadata?.get('dbname');
  return typeof name === 'string' && name !== '' ? name : undefined;
}

const parsedAddresses = new Map<string, ServerAddress | undefined>();
/** Addresses are few; a program that makes them up without end must not fill the memory. */
const MAX_PARSED_ADDRESSES = 1_000;

function serverAddress(client: ClientParts | undefined): ServerAddress | undefined {
  const given = client?.config?.address;
  if (typeof given !== 'string') return undefined;
  let parsed = parsedAddresses.get(given);
  if (parsed === undefined && !parsedAddresses.has(given)) {
    if (parsedAddresses.size >= MAX_PARSED_ADDRESSES) parsedAddresses.clear();
    parsed = parseServerAddress(given);
    parsedAddresses.set(given, parsed);
  }
  return parsed;
}
